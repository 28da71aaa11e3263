"""sampleworld: a small world that can be learnt, as raw files in the formats that the real world has, for rehearsals.

Why a room: what is planted in the data is known only if the data is made here. Its generators are never imported by a
detector, and it knows nothing of pipelines: it writes plain files.
Verbs (all that other rooms may call):
    build_sample(directory, seed, size, processes) -> SampleSummary     blocking; idempotent; all or nothing
    write_chats(directory, conversations, seed)                         a data folder of conversations
    SampleSummary                                                       counts, truth by kind, content hash
    SIZES                                                               size name → items of each source
    SOURCES                                                             name, kind, approval, version of each source
    offer_sample(sample, ports) -> Offering      with: local services in the protocols of Common Crawl, GitHub, YouTube
    prepare_data_folder(offering, data) -> names         sources.yaml with where each comes from, eval/, truth.jsonl
    ports_of(texts); acquire_lines(offering, data)       for the verb
Seams: none; a new source is a function Order -> Parcel in text/ or media/ and a line in catalogue.py.
Imports: errors, workspace.atomic.  Imported by: voyage, cli.
Reads / writes in the workspace: nothing; DIR/<source>/, DIR/eval/, DIR/sources.yaml, DIR/truth.jsonl, DIR/sample.json.
Invariants: equal seed and size give equal bytes [test_same_seed_same_bytes]; evaluation shows no combination that
    training has [test_held_out_combinations_are_nowhere_in_training]; choices differ in one attribute
    [test_choices_differ_in_one_attribute]; each truth line is true of its file [test_corrupt_files_do_not_decode];
    what is fetched has the sample's bytes [test_what_is_fetched_is_what_the_sample_holds].
Read in this order:
    world.py        colours, shapes, words, the split, random streams
    sizes.py        how much of each kind
    parcel.py       a unit of work and what it hands back
    truth.py        a planted thing
    defects.py      which items get which defect
    text/           prose tongues pages needles notes programs books forum personal rude warc
    media/          pictures clips speech cameras driving sources
    evaluation/     tasks heldout
    services/       protocol common_crawl github youtube offering data_folder
    chats.py        conversations for fine-tuning, apart from the rest
    catalogue.py    the sources and their approval hints
    build.py        units in order, one rename at the end
    __main__.py     the verb on its own
Try: expedition sample DIR --size smoke; pytest tests/sampleworld
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.sampleworld.build import SampleSummary, build_sample
    from expedition.sampleworld.catalogue import SOURCES
    from expedition.sampleworld.chats import write_chats
    from expedition.sampleworld.services.data_folder import prepare_data_folder
    from expedition.sampleworld.services.offering import acquire_lines, offer_sample, ports_of
    from expedition.sampleworld.sizes import SIZES

__all__ = [
    "SIZES",
    "SOURCES",
    "SampleSummary",
    "acquire_lines",
    "build_sample",
    "offer_sample",
    "ports_of",
    "prepare_data_folder",
    "write_chats",
]

_HOMES = {
    "SIZES": "sizes",
    "SOURCES": "catalogue",
    "SampleSummary": "build",
    "build_sample": "build",
    "offer_sample": "services.offering",
    "acquire_lines": "services.offering",
    "ports_of": "services.offering",
    "prepare_data_folder": "services.data_folder",
    "write_chats": "chats",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'expedition.sampleworld' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"expedition.sampleworld.{_HOMES[name]}"), name)
