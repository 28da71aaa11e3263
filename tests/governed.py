"""A small real workspace for pages and reports: built from raw files, with what a page must show and never run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from expedition.data.compliance import Statement, append, timestamp
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.workspace import Workspace
from tests.data import raw_folder

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
HOSTILE_SOURCE = "notes<img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class Governed:
    """Raw files, a workspace with a version built of them, and the plan that it was built by."""

    folder: Path
    data_dir: Path
    programme: Programme

    @property
    def ws(self) -> Workspace:
        return Workspace.open(self.folder)

    def build(self, version: str, parent: str | None = None) -> None:
        from expedition.data import build

        build(self.ws, self.programme, self.data_dir, version, parent=parent, skip_unapproved=True)

    def copy(self, place: Path) -> Governed:
        """The same with a workspace of its own, to be changed."""
        return replace(self, folder=Path(shutil.copytree(self.folder, place)))


def make(place: Path) -> Governed:
    """Version v0.1 of text, code and pictures: with personal data, copies, and mark-up in texts, names and reasons."""
    data_dir = raw_folder.write(place / "data")
    texts = [f"{HOSTILE} {raw_folder.sentence(700 + n)} Write to ada{n}@lighthouse.example today." for n in range(6)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    raw_folder.put(data_dir / HOSTILE_SOURCE / "notes.jsonl", lines)
    told = yaml.safe_load(raw_folder.YAML)
    told["sources"][HOSTILE_SOURCE] = {"kind": "synthetic", "licence": HOSTILE}
    (data_dir / "sources.yaml").write_text(yaml.safe_dump(told))
    ws = raw_folder.workspace(place / "ws")
    soon = timestamp(datetime.now(UTC) + timedelta(days=9))
    append(ws, Statement("approve", HOSTILE_SOURCE, "Ada", HOSTILE, expires=soon))
    sets = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "workers=2"]
    made = Governed(place / "ws", data_dir, load_programme("rehearsal", sets))
    made.build("v0.1")
    return made
