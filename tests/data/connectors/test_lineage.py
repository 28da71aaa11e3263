"""From the address of a page to a token: URL, licence, time of retrieval and approval reach the version's lineage."""

from __future__ import annotations

import json
from pathlib import Path

from expedition.data.builder import build
from expedition.data.compliance import Statement, append
from expedition.data.connectors import FetchOptions, fetch_source
from expedition.data.sources import kept
from expedition.data.versions import of_token
from expedition.plan import load_programme
from expedition.workspace import Workspace
from tests.data import raw_folder
from tests.data.connectors.hostile_server import HostileServer
from tests.data.connectors.test_fetching import POLICY

SETS = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "data.heldout_fraction=0.1", "workers=1"]


def test_provenance_reaches_the_token(tmp_path: Path, server: HostileServer) -> None:
    data, raw = tmp_path / "data", tmp_path / "raw"
    data.mkdir()
    rows = []
    for number in range(24):
        raw_folder.page(raw / f"{number:02d}.html", number)
        server.files[f"/{number:02d}.html"] = (raw / f"{number:02d}.html").read_bytes()
        rows.append({"url": server.url(f"/{number:02d}.html"), "path": f"{number:02d}.html", "licence": "CC-BY-4.0"})
    (data / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ws = Workspace.open(tmp_path / "ws", create=True)
    append(ws, Statement("approve", "pages", "Ada", "made for tests"))
    fetched = fetch_source(ws, data, "pages", FetchOptions("url-list", (f"list={data / 'list.jsonl'}", *POLICY)))
    assert fetched["kept"] == 24
    build(ws, load_programme("rehearsal", SETS), data, "v0.1")
    found = of_token(ws, "v0.1", 100)
    record = kept(data / "pages")[found["path"].removeprefix("pages/")]
    assert found["url"] == record.url
    assert found["licence"] == record.licence == "CC-BY-4.0"
    assert found["acquired_at"] == record.retrieved_at
    assert found["approval_id"] == record.approval_id == "L000001"
