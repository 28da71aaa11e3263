"""A page to its main text."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from expedition.data.compiled import COMPILED
from expedition.data.extract import attributes, layout, region, scan, weigh
from expedition.data.extract.furniture import keep
from expedition.data.extract.hints import COMMENTS, HIDDEN
from expedition.data.extract.render import render
from expedition.data.extract.table import places

SHORT_TEXT: Final = 600
"""Characters; below that the page's stated article body is read as well."""
_STATED = re.compile(r'"articleBody"\s{0,9}:\s{0,9}"((?:[^"\\]|\\.){200,1000000})"')
Setting = Literal["fast", "precise"]


@dataclass(frozen=True, slots=True)
class Extract:
    """Main text of a page and what the page says about itself. `cut`: markup beyond the bounds was read without structure."""

    text: str
    title: str | None = None
    language: str | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Scanned:
    """A page after the pass over its bytes: rows of elements, of blocks and of their features (widths in scan.py, weigh.py)."""

    source: bytes
    text: Any
    elements: Any
    rows: Any
    special: Any
    feature: Any
    registers: Any

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self.rows) // layout.B_WIDTH

    def text_of(self, block: int) -> str:
        """Text of a block, entities and formula marks as they are."""
        at = block * layout.B_WIDTH
        return str(self.text[self.rows[at + layout.B_START] : self.rows[at + layout.B_END]], "utf-8", "replace")


def scan_page(markup: str) -> Scanned:
    """One pass over a page, and the features of its blocks."""
    data = markup.encode("utf-8", "replace")
    count = data.count(b"<") + 1
    elements = min(count + 1, layout.MAX_ELEMENTS + 1)
    source = data + bytes(32)
    at_blocks = layout.ROWS + elements * layout.EL_WIDTH
    at_special = at_blocks + 2 * count * layout.B_WIDTH
    work = _array(at_special + 3 * count, np.int32)
    text = _array(len(source) + 2 * count, np.uint8)
    cleared = layout.ROWS + layout.EL_WIDTH
    work[:cleared] = 0 if COMPILED else [0] * cleared
    work[layout.ELEMENTS] = 1
    work[layout.TITLE] = work[layout.LANG] = -1
    work[layout.AT_ELEMENTS], work[layout.AT_BLOCKS], work[layout.AT_SPECIAL] = layout.ROWS, at_blocks, at_special
    tables = attributes.tables()
    scan.scan(np.frombuffer(source, np.uint8) if COMPILED else source, len(data), tables, text, work)
    blocks = int(work[layout.BLOCKS])
    shown = text[: int(work[layout.OUT])]
    made = work[layout.ROWS : layout.ROWS + int(work[layout.ELEMENTS]) * layout.EL_WIDTH]
    rows = work[at_blocks : at_blocks + blocks * layout.B_WIDTH]
    feature = _array(blocks * weigh.WIDTH, np.int32)
    weigh.weigh(shown, made, rows, tables, feature)
    special = work[at_special : at_special + 3 * int(work[layout.SPECIALS])]
    return Scanned(source, memoryview(shown), made, rows, special, feature, work[: layout.REGISTERS])


def _array(size: int, kind: Any) -> Any:
    """Room for a kernel's output, not cleared: what kernels read of it, they wrote before."""
    if not COMPILED:
        return bytearray(size) if kind is np.uint8 else [0] * size
    return np.empty(size, kind)


def main_region(scanned: Scanned) -> tuple[int, int, Any]:
    """The element of the main text, the block at which its lead begins, and by block whether it was dropped as furniture."""
    elements, feature, blocks = scanned.elements, scanned.feature, scanned.blocks
    dropped, weight, quiet, cleaned = (_array(blocks + 1, np.int32) for _ in range(4))
    near = _array(len(elements) // layout.EL_WIDTH + 1, np.int32)
    dropped[:] = 0 if COMPILED else [0] * (blocks + 1)
    whole = region.sums(feature, blocks, dropped, weight)
    region.anchors(elements, near)
    region.drop_furniture(elements, weight, weight, near, COMMENTS, dropped)
    region.sums(feature, blocks, dropped, quiet)
    for mask in region.MASKS:
        region.drop_furniture(elements, weight, quiet, near, mask, dropped)
        kept = region.sums(feature, blocks, dropped, cleaned)
        if kept >= min(region.ENOUGH, 0.5 * whole) and kept >= 0.04 * whole:
            break
    element = int(region.descend(elements, cleaned, near))
    return element, int(region.lead_of(elements, cleaned, element)), dropped


def extract(markup: str, setting: Setting = "fast") -> Extract:
    """Main text of a page, paragraphs parted by empty lines. Linear in the page's length; bounded depth."""
    scanned = scan_page(markup)
    element, lead, dropped = main_region(scanned)
    kept, tables = keep(scanned, element, lead, dropped, strict=setting == "precise")
    text = render(scanned, kept, tables)
    if len(text) < SHORT_TEXT:
        text = max(text, stated_body(markup), key=len)
    return Extract(
        text=text,
        title=_slice(scanned, layout.TITLE, layout.TITLE_END),
        language=_slice(scanned, layout.LANG, layout.LANG_END),
        cut=bool(scanned.registers[layout.CUT]),
    )


def stated_body(markup: str) -> str:
    """The article's text where the page states it as data (schema.org articleBody in JSON-LD) for scripts to show; else ""."""
    found = _STATED.search(markup)
    if found is None:
        return ""
    try:
        text = str(json.loads(f'"{found.group(1)}"', strict=False))
    except ValueError:
        return ""
    return visible_text(text) if "<p" in text or "<br" in text else html.unescape(text).strip()


def visible_text(markup: str) -> str:
    """All text of a page or chapter that a reader sees, structure kept, nothing judged; hidden elements are left out."""
    scanned = scan_page(markup)
    hidden: set[int] = set()
    width = layout.EL_WIDTH
    for row in range(0, len(scanned.elements), width):
        if scanned.elements[row + layout.EL_HINTS] & HIDDEN:
            hidden.update(range(scanned.elements[row + layout.EL_FIRST], scanned.elements[row + layout.EL_LAST]))
    shown = [n for n in range(scanned.blocks) if n not in hidden]
    return render(scanned, shown, places(scanned, shown))


def prepare() -> None:
    """Compiles the kernels, or loads them from disk where they were compiled before (some seconds, once a machine)."""
    extract("<html><body><article><h1>a</h1><p>b</p></article></body></html>")


def _slice(scanned: Scanned, start: int, end: int) -> str | None:
    reg = scanned.registers
    if reg[start] < 0:
        return None
    return html.unescape(scanned.source[int(reg[start]) : int(reg[end])].decode("utf-8", "replace")).strip() or None
