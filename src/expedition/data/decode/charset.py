"""Bytes to text: which character encoding, how sure, and how many bytes had to be replaced."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from expedition.data.decode.clean import clean
from expedition.data.decode.piece import Refused, Repair
from expedition.data.decode.reasons import Reason

_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DETECT_BYTES = 64 * 1024
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_MAX_REPLACED = 0.1
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_MAX_CONTROLS = 0.02
"""Text in a legacy encoding has next to no control characters; noise, read as one, has many."""
_NOT_FOR_FILES = frozenset(
    {"utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "unicode_escape", "undefined"}
)
"""Python codecs that are escapes rather than encodings; some make lone surrogates."""
_WIDE = {"gbk": "gb18030", "gb2312": "gb18030", "euc-kr": "cp949", "shift_jis": "cp932", "iso-8859-1": "cp1252"}


@dataclass(frozen=True, slots=True)
class TextDecoding:
    """Decoded text, the encoding used, whether it was guessed, and the number of bytes replaced by U+FFFD."""

    text: str
    encoding: str
    guessed: bool = False
    replaced: int = 0

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What a report should say of the decoding."""
        guessed = (Repair(Reason.GUESSED_ENCODING, 1, self.encoding),) if self.guessed else ()
        replaced = (Repair(Reason.REPLACED_BYTES, self.replaced, self.encoding),) if self.replaced else ()
        return (*guessed, *replaced)


def decode_bytes(data: bytes, declared: str | None = None) -> TextDecoding:
    """Text of `data`: byte order mark, then UTF-8, then what is declared, then statistics.

    Raises Refused(ENCODING) where more than a tenth of the characters would be replacements: mojibake never passes.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _replacing(data[len(bom) :], encoding, guessed=False)
    wide = _wide_without_mark(data)
    if wide is not None:
        return _replacing(data, wide, guessed=True)
    escaped = _strict(data, "iso2022_jp") if b"\x1b$" in data[:_DETECT_BYTES] else None
    if escaped is not None:
        return TextDecoding(escaped, "iso2022_jp", guessed=True)
    text = _strict(data, "utf-8")
    if text is not None:
        return TextDecoding(text, "utf-8")
    if declared is not None:
        named = _known(declared)
        text = None if named is None or named == "utf-8" else _strict(data, named)
        if text is not None and named is not None:
            return TextDecoding(text, named)
    return _by_statistics(data)


def readable_text(data: bytes, declared: str | None = None) -> tuple[str, tuple[Repair, ...]]:
    """Decoded text without control characters, and what had to be repaired for it. Raises Refused(ENCODING)."""
    decoding = decode_bytes(data, declared)
    text, removed = clean(decoding.text)
    repairs = decoding.repairs
    return text, (*repairs, Repair(Reason.CONTROL_CHARACTERS, removed)) if removed else repairs


def _by_statistics(data: bytes) -> TextDecoding:
    if _mostly_utf8(data):
        return _replacing(data, "utf-8", guessed=False)
    sample = data[:_DETECT_BYTES]
    for candidate in (detect_encoding(sample), _second_opinion(sample)):
        named = _known(candidate) if candidate else None
        if named is None or named in ("utf-8", "ascii"):
            continue
        text = data.decode(named, "replace")
        replaced = text.count("\ufffd")
        if replaced <= 0.001 * len(text) and len(_CONTROLS.findall(text)) <= _MAX_CONTROLS * len(text):
            return TextDecoding(text, named, True, replaced)
    return _replacing(data, "utf-8", guessed=True)


def _second_opinion(sample: bytes) -> str | None:
    best = from_bytes(sample).best()
    return None if best is None else best.encoding


def _mostly_utf8(data: bytes) -> bool:
    """Whether stray bytes are rarer than whole UTF-8 sequences; in a legacy encoding valid sequences are accidents."""
    sequences = _MULTIBYTE.findall(data)
    # Half of a surrogate pair is well-formed by pattern and illegal in UTF-8 (it is CESU-8, and becomes U+FFFD).
    covered = sum(len(sequence) for sequence in sequences)
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    return bool(sequences) and high - covered <= len(sequences)


def _wide_without_mark(data: bytes) -> str | None:
    """UTF-16 without a byte order mark: zero bytes on one side only."""
    head = data[:4096]
    if len(head) < 8 or b"\x00" not in head:
        return None
    even, odd = head[0::2].count(0) / (len(head) / 2), head[1::2].count(0) / (len(head) / 2)
    if odd > 0.3 and even < 0.02:
        return "utf-16-le"
    if even > 0.3 and odd < 0.02:
        return "utf-16-be"
    return None


def _known(name: str) -> str | None:
    """The Python codec of an encoding's name as pages mean it (WHATWG), or None."""
    named = map_encoding_to_html5(name.strip().lower(), fallback_utf8=False)
    named = _WIDE.get(str(named or name).lower(), str(named or name).lower())
    try:
        info = codecs.lookup(named)
    except LookupError:
        return None
    return info.name if info._is_text_encoding and info.name not in _NOT_FOR_FILES else None


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _replacing(data: bytes, encoding: str, *, guessed: bool) -> TextDecoding:
    text = data.decode(encoding, "replace")
    before = data.count(b"\xef\xbf\xbd") if encoding == "utf-8" else 0
    replaced = max(0, text.count("\ufffd") - before)
    if replaced > max(_MAX_REPLACED * len(text), 16):
        raise Refused(Reason.ENCODING, f"{replaced} of {len(text)} characters do not fit {encoding}")
    return TextDecoding(text, encoding, guessed, replaced)
