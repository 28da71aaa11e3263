"""Supervised fine-tuning, whole: chats as people write them → a version → a run that learns the answers alone."""

from __future__ import annotations

import numpy as np
import pytest

from expedition.data.builder import Running, build
from expedition.data.compliance import Statement, append
from expedition.data.loading import Loader
from expedition.data.loading.expand import IGNORED
from expedition.data.records import KINDS
from expedition.data.tokenizer import Tokenizer
from expedition.errors import InputError
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.train.lineage import read_parent
from expedition.train.run import train_run
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from tests.data import chats
from tests.train.programme import programme_with
from tests.train.tiny import tiny_run

SETS = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "data.heldout_fraction=0.05", "workers=1"]
CONVERSATIONS = 60


def programme(**sft: object) -> Programme:
    run = {"sequence_length": 256, "batch_sequences": 4, "mix": {"chat": 1.0}, "learning_rate": {"peak": 1e-2}}
    start = {"run": "main"}
    return programme_with(
        main=tiny_run(length="6 steps", **run),
        sft=tiny_run(**{"length": "8 steps", "start_from": start, "learn": "answers", "seed": 9, **run, **sft}),
    )


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a version made of conversations, and both runs trained."""
    place = tmp_path_factory.mktemp("chats")
    ws = Workspace.open(place / "w", create=True)
    append(ws, Statement("approve", "talks", "Ada", "made for tests"))
    data, plan = chats.write(place / "data", CONVERSATIONS), load_programme("rehearsal", SETS)
    built = build(ws, plan, data, "v0.1", running=Running(engine="serial"))
    assert built["kinds"].keys() == {"chat"} and not built["unreadable"]
    for name in ("main", "sft"):
        train_run(ws, programme(), name)
    return ws


def test_every_conversation_is_in_the_version(ws: Workspace) -> None:
    manifest = ws.read_json(layout.manifest("v0.1"))
    held = ws.read_json(layout.manifest("v0.1", "heldout"))
    assert manifest["documents"] + held["documents"] == CONVERSATIONS + 3
    assert manifest["stages"]["chat"]
    seen = {name for part in (manifest, held) for name, tokens in part["modalities"].items() if tokens}
    assert seen == {"text", "image", "video", "audio"}


def test_what_a_step_learns_are_the_answers(ws: Workspace) -> None:
    """Of every packed row: its labels are the turns of the assistant with their ends, in order, and nothing else."""
    folder = ws.store.local(f"{layout.dataset('v0.1')}/tokenizer/tokenizer.json").parent
    tokenizer, loader = Tokenizer.load(folder), Loader(ws, programme(), "sft")
    answers = {text for row in chats.media_rows() for text in _answers(row)}
    answers |= {text for number in range(CONVERSATIONS) for text in _answers(chats.row(number))}
    batch, packed = loader.batch(0), 0
    for labels, documents in zip(batch.labels_BS, batch.document_BS, strict=True):
        packed = max(packed, int(documents.max()))
        learnt = tokenizer.decode(labels[labels != IGNORED].tolist())
        found = learnt.split("<|im_end|>")
        assert found[-1] == "" and set(found[:-1]) <= answers
    assert packed > 1
    assert set(np.unique(batch.kind_BS)) <= {-1, KINDS.index("chat")}
    whole = Loader(ws, programme(), "main").batch(0)
    assert batch.trained_tokens < whole.trained_tokens


def _answers(row: dict[str, object]) -> list[str]:
    turns = row.get("messages") or row["conversations"]
    said = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]  # type: ignore[attr-defined]
    return [text for role, text in said if role in ("assistant", "gpt")]


def test_fine_tuning_starts_from_the_run_before_and_learns(ws: Workspace) -> None:
    parent = read_parent(ws, "sft")
    assert parent is not None and parent.run == "main"
    columns = read_metrics(ws, "sft", ["loss", "loss/chat"])
    assert float(columns["loss"][-1]) < float(columns["loss"][0]) - 0.2
    assert columns["loss/chat"].tolist() == pytest.approx(columns["loss"].tolist())


def test_a_run_does_not_go_on_with_other_labels(ws: Workspace) -> None:
    with pytest.raises(InputError, match="not what the checkpoint was trained on"):
        train_run(ws, programme(learn="all", length="10 steps"), "sft")
