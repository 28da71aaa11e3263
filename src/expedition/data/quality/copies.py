"""Whether a dropped document is a copy of the one that stayed, judged from the raw file, independently of the stage."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Final

from expedition.data.quality.seen import Gone, Seen

_WORD: Final = re.compile(r"\w+")
_LINE: Final = re.compile(r"line (\d+)")
_SHINGLE: Final = 5
_MEMBER_BYTES: Final = 16 << 20
_SIMILAR: Final = 0.7


def is_copy(row: Gone, seen: Seen, data_dir: Path | None) -> bool:
    """True if a line of a JSON-lines file or a member of a tar archive has the text of the document that stayed, or
    words nearly so, or if both are files of equal bytes. False where nothing can be compared."""
    if data_dir is None or row.of is None:
        return False
    if row.inner:
        text = _line_text(data_dir / row.path, row.inner) or _member_text(data_dir / row.path, row.inner)
        return (
            text is not None
            and seen.text_of is not None
            and row.of in seen.kept_by_id
            and (similarity(text, seen.text_of(row.of)) >= _SIMILAR)
        )
    other = seen.kept_by_id.get(row.of)
    if other is None or other.inner:
        return False
    first, second = data_dir / row.path, data_dir / other.path
    return first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes()


def _line_text(path: Path, inner: str) -> str | None:
    found = _LINE.fullmatch(inner)
    if found is None or path.suffix != ".jsonl" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if number == int(found.group(1)):
                text = json.loads(line).get("text")
                return text if isinstance(text, str) else None
    return None


def _member_text(path: Path, inner: str) -> str | None:
    if not path.is_file() or path.suffix not in (".tar", ".gz", ".tgz") or not tarfile.is_tarfile(path):
        return None
    with tarfile.open(path) as archive:
        try:
            member = archive.extractfile(inner)
        except KeyError:
            return None
        return None if member is None else member.read(_MEMBER_BYTES).decode("utf-8", "replace")


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the word 5-grams of two texts; of their words where one is shorter."""
    first, second = _shingles(a), _shingles(b)
    return len(first & second) / max(len(first | second), 1)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    size = min(_SHINGLE, max(len(words), 1))
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
