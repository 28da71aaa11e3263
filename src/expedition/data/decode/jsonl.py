"""JSON and JSON lines: each row checked strictly (double keys, NaN, lone surrogates), then found its text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits

TEXT_FIELDS: Final = ("text", "content", "body", "raw_content", "markdown", "document", "passage", "article", "code")
"""Fields that hold a row's text, the first that is there."""
_DIALOGUES: Final = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns")
_PAIRS: Final = (
    ("instruction", "input", "output"),
    ("instruction", "context", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("problem", "solution"),
    ("query", "response"),
)
_KEPT: Final = (
    "title",
    "id",
    "date",
    "timestamp",
    "author",
    "section",
    "generator",
    "generator_version",
    "seed",
    "prompt_sha256",
    "model",
    "topic",
    "wave",
)
_DEPTH = 200

AsPiece = Callable[[Any, Limits, str], Piece]
"""A row, the bounds, and where it was found → a document. Raises Refused."""


def json_value(line: bytes) -> Any:
    """One JSON value, strictly. Raises Refused: broken, double key, not a number, lone surrogate, deep."""
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except Refused:
        raise
    except RecursionError:
        raise Refused(Reason.TOO_DEEP, "JSON nesting") from None
    except UnicodeDecodeError as error:
        raise Refused(Reason.ENCODING, f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise Refused(Reason.BROKEN_LINE, str(error)[:120]) from None
    if b"\\u" in line and not _whole(value):
        raise Refused(Reason.LONE_SURROGATE)
    return value


def json_lines(stream: BinaryIO, limits: Limits, *, first_line: int = 1) -> Iterator[tuple[int, Any | Fault]]:
    """Line number and value, or the fault of that line. Blank lines are faults too, but for those at the end."""
    blank: list[int] = []
    number = first_line - 1
    while line := stream.readline(limits.line_bytes + 1):
        number += 1
        if len(line) > limits.line_bytes:
            yield number, Fault(Reason.TOO_LARGE, f"line of more than {limits.line_bytes} bytes", f"line {number}")
            while line and not line.endswith(b"\n"):
                line = stream.readline(1 << 20)
            continue
        if not line.strip():
            blank.append(number)
            continue
        for empty in blank:
            yield empty, Fault(Reason.EMPTY, "blank line", f"line {empty}")
        blank.clear()
        try:
            yield number, json_value(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except Refused as refused:
            yield number, Fault(refused.reason, refused.detail, f"line {number}")


def line_pieces(stream: BinaryIO, limits: Limits, *, first_line: int = 1, as_piece: AsPiece | None = None) -> Decoded:
    """Documents of a JSON-lines file; every line that gives none is a fault."""
    as_piece = as_piece or row_piece
    for number, value in json_lines(stream, limits, first_line=first_line):
        if isinstance(value, Fault):
            yield value
            continue
        try:
            yield as_piece(value, limits, f"line {number}")
        except Refused as refused:
            yield Fault(refused.reason, refused.detail, f"line {number}")


def json_pieces(data: bytes, limits: Limits, as_piece: AsPiece | None = None) -> Decoded:
    """Documents of a JSON file: a list of rows, or one row. Raises Refused where it is neither.

    `as_piece` makes a document of a row; None: `row_piece`.
    """
    as_piece = as_piece or row_piece
    if len(data) > limits.json_bytes:
        raise Refused(Reason.TOO_LARGE, f"JSON of {len(data)} bytes, limit {limits.json_bytes}")
    try:
        value = json_value(data)
    except Refused as refused:
        if refused.reason is Reason.BROKEN_LINE and data.count(b"\n") > 1:
            yield from line_pieces(io.BytesIO(data), limits, as_piece=as_piece)
            return
        raise
    rows = value if isinstance(value, list) else [value]
    for number, row in enumerate(rows):
        inner = f"item {number}" if isinstance(value, list) else ""
        try:
            yield as_piece(row, limits, inner)
        except Refused as refused:
            yield Fault(refused.reason, refused.detail, inner)


def row_piece(row: Any, limits: Limits, inner: str) -> Piece:
    """A row as a document. Raises Refused(WRONG_TYPE | MISSING_FIELD | NO_TEXT | TOO_LONG)."""
    if not isinstance(row, dict):
        raise Refused(Reason.WRONG_TYPE, f"a row is {type(row).__name__}, not an object")
    raw = row_text(row)
    text, removed = clean(raw)
    text = tidy(text)
    if not text:
        raise Refused(Reason.NO_TEXT)
    if len(text) > limits.text_characters:
        raise Refused(Reason.TOO_LONG, f"{len(text)} characters")
    return Piece(
        text=text,
        inner=inner,
        url=_string(row, "url", "source_url", "link"),
        licence=row_licence(row),
        language=row_language(row),
        meta=row_meta(row),
        repairs=(Repair(Reason.CONTROL_CHARACTERS, removed),) if removed else (),
    )


def row_text(row: Mapping[str, Any]) -> str:
    """The text of a row: a text field, a dialogue, or the parts of a question and its answer.

    Raises Refused(MISSING_FIELD), or Refused(WRONG_TYPE) where the field is no text.
    """
    for name in TEXT_FIELDS:
        if name in row:
            if isinstance(row[name], str):
                return str(row[name])
            raise Refused(Reason.WRONG_TYPE, f"{name} is {type(row[name]).__name__}, not text")
    for name in _DIALOGUES:
        if isinstance(row.get(name), list):
            return _dialogue(row[name])
    for names in _PAIRS:
        if all(isinstance(row.get(name), str) for name in (names[0], names[-1])):
            return "\n\n".join(row[name] for name in names if isinstance(row.get(name), str) and row[name])
    raise Refused(Reason.MISSING_FIELD, f"no text among {', '.join(sorted(map(str, row))[:8])}")


def row_licence(row: Mapping[str, Any]) -> str | None:
    """The licence that a row states, or None."""
    return _string(row, "license", "licence", "license_type")


def row_language(row: Mapping[str, Any]) -> str | None:
    """The language that a row states, or None."""
    return _string(row, "language", "lang")


def row_meta(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a row beside its text."""
    return {key: row[key] for key in _KEPT if isinstance(row.get(key), str | int | float)}


def _dialogue(turns: list[Any]) -> str:
    parts = []
    for turn in turns:
        if isinstance(turn, str):
            parts.append(turn)
            continue
        if not isinstance(turn, dict):
            raise Refused(Reason.WRONG_TYPE, "a turn is neither text nor an object")
        who = turn.get("role", turn.get("from", turn.get("speaker")))
        said = turn.get("content", turn.get("value", turn.get("text")))
        if not isinstance(said, str):
            raise Refused(Reason.WRONG_TYPE, "a turn without text")
        parts.append(f"{who}: {said}" if isinstance(who, str) else said)
    return "\n\n".join(parts)


def _string(row: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()[:2000]
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Refused(Reason.DUPLICATE_KEY, next(name for name in names if names.count(name) > 1)[:80])
    return found


def _constant(name: str) -> Any:
    raise Refused(Reason.WRONG_TYPE, f"{name} is not JSON")


def _whole(value: Any, depth: int = 0) -> bool:
    """Whether every string can be written as UTF-8."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True
    if depth > _DEPTH:
        raise Refused(Reason.TOO_DEEP, "JSON nesting")
    if isinstance(value, dict):
        return all(_whole(key) and _whole(item, depth + 1) for key, item in value.items())
    return all(_whole(item, depth + 1) for item in value) if isinstance(value, list) else True
