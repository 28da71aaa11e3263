"""Copies over a whole build: which documents go because another one stays.

Every document is fingerprinted once, and its fingerprint kept for later versions. Small builds are then compared in one
worker, in memory. Above `in_memory_bytes` of text the same pieces run as exchanges (compare.py, components.py) within
`memory_bytes` a worker, whatever the corpus. Both ways give the same copies. Documents come from files of
`DOCUMENT_SCHEMA`; a picture's fingerprint is the `phash` of its meta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.stages.dedup import NearRule, find_copies
from expedition.data.stages.dedup.fingerprint import FINGERPRINT_SCHEMA
from expedition.data.versions.compare import find_pairs
from expedition.data.versions.components import find_components
from expedition.data.versions.copies import COPIES, Copies, write_copies
from expedition.data.versions.prints import Prints, make_prints
from expedition.errors import CheckFailed
from expedition.workspace.hashes import sha256_json

IN_MEMORY_BYTES = 256 << 20
MEMORY_BYTES = 256 << 20
_BYTES_A_DOCUMENT = 256
"""What a block's reducers hold a document, at most."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """What decides: the near rule, and the sources in the order in which their copies are preferred."""

    rule: NearRule
    source_order: tuple[str, ...]
    in_memory_bytes: int = IN_MEMORY_BYTES
    """Bytes of text up to which one worker compares all documents at once; it holds about four times as much."""
    memory_bytes: int = MEMORY_BYTES
    """Bytes of rows a worker holds above that; its code and libraries come on top."""

    @property
    def preference(self) -> dict[str, int]:
        """Place of each source; the smallest is preferred."""
        return {name: place for place, name in enumerate(self.source_order)}


def find_repeats(
    paths: Sequence[Path],
    text_bytes: int,
    repeats: Repeats,
    workdir: Path,
    limits: Limits,
    kept: Path | None = None,
) -> Copies:
    """The copies among the documents of `paths`; blocking, restartable, free of the order of `paths`.

    `kept` is the folder of fingerprints that versions share; None keeps them in `workdir`. What `workdir` holds of a
    comparison of other files, or by another rule, is not gone on with.
    """
    block = max(1, repeats.memory_bytes // _BYTES_A_DOCUMENT)
    prints = make_prints(paths, repeats.rule, kept or workdir / "fingerprints", workdir, block, limits)
    here = workdir / sha256_json([repr(repeats), str(prints.index)])[:16]
    if text_bytes <= repeats.in_memory_bytes:
        outcome = map_shards(AtOnce(repeats), [Task("all", prints)], here / "memory", limits)[0]
        if outcome.quarantined is not None:
            raise CheckFailed(f"deduplication failed: {outcome.quarantined}", where=str(outcome.folder))
        return Copies(prints, (outcome.folder / COPIES,), max(1, prints.files), outcome.summary["copies"])
    found = find_pairs(prints, repeats.rule, here, repeats.memory_bytes, limits)
    return find_components(found, prints, repeats.preference, here / "components", repeats.memory_bytes, limits)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Shard function: all fingerprints in memory, compared and resolved."""

    repeats: Repeats

    def __call__(self, prints: Prints, folder: Path) -> Summary:
        """Writes one table of copies."""
        tables = [FINGERPRINT_SCHEMA.empty_table(), *map(prints.table, range(prints.files))]
        dropped = find_copies(pa.concat_tables(tables), self.repeats.rule, self.repeats.preference)
        return {"copies": write_copies(folder / COPIES, dropped, prints)}
