"""sampleworld: a small world that can be learnt, as raw files in the formats that the real world has, for rehearsals.

Why a room: what is planted in the data is known only if the data is made here. Its generators are never imported by a
detector, and it knows nothing of pipelines: it writes plain files.
Verbs (all that other rooms may call):
    build_sample(directory, seed, size, processes) -> SampleSummary     blocking; idempotent; all or nothing
    SampleSummary                                                       counts, truth by kind, content hash
    SIZES                                                               size name → items of each source
Seams: none; a new source is a function Order -> Parcel in text/ or media/ and a line in catalogue.py.
Imports: errors, workspace.atomic.  Imported by: voyage, cli.
Reads / writes in the workspace: nothing; DIR/<source>/, DIR/eval/, DIR/sources.yaml, DIR/truth.jsonl, DIR/sample.json.
Invariants: equal seed and size give equal bytes [test_same_seed_same_bytes]; evaluation shows no combination that
    training has [test_held_out_combinations_are_nowhere_in_training]; choices differ in one attribute
    [test_choices_differ_in_one_attribute]; each truth line is true of its file [test_corrupt_files_do_not_decode].
Read in this order:
    world.py        colours, shapes, words, the split, random streams
    sizes.py        how much of each kind
    parcel.py       a unit of work and what it hands back
    truth.py        a planted thing
    defects.py      which items get which defect
    text/           prose tongues pages needles notes programs books forum personal rude warc
    media/          pictures clips speech cameras driving sources
    evaluation/     tasks heldout
    catalogue.py    the sources and their approval hints
    build.py        units in order, one rename at the end
    __main__.py     the verb on its own
Try: expedition sample DIR --size smoke; pytest tests/sampleworld
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.sampleworld.build import SampleSummary, build_sample
    from expedition.sampleworld.sizes import SIZES

__all__ = ["SIZES", "SampleSummary", "build_sample"]

_HOMES = {"SIZES": "sizes", "SampleSummary": "build", "build_sample": "build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'expedition.sampleworld' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"expedition.sampleworld.{_HOMES[name]}"), name)
