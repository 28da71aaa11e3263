"""sources: a folder of raw files into documents in Arrow batches, for a build that shares the work among processes.

Why a room: what a folder is, which files belong together and what may be read alone is decided here, by content; how a
format is decoded is decode's business, whether a source may be used is compliance's.
Verbs (all that other rooms may call):
    discover(data_dir) -> [SourceFolder]          training sources, their kinds found by content; reads sources.yaml
    survey(data_dir) -> Survey                    the same, with the folders of labelled tests and what was ignored
    read_declarations(data_dir) -> declarations   sources.yaml, checked
    list_items(source) -> [ItemRef]               sorted; large WARC, ARC and JSON-lines files in parts
    work_units(items) -> units of items           of about equal bytes; a function of the list alone
    read_documents(source, items, rules) -> batches and Rejected    lazily; pure; raises nothing for bad input
    kept(source_folder) -> path → ItemRecord      where fetched files came from; records(source_folder): the whole log
    read_file(path, source_kind) -> FileOutcome   any single file: documents, rejects, repairs
    Declaration, FileOutcome, ItemRecord, ItemRef, Rejected, Repaired, SourceFolder, Survey    the nouns
Seams: a source is a folder; another origin (a store's prefix, a queue) gives ItemRefs and a reader of the same shape.
Imports: errors, data.records, data.decode, data.stages.code (licences).  Imported by: data.builder, cli.
Reads / writes in the workspace: nothing.
Invariants: parts of a file hold each record once [test_parts_hold_each_record_once]; order and ids depend on
    content and path alone [test_ids_depend_on_content_and_path_alone]; labelled folders are no sources
    [test_labelled_folders_are_no_sources]; a crash names its file [test_items_are_small_enough_to_blame].
Read in this order:
    declaration.py  walk.py  folder.py    what there is, and of which kind
    manifest.py                           captions, transcripts, subtitles, rigs, licences beside the documents
    provenance.py                         where fetched files came from
    items.py  ranges.py                   what is read alone, and large files in parts
    read.py                               items → documents
    raw.py                                a document → the raw bytes it was made from
Try: expedition data sources DIR; pytest tests/data/sources
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Declaration",
    "FileOutcome",
    "ItemRecord",
    "ItemRef",
    "Rejected",
    "Repaired",
    "SourceFolder",
    "Survey",
    "discover",
    "kept",
    "list_items",
    "read_declarations",
    "read_documents",
    "read_file",
    "records",
    "survey",
    "work_units",
]

_HOMES = {
    "Declaration": "declaration",
    "FileOutcome": "read",
    "ItemRecord": "provenance",
    "ItemRef": "items",
    "Rejected": "read",
    "Repaired": "read",
    "SourceFolder": "folder",
    "Survey": "folder",
    "discover": "folder",
    "kept": "provenance",
    "list_items": "items",
    "read_declarations": "declaration",
    "read_documents": "read",
    "read_file": "read",
    "records": "provenance",
    "survey": "folder",
    "work_units": "items",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"expedition.data.sources.{_HOMES[name]}"), name)
