"""extract: an HTML page to its main text, its structure kept: paragraphs, lists, tables, code, formulas.

Why a room: what of a page is its text is decided here, by its markup alone, in one pass over the bytes and without a
tree. It fetches nothing, decodes no bytes (data.decode does) and judges no quality (the stages do).
Verbs (all that other rooms may call):
    extract(markup, setting) -> Extract     main text, title, language of a page; setting "fast" or "precise"
    visible_text(markup) -> str             all text of a page, nothing judged
    extract_folder(folder, out, setting) -> dict    every page of a folder, a JSON line each
    prepare()                               compiles or loads the kernels, so that no page pays for it
Seams: Setting (fast: rules alone; precise: rules, then a second look at doubtful blocks).
Imports: data.decode (folder.py: bytes to text), errors.  Imported by: data.decode, cli.
Reads / writes in the workspace: nothing; extract_folder writes the file it is given.
Invariants: time is linear and memory bounded whatever the markup [test_hostile_markup_is_read_in_bounded_time]; compiled
and plain kernels agree [test_plain_kernels_give_the_same_text]; code keeps its lines, tables their rows, formulas their
TeX [test_structure_is_kept].
Read in this order:
    page.py             the whole way of a page
    scan.py             the pass over bytes
    tags.py  hints.py   names of elements; words of classes and ids
    weigh.py            what a block looks like
    region.py           where the main text lies
    furniture.py        which blocks of it are text
    table.py  formula.py  render.py    structure
    folder.py           a folder of pages
Try: expedition data extract --help; pytest tests/data/extract
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.extract.folder import extract_folder
    from expedition.data.extract.page import Extract, Setting, extract, prepare, visible_text

__all__ = ["Extract", "Setting", "extract", "extract_folder", "prepare", "visible_text"]

_HOMES = {
    "Extract": "page",
    "Setting": "page",
    "extract": "page",
    "extract_folder": "folder",
    "prepare": "page",
    "visible_text": "page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"expedition.data.extract.{_HOMES[name]}"), name)
