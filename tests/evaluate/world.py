"""A workspace with untrained checkpoints of a very small model, and a data folder with a few questions of every task."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from expedition.data.tokenizer import Tokenizer, Vocabulary
from expedition.data.tokenizer.tokenizer import FILES
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.plan.shapes import TokenIds
from expedition.sampleworld.evaluation.heldout import MEDIA_KINDS, TEXT_KINDS, write_heldout
from expedition.sampleworld.evaluation.tasks import TASKS, write_task
from expedition.sampleworld.parcel import Order
from expedition.sampleworld.sizes import SIZES
from expedition.train.saving.commit import Snapshot, write_checkpoint
from expedition.workspace import Workspace, layout
from tests.train.tiny import tiny_run, tiny_shape

ITEMS = 8


@cache
def byte_tokenizer() -> Tokenizer:
    """One token a byte, then the special tokens."""
    return Tokenizer(Vocabulary(tuple(bytes([value]) for value in range(256)), np.zeros((0, 2), np.int32)))


@cache
def programme() -> Programme:
    plain = load_programme("rehearsal")
    evaluation = plain.evaluation.model_copy(
        update={"max_items": ITEMS, "needle_lengths": (200, 300), "batch_items": 4}
    )
    run = tiny_run(sequence_length=512)
    changes = {"runs": {"main": run}, "models": {**plain.models, "tiny": tiny_shape()}, "evaluation": evaluation}
    return plain.model_copy(update=changes)


def config() -> OmniConfig:
    tokenizer = byte_tokenizer()
    ids = TokenIds.from_tokenizer(tokenizer.special)
    return OmniConfig.from_plan(tiny_shape(), programme().media, ids, tokenizer.size)


def write_workspace(place: Path, seeds: tuple[int, ...] = (1, 2)) -> Workspace:
    """Run `main` with one permanent checkpoint a seed."""
    ws = Workspace.open(place, create=True)
    byte_tokenizer().save(place / "tokenizer-made")
    for file in FILES:
        ws.store.write(f"{layout.dataset('v0.1')}/tokenizer/{file}", (place / "tokenizer-made" / file).read_bytes())
    for number, seed in enumerate(seeds, start=1):
        tensors = {name: value.detach().clone() for name, value in OmniModel(config(), seed).named_parameters()}
        name = f"checkpoint_{number}k_tokens"
        write_checkpoint(
            ws, "main", Snapshot(name, number, 1000 * number, True, tensors, {}, {"model": config().to_json()})
        )
    return ws


def write_data(root: Path, tasks: tuple[str, ...] = TASKS) -> Path:
    """Questions and held-out documents as the sample world has them."""
    order = Order(root=root, seed=3, size=SIZES["smoke"], source="", wave=0, start=0, stop=ITEMS)
    for task in tasks:
        write_task(replace(order, source=task))
    for kind in (*TEXT_KINDS, *MEDIA_KINDS):
        write_heldout(replace(order, source=kind, stop=3))
    return root
