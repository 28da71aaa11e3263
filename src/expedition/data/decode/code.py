"""Source files to documents: text as written, its language, the licence that its own header names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from expedition.data.decode.charset import readable_text
from expedition.data.decode.piece import Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import CODE_LANGUAGES

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9.+()\- ]{2,200})")
_SHEBANG = re.compile(r"\A#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+)*)?([A-Za-z]+)[\d.]*(?:\s|\Z)")
_NAMES = {"makefile": "make", "dockerfile": "dockerfile", "cmakelists.txt": "cmake", "justfile": "just"}
_INTERPRETERS = {
    "python": "python", "bash": "shell", "sh": "shell", "zsh": "shell", "node": "javascript", "perl": "perl",
    "ruby": "ruby", "php": "php", "lua": "lua", "rscript": "r", "awk": "awk", "fish": "shell", "deno": "typescript",
}  # fmt: skip
_HEADER_CHARACTERS = 4096


def code_piece(data: bytes, name: str, limits: Limits, *, inner: str = "") -> Piece:
    """A source file as a document; line ends become "\\n", nothing else is formatted.

    Meta holds `code_language` (None where unknown) and `lines`. Raises Refused(ENCODING), Refused(NO_TEXT),
    Refused(TOO_LONG).
    """
    text, repairs = readable_text(data)
    text = text.rstrip() + "\n" if text.strip() else ""
    if not text:
        raise Refused(Reason.NO_TEXT)
    if len(text) > limits.text_characters:
        raise Refused(Reason.TOO_LONG, f"{len(text)} characters of source")
    return Piece(
        text=text,
        inner=inner,
        licence=header_licence(text),
        language="und",
        meta={"code_language": code_language(name, text), "lines": text.count("\n")},
        repairs=repairs,
    )


def code_language(name: str, text: str = "") -> str | None:
    """Programming language by suffix, well-known name or interpreter line; None where unknown."""
    path = PurePosixPath(name.lower())
    known = CODE_LANGUAGES.get(path.suffix) or _NAMES.get(path.name)
    if known is None and (found := _SHEBANG.match(text[:200])):
        return _INTERPRETERS.get(found.group(1).lower())
    return known


def header_licence(text: str) -> str | None:
    """SPDX expression of a file's header, or None."""
    found = _SPDX.search(text[:_HEADER_CHARACTERS])
    if found is None:
        return None
    # What closes a comment (`-->`, `--}}`) is no part of the expression.
    return " ".join(found.group(1).split()).rstrip("- ") or None
