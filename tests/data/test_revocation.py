"""A source's whole way by the command line: approved, built, trained on, traced, revoked, gone; and the gates on it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from expedition.cli.main import run
from expedition.data.compliance import Caps, Statement, append, audit
from expedition.data.loading import Loader
from expedition.data.versions.decisions import decisions_of, parse_decisions, recorded
from expedition.data.versions.lineage import of_source
from expedition.errors import ComplianceRefused
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

from . import raw_folder

SETS = [
    "data.shard_bytes=65536",
    "data.tokenizer.compact_entries=700",
    "data.heldout_fraction=0.1",
    "workers=2",
    "runs.main.sequence_length=128",
    "runs.main.batch_sequences=[{from_step: 0, sequences: 4}]",
    "runs.main.segments=[{from_step: 0, version: v0.1}]",
    "runs.main.mix={web: 4, code: 2, books: 2, synthetic: 2}",
]


LOAD = ("data", "bench-load", "--run", "main", "--batches", "1")
"""A verb that opens the data of a run."""


class Answer(NamedTuple):
    code: int
    value: Any
    error: str


def expedition(ws: Workspace, *words: str, programme: bool = False) -> Answer:
    sets = [part for item in SETS for part in ("--set", item)] if programme else []
    extra = ["--preset", "rehearsal", *sets] if programme else []
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*words, *extra, "--workspace", ws.place, "--json"])
    text = out.getvalue()
    return Answer(code, json.loads(text) if text else None, err.getvalue())


class Voyage(NamedTuple):
    ws: Workspace
    data_dir: Path
    programme: Programme
    traced: Any
    """A step that was traced before the revocation."""
    revoked: Any
    """What `revoke` printed."""


def checkpoint(ws: Workspace, programme: Programme, step: int) -> None:
    """A real checkpoint of run main after `step` steps."""
    import torch

    from expedition.train.saving.commit import Snapshot, write_checkpoint

    plan = programme.runs["main"]
    state = {"run": plan.model_dump(mode="json"), "data": {"fingerprint": "f"}}
    tensors = {"weight": torch.zeros(2)}
    write_checkpoint(
        ws, "main", Snapshot(f"checkpoint_{step}k_tokens", step, 1000 * step, True, tensors, tensors, state)
    )


@pytest.fixture(scope="module")
def voyage(tmp_path_factory: pytest.TempPathFactory) -> Voyage:
    data_dir = raw_folder.write(tmp_path_factory.mktemp("raw") / "data")
    ws = raw_folder.workspace(tmp_path_factory.mktemp("voyage") / "ws", refused=("forum", "pictures"))
    append(ws, Statement("refuse", "forum", "Ada", "scraped"))
    append(ws, Statement("refuse", "pictures", "Ada", "no licence"))
    programme = load_programme("rehearsal", SETS)
    built = expedition(ws, "data", "build", str(data_dir), programme=True)
    assert built.code == 0, built.error
    Loader(ws, programme, "main").batch(0)
    checkpoint(ws, programme, 3)
    traced = expedition(
        ws, "data", "trace", "--run", "main", "--step", "2", "--world", "2", "--rank", "1", programme=True
    )
    revoked = expedition(ws, "compliance", "revoke", "notes", "--who", "Grace", "--why", "the owner asked")
    second = expedition(ws, "data", "build", str(data_dir), "--version", "v0.2", "--parent", "v0.1", programme=True)
    assert second.code == 0, second.error
    return Voyage(ws, data_dir, programme, traced, revoked)


def test_revocation_names_everything_that_contains_the_source(voyage: Voyage) -> None:
    ws, found = voyage.ws, voyage.revoked.value["contained_in"]
    use = next(use for use in found["versions"] if use["dataset"] == layout.DATASET)
    assert use["documents"] == of_source(ws, "v0.1", "notes")["documents"] > 20
    assert [shard["path"] for shard in use["shards"]] == [
        shard["path"] for shard in ws.read_json(layout.manifest("v0.1"))["shards"] if "synthetic" in shard["path"]
    ]
    assert {use["dataset"] for use in found["versions"]} == {"dataset", "heldout"}
    assert [(use["run"], use["segment"], use["version"]) for use in found["segments"]] == [("main", 0, "v0.1")]
    assert [(use["name"], use["step"], use["sequences"]) for use in found["checkpoints"]] == [
        ("checkpoint_3k_tokens", 3, 12)
    ]
    assert any("--exclude notes" in step for step in found["next"])
    number = int(voyage.revoked.value["id"][1:])
    assert ws.read_json(f"reports/revocation-{number}.json") == found
    event = next(ws.events_all("compliance.revoked"))
    assert event.fields["checkpoints"] == ["main/checkpoint_3k_tokens"]


def test_next_version_goes_without_what_was_revoked_and_the_difference_says_so(voyage: Voyage) -> None:
    manifest = voyage.ws.read_json(layout.manifest("v0.2"))
    assert "notes" not in [source["name"] for source in manifest["sources"]]
    report = voyage.ws.read_json(f"{layout.dataset('v0.2')}/report.json")
    assert report["left_out"] == {"forum": "refused", "notes": "revoked", "pictures": "refused"}
    assert report["unapproved"]["notes"].startswith("source 'notes' was revoked by Grace")
    found = expedition(voyage.ws, "data", "diff", "v0.1", "v0.2", programme=True).value
    gone = {(row["reason"], row["source"]): row["documents"] for row in found["out"]}
    assert (
        gone["revoked", "notes"] == of_source(voyage.ws, "v0.1", "notes")["documents"] == found["documents"]["removed"]
    )
    came = {(row["reason"], row["source"]): row["documents"] for row in found["in"]}
    assert set(came) == {("source of a later version", "later")} and sum(came.values()) == found["documents"]["added"]
    assert found["kinds"]["synthetic"]["new"] == 0 < found["kinds"]["synthetic"]["old_share"]
    web = next(row for row in found["training"]["kinds"] if row["kind"] == "web")
    assert 0 < web["new_share"] < 1 and 0 < found["training"]["new_share"] < web["new_share"] + 1e-9
    assert found["tokenizer_equal"] and not found["stages"]


def test_loader_refuses_the_old_version_until_a_decision_leaves_the_source_out(voyage: Voyage) -> None:
    ws = voyage.ws
    with pytest.raises(ComplianceRefused, match=r"v0\.1 cannot be read: source 'notes' was revoked") as caught:
        Loader(ws, voyage.programme, "main").batch(0)
    assert "expedition data order add" in str(caught.value.fix) and "--exclude notes" in str(caught.value.fix)
    words = ("--from-step", "5", "--version", "v0.1", "--exclude", "notes", "--who", "Grace", "--reason", "revoked")
    joined = expedition(ws, "data", "order", "add", *words, programme=True)
    assert joined.code == 0, joined.error
    loader = Loader(ws, voyage.programme, "main")
    loader.batch(5)
    kinds = {loader.sample(index).kind for step in range(5, 15) for index in loader.global_batch_ids(step).tolist()}
    assert kinds == {"web", "code", "books"}


def test_step_is_traced_to_documents_with_every_decision(voyage: Voyage) -> None:
    """Before and after the revocation: what was trained on stays traceable."""
    found = voyage.traced.value
    assert voyage.traced.code == 0 and len(found["sequences"]) == 2
    assert {sequence["rank"] for sequence in found["sequences"]} == {1}
    names = {piece["document"] for sequence in found["sequences"] for piece in sequence["pieces"]}
    assert names == {told["document"] for told in found["documents"]}
    words = ("data", "trace", "--run", "main", "--step", "2", "--world", "2", "--rank", "1")
    again = expedition(voyage.ws, *words, programme=True).value
    assert again["sequences"] == found["sequences"]
    stages = voyage.ws.read_json(layout.manifest("v0.1"))["stages"]
    for told in found["documents"]:
        assert [row["stage"] for row in told["decisions"]] == ["decode", "compliance", *stages[told["kind"]], "dedup"]
        assert {row["outcome"] for row in told["decisions"]} <= {"kept", "changed"}
        assert told["approval"]["decision"] == "approve" and told["item"]["sha256"]


def test_token_leads_to_its_raw_bytes_and_they_prove_it(voyage: Voyage, tmp_path: Path) -> None:
    tokens = voyage.ws.read_json(layout.manifest("v0.1"))["tokens"]
    whats = set()
    for place in range(0, tokens, tokens // 12):
        target = tmp_path / "raw"
        answer = expedition(voyage.ws, "data", "trace", "v0.1", "--token", str(place), "--raw", str(target))
        assert answer.code == 0, answer.error
        told, raw = answer.value, answer.value["raw"]
        file = (voyage.data_dir / told["item"]["path"]).read_bytes()
        assert target.read_bytes() == file[raw["offset"] : raw["offset"] + raw["size_bytes"]]
        assert raw["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
        assert raw["registered"] and raw["follows"]
        assert told["place"]["token_first"] <= place < told["place"]["token_end"]
        whats.add(raw["what"])
    assert whats == {"file", "line"}


def test_raw_file_that_was_changed_since_is_no_proof(voyage: Voyage, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(voyage.data_dir, tmp_path / "data")
    name = of_source(voyage.ws, "v0.1", "pages")["ids"][0]
    path = expedition(voyage.ws, "data", "trace", "v0.1", "--document", name).value["item"]["path"]
    words = ("data", "trace", "v0.1", "--document", name, "--raw", str(tmp_path / "raw"), "--data", str(moved))
    assert expedition(voyage.ws, *words).code == 0
    (moved / path).write_text((moved / path).read_text().replace("keeper", "sailor"))
    changed = expedition(voyage.ws, *words)
    assert (
        changed.code == 1 and changed.value["raw"]["registered"] is False and changed.value["raw"]["follows"] is False
    )
    (moved / path).unlink()
    assert "raw file is not there" in expedition(voyage.ws, *words).error


def test_dropped_copy_is_traced_to_the_document_that_stayed(voyage: Voyage) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(voyage.ws.store.local(f"{layout.dataset('v0.1')}/dropped.parquet")).to_pylist()
    copy = next(row for row in rows if row["stage"] == "dedup")
    told = expedition(voyage.ws, "data", "trace", "v0.1", "--document", copy["id"]).value
    assert not told["kept"] and told["place"] is None
    assert told["decisions"][-1]["outcome"] == "dropped" and told["decisions"][-1]["of"] == copy["of"]
    stayed = expedition(voyage.ws, "data", "trace", "v0.1", "--document", copy["of"]).value
    assert copy["id"] in [row["id"] for row in stayed["copies"]["first"]]
    unknown = expedition(voyage.ws, "data", "trace", "v0.1", "--document", "0" * 32)
    assert unknown.code == 2 and "never seen" in unknown.error


def test_report_shows_each_source_and_what_is_wrong(voyage: Voyage) -> None:
    answer = expedition(voyage.ws, "compliance", "report")
    assert answer.code == 1
    sources = {source["name"]: source for source in answer.value["sources"]}
    assert not sources["notes"]["in_force"] and sources["notes"]["versions"] and sources["notes"]["checkpoints"]
    assert sources["pages"]["in_force"] and [use["version"] for use in sources["pages"]["versions"]].count("v0.2") == 2
    assert [row["source"] for row in answer.value["violations"]] == ["notes"]
    page = voyage.ws.store.read(layout.report_page("compliance")).decode()
    assert "checkpoint main/checkpoint_3k_tokens" in page and "| pages | approve |" in page


@pytest.mark.parametrize("gate", ["acquire", "build"])
def test_without_approval_the_verb_exits_5_and_says_what_to_type(voyage: Voyage, tmp_path: Path, gate: str) -> None:
    ws = raw_folder.workspace(tmp_path / "ws", refused=("notes",))
    words = {"acquire": ("--source", "notes"), "build": ()}[gate]
    answer = expedition(ws, "data", gate, str(voyage.data_dir), *words, programme=gate == "build")
    assert answer.code == 5
    assert "expedition compliance approve notes --who NAME --why REASON --document FILE" in answer.error
    assert not [key for key in ws.store.list("data") if not key.startswith("data/builds/")]


def test_loading_what_was_revoked_exits_5(voyage: Voyage) -> None:
    answer = expedition(voyage.ws, *LOAD, programme=True)
    assert answer.code == 5, answer.error
    assert "source 'notes' was revoked by Grace" in answer.error and "--exclude notes" in answer.error


def test_broken_ledger_stops_every_gate(voyage: Voyage, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    key = "compliance/ledger/00000002.json"
    ws.store.write(key, ws.store.read(key).replace(b"Ada", b"Eve"))
    build = ("data", "build", str(voyage.data_dir), "--skip-unapproved")
    acquire = ("data", "acquire", str(voyage.data_dir), "--source", "pages")
    approve = ("compliance", "approve", "forum", "--who", "Eve", "--why", "why not")
    for words in (build, acquire, approve, ("compliance", "list"), ("compliance", "audit"), ("compliance", "report")):
        answer = expedition(ws, *words, programme=words[1] == "build")
        assert answer.code == 1, (words, answer.error)
        assert key in answer.error + json.dumps(answer.value)


def test_anonymise_asks_for_its_stages(voyage: Voyage, tmp_path: Path) -> None:
    """A programme without the stage, or one that keeps personal data, is refused before anything is decoded."""
    others = tuple(name for name in raw_folder.SOURCES if name != "notes")
    ws = raw_folder.workspace(tmp_path / "ws", refused=raw_folder.SOURCES)
    for name in others:
        append(ws, Statement("refuse", name, "Ada", "not here"))
    words = ("approve", "notes", "--who", "Ada", "--why", "letters", "--policy", "anonymise", "--stage", "pii")
    assert expedition(ws, "compliance", *words).code == 0
    build = ("data", "build", str(voyage.data_dir))
    lacking = expedition(ws, *build, "--set", "data.stages.synthetic=[quality]", programme=True)
    assert lacking.code == 5 and "add pii to data.stages.synthetic" in lacking.error
    keeping = expedition(ws, *build, "--set", "data.sources.notes={kind: synthetic, pii: keep}", programme=True)
    assert keeping.code == 5 and "pii: redact" in keeping.error


def test_caps_bound_what_is_used_and_list_what_is_not(voyage: Voyage, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    ws = raw_folder.workspace(tmp_path / "ws", refused=raw_folder.SOURCES)
    for name in raw_folder.SOURCES:
        if name not in ("notes", "pages"):
            append(ws, Statement("refuse", name, "Ada", "not here"))
    append(ws, Statement("approve", "notes", "Ada", "ten", policy="minimal-use", caps=Caps(documents=10)))
    append(ws, Statement("approve", "pages", "Ada", "some", policy="minimal-use", caps=Caps(tokens=4000, bytes=30_000)))
    built = expedition(ws, "data", "build", str(voyage.data_dir), programme=True)
    assert built.code == 0, built.error
    used: dict[str, list[tuple[str, int]]] = {"notes": [], "pages": []}
    for dataset in ("dataset", "heldout"):
        index = pq.read_table(ws.store.local(f"{layout.dataset('v0.1', dataset)}/index/documents.parquet")).to_pylist()
        for row in index:
            used[row["source"]].append((row["id"], row["tokens"]))
    dropped = pq.read_table(ws.store.local(f"{layout.dataset('v0.1')}/dropped.parquet")).to_pylist()
    beyond = {
        name: sorted(r["id"] for r in dropped if r["source"] == name and r["stage"] == "compliance") for name in used
    }
    assert len(used["notes"]) == 10 and len(beyond["notes"]) > 20
    assert max(used["notes"])[0] < beyond["notes"][0]
    total = sum(tokens for _, tokens in used["pages"])
    assert total <= 4000 and beyond["pages"] and max(used["pages"])[0] < beyond["pages"][0]
    reasons = {row["reason"] for row in dropped if row["stage"] == "compliance"}
    assert reasons == {"minimal use: documents ≤ 10", "minimal use: tokens ≤ 4000"}
    told = expedition(ws, "data", "trace", "v0.1", "--document", beyond["pages"][0]).value
    assert [row["outcome"] for row in told["decisions"][-2:]] == ["kept", "dropped"]
    report = ws.read_json(f"{layout.dataset('v0.1')}/report.json")
    row = next(row for row in report["totals"] if row["stage"] == "compliance")
    assert row["in"] - row["out"] == row["dropped"]["minimal use"] == sum(map(len, beyond.values()))
    assert audit(ws)["ok"]
    append(ws, Statement("approve", "notes", "Ada", "less", policy="minimal-use", caps=Caps(documents=5)))
    assert "documents cap 10, now 5" in audit(ws)["findings"][0]["what"]


def test_decisions_survive_their_way_through_meta() -> None:
    import pyarrow as pa

    from expedition.data.records import Document, document_batch

    batch = document_batch([Document(name, "s", "web", "p", "text") for name in ("a", "b")])
    once = recorded(batch, "repair", {"a": ("repaired", "controls: 2; more, and more")})
    twice = recorded(once, "pii", {"a": ("redacted",)})
    metas = twice.column("meta").to_pylist()
    assert parse_decisions(decisions_of(metas[1])) == []
    assert [row["stage"] for row in parse_decisions(decisions_of(metas[0]))] == ["repair", "pii"]
    assert isinstance(twice, pa.RecordBatch) and recorded(batch, "pii", {}) is batch
