"""The tokenizer of a version: its parent's, the whole vocabulary, or the entries that its own documents use most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches
from expedition.data.records import PLACEHOLDER
from expedition.data.tokenizer import Tokenizer, compact, count_ids, qwen_vocabulary
from expedition.data.tokenizer.tokenizer import CHAT_FILE, FILES
from expedition.data.versions.assemble import Prepared
from expedition.data.versions.plan import is_heldout
from expedition.errors import CheckFailed
from expedition.plan.data import TokenizerPlan
from expedition.workspace import Workspace, layout

_COUNTS = "counts.npy"


def tokenizer_for(
    ws: Workspace,
    plan: TokenizerPlan,
    parent: str | None,
    prepared: Sequence[Prepared],
    heldout_fraction: float,
    workdir: Path,
    limits: Limits,
) -> Path:
    """The folder of the version's tokenizer, below `workdir`. Blocking, restartable, deterministic.

    A version with a parent keeps its parent's: ids mean the same in both, so a run can go from one to the other.
    """
    folder = workdir / "tokenizer"
    if parent is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            key = f"{layout.dataset(parent)}/tokenizer/{name}"
            # A parent made before tokenizers kept their chat template has every file but that one.
            if name != CHAT_FILE or ws.store.exists(key):
                (folder / name).write_bytes(ws.store.read(key))
        if not (folder / CHAT_FILE).exists():
            Tokenizer.load(folder).save(folder)
        return folder
    vocabulary = qwen_vocabulary()
    if plan.compact_entries is None:
        Tokenizer(vocabulary, action_bins=plan.action_bins, padded_size=plan.padded_size).save(folder)
        return folder
    counts = _count(prepared, heldout_fraction, workdir / "counts", limits, len(vocabulary))
    Tokenizer(compact(vocabulary, counts, plan.compact_entries), action_bins=plan.action_bins).save(folder)
    return folder


@lru_cache(maxsize=1)
def whole_tokenizer() -> Tokenizer:
    """The whole vocabulary, loaded once a process."""
    return Tokenizer(qwen_vocabulary())


@dataclass(frozen=True, slots=True)
class CountIds:
    """Shard function: how often each entry of the whole vocabulary occurs in the training documents of a file."""

    heldout_fraction: float

    def __call__(self, prepared: Prepared, folder: Path) -> Summary:
        """Write `counts.npy`, int64 [2, n]: the ids that occur, and how often."""
        tokenizer = whole_tokenizer()
        counts = np.zeros(len(tokenizer.vocabulary), np.int64)
        for batch in read_batches(prepared.path):
            rows = zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True)
            texts = [text for name, text in rows if prepared.keeps(name) and not self._out(name)]
            pieces = [piece for text in texts for piece in text.split(PLACEHOLDER)]
            counts += count_ids(tokenizer.encode_batch(pieces), len(counts))
        used = np.flatnonzero(counts)
        np.save(folder / _COUNTS, np.stack([used, counts[used]]), allow_pickle=False)
        return {"tokens": int(counts.sum())}

    def _out(self, name: str) -> bool:
        return is_heldout(name, self.heldout_fraction)


def _count(
    prepared: Sequence[Prepared], heldout_fraction: float, workdir: Path, limits: Limits, entries: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    tasks = [Task(item.key, item) for item in prepared]
    counts = np.zeros(entries, np.int64)
    for outcome in map_shards(CountIds(heldout_fraction), tasks, workdir, limits):
        if outcome.quarantined is not None:
            raise CheckFailed(f"counting tokens of {outcome.key} failed: {outcome.quarantined}")
        used, found = np.load(outcome.folder / _COUNTS, allow_pickle=False)
        counts[used] += found
    return counts
