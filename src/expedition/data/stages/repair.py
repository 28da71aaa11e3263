"""Repair of text that came in damaged or hostile: controls, terminal escapes, bidi overrides, NUL, mojibake.

Idempotent: `repair(repair(text)[0])` changes nothing. U+FFFC is never touched. Every kind of change is counted by name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult

# ESC sequences: CSI with bounded parameters, OSC up to BEL or ST (bounded), two-character escapes.
_TERMINAL: Final = re.compile(r"\x1b(?:\[[0-9;?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]+")
# Overrides and embeddings reorder what a reader sees; the marks U+200E, U+200F and the isolates that only delimit
# a run are kept out of this class only where languages need them: U+200E/U+200F stay, the rest goes.
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069]+")
_INVISIBLE: Final = re.compile(
    "[\ufeff\ufdd0-\ufdef\ufffe\uffff\u2060\u180e]+|(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)
_LINE_ENDS: Final = re.compile("\r\n?|\x85|\u2028|\u2029")
# Pairs that UTF-8 read as Windows-1252 leaves behind; a run is repaired only where it decodes back as UTF-8.
_MOJIBAKE: Final = re.compile(
    "(?:[\u00c2-\u00df][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
    "|[\u00e0-\u00ef][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2}"
    "|[\u00f0-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{3})+"
)
# By far most texts hold none of these; to look for one plain set of characters is cheap.
_SUSPECT: Final = re.compile(
    "[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f-\\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufdd0-\ufdef\ufffe\uffff\u2060\u180e\U000e0000-\U000e007f]"
)
_MOJIBAKE_PAIR: Final = re.compile(
    "[\u00c2-\u00f4](?=[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122])"
)
_MOJIBAKE_MINIMUM: Final = 2
"""Sequences that a text must show before any is touched: a single pair may be meant."""


def repair(text: str, *, normalise: bool = True) -> tuple[str, dict[str, int]]:
    """Return the repaired text and how many characters each named repair removed or replaced.

    `normalise` composes to NFC, which source code is spared.
    """
    counts: Counter[str] = Counter()
    if "\x1b" in text:
        text, counts["terminal escapes"] = _TERMINAL.subn("", text)
    if "\r" in text or not text.isascii():
        text = _LINE_ENDS.sub("\n", text)
    if "\x00" in text:
        counts["nul bytes"] = text.count("\x00")
    # C1 controls take part in mojibake of Latin-1 origin, so it is undone before they are removed.
    text, counts["mojibake"] = _repair_mojibake(text)
    if _SUSPECT.search(text):
        text = _removed(_CONTROL, text, "control characters", counts)
        text = _removed(_BIDI, text, "bidi overrides", counts)
        text = _removed(_INVISIBLE, text, "invisible characters", counts)
    if normalise and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        counts["composed to NFC"] = 1
    return text, {name: count for name, count in sorted(counts.items()) if count}


def _removed(pattern: re.Pattern[str], text: str, name: str, counts: Counter[str]) -> str:
    result = pattern.sub("", text)
    counts[name] += len(text) - len(result)
    return result


def _repair_mojibake(text: str) -> tuple[str, int]:
    if text.isascii() or _MOJIBAKE_PAIR.search(text) is None:
        return text, 0
    runs = _MOJIBAKE.findall(text)
    if len(runs) < _MOJIBAKE_MINIMUM or sum(_decoded(run) is not None for run in runs) < _MOJIBAKE_MINIMUM:
        return text, 0
    repaired = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal repaired
        decoded = _decoded(match.group())
        if decoded is None:
            return match.group()
        repaired += 1
        return decoded

    return _MOJIBAKE.sub(replace, text), repaired


def _decoded(run: str) -> str | None:
    data = bytearray()
    for character in run:
        try:
            data += character.encode("cp1252")
        except UnicodeEncodeError:
            if ord(character) > 0xFF:
                return None
            data.append(ord(character))
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\ufffc" in decoded else decoded


@dataclass(frozen=True, slots=True)
class Repair:
    """Stage: repaired text for every kind; a text of which nothing is left is dropped (inserts count as something)."""

    kinds: frozenset[str]
    max_replacement_share: float = 0.05
    """Largest share of U+FFFD, the mark of bytes that did not decode, in a text that is kept."""
    name: str = "repair"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        text, counts = repair(row.text, normalise=row.kind != "code")
        if not text.strip():
            return Outcome(drop="empty text", counts=counts)
        if text.count("\ufffd") > self.max_replacement_share * len(text):
            return Outcome(drop="undecodable text", counts=counts)
        if text == row.text:
            return KEEP
        return Outcome(text=text, changed=("repaired",), counts=counts)
