"""Conversations as documents in the form that a chat template gives: special tokens around turns are inserts.

    O user              O: an insert; here <|im_start|>, and <|im_end|> at the end of a turn
    What is this? OO    a picture, clip or sound stands where the turn has it
    O assistant
    A kite.O

Turns are texts without blanks at their ends, so that the token of the line end after a role is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.companion import NOTHING
from expedition.data.decode.jsonl import row_language, row_licence, row_meta
from expedition.data.decode.piece import Fault, Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.records import PLACEHOLDER, Insert

FileOf = Callable[[str], bytes]
"""Bytes of a medium by the name that a row gives it; raises Refused(MISSING_MEDIA | UNSAFE_PATH | …)."""

TURN_FIELDS: Final = ("messages", "conversations", "conversation")
ROLES: Final = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "human": "user", "gpt": "assistant", "model": "assistant",
}  # fmt: skip
"""Names of roles as they are found (OpenAI, ShareGPT, Gemma), and the template's."""
_KINDS: Final = {"image": "image", "image_url": "image", "video": "video", "audio": "audio", "input_audio": "audio"}
_LISTS: Final = {"image": ("images", "image"), "video": ("videos", "video"), "audio": ("audios", "audio")}
"""Fields of a row that name media whose places are marks in the texts."""
_MARK = re.compile(r"<(image|video|audio)>\n?")
_START, _END = Insert("special", "<|im_start|>"), Insert("special", "<|im_end|>")


@dataclass(frozen=True, slots=True)
class _Medium:
    kind: str
    name: str


_Part = str | _Medium


def chat_piece(row: Any, file_of: FileOf, rules: DecodeRules, inner: str) -> Piece:
    """A row with `messages` (or ShareGPT's `conversations`) as a document of kind chat.

    A turn is {role, content}; content is text, or a list of {"type": "text" | "image" | "video" | "audio", …} parts.
    Texts may hold <image>, <video> and <audio> for the files that the row lists as images, videos and audios. Raises
    Refused: WRONG_TYPE, MISSING_FIELD (no turns, no answer), NO_TEXT, MISSING_MEDIA (also where marks and files differ
    in number), TOO_LONG.
    """
    turns = _turns(row)
    marked = _Marked.of(row)
    text: list[str] = []
    inserts: list[Insert] = []
    repairs: list[Repair] = []
    removed = answers = 0
    for number, turn in enumerate(turns):
        role, parts = _turn(turn, number, marked)
        inserts.append(_START)
        words: list[str] = []
        for part in parts:
            if isinstance(part, str):
                cleaned, characters = clean(part)
                removed += characters
                words.append(cleaned)
                continue
            insert, changes = _medium(part, file_of, rules)
            inserts.append(insert)
            repairs += changes
            words.append(PLACEHOLDER)
        inserts.append(_END)
        said = tidy("".join(words))
        answers += role == "assistant" and bool(said)
        text.append(f"{PLACEHOLDER}{role}\n{said}{PLACEHOLDER}\n")
    marked.require_all_used()
    if not answers:
        raise Refused(Reason.MISSING_FIELD, "no turn of an assistant: nothing to learn")
    whole = "".join(text)
    if len(whole) > rules.limits.text_characters:
        raise Refused(Reason.TOO_LONG, f"{len(whole)} characters")
    if removed:
        repairs.append(Repair(Reason.CONTROL_CHARACTERS, removed))
    return Piece(
        text=whole,
        inserts=tuple(inserts),
        inner=inner,
        kind="chat",
        licence=row_licence(row),
        language=row_language(row),
        meta=row_meta(row),
        repairs=tuple(repairs),
    )


def media_names(row: Mapping[str, Any]) -> list[str]:
    """Files that a conversation names; none where the row is no conversation."""
    if not any(isinstance(row.get(field), list) for field in TURN_FIELDS):
        return []
    try:
        marked = _Marked.of(row)
        parts = [part for number, turn in enumerate(_turns(row)) for part in _turn(turn, number, marked)[1]]
    except Refused:
        return []
    return [part.name for part in parts if isinstance(part, _Medium)]


def _turns(row: Any) -> list[Any]:
    if not isinstance(row, Mapping):
        raise Refused(Reason.WRONG_TYPE, f"a row is {type(row).__name__}, not an object")
    for field in TURN_FIELDS:
        turns = row.get(field)
        if isinstance(turns, list) and turns:
            first = row.get("system")
            system = [{"role": "system", "content": first}] if isinstance(first, str) and first.strip() else []
            return [*system, *turns]
    raise Refused(Reason.MISSING_FIELD, f"no turns among {', '.join(sorted(map(str, row))[:8])}")


class _Marked:
    """The files that a row lists by kind, taken one after the other by the marks in its texts."""

    def __init__(self, files: dict[str, list[str]]) -> None:
        self._files = files
        self._waiting = {kind: iter(names) for kind, names in files.items()}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Marked:
        files: dict[str, list[str]] = {}
        for kind, fields in _LISTS.items():
            for field in fields:
                value = row.get(field)
                names = [value] if isinstance(value, str) else value
                if isinstance(names, list) and names:
                    if not all(isinstance(name, str) for name in names):
                        raise Refused(Reason.WRONG_TYPE, f"{field} is no list of file names")
                    files[kind] = names
                    break
        return cls(files)

    def parts(self, text: str) -> Iterator[_Part]:
        """Text and media in order; marks of a kind that the row lists no files of are text."""
        done = 0
        for mark in _MARK.finditer(text):
            kind = mark[1]
            if kind not in self._files:
                continue
            name = next(self._waiting[kind], None)
            if name is None:
                raise Refused(Reason.MISSING_MEDIA, f"more <{kind}> marks than the {len(self._files[kind])} files")
            yield text[done : mark.start()]
            yield _Medium(kind, name)
            done = mark.end()
        yield text[done:]

    def require_all_used(self) -> None:
        """Raise Refused where a listed file has no mark."""
        for kind, waiting in self._waiting.items():
            left = sum(1 for _ in waiting)
            if left:
                raise Refused(Reason.MISSING_MEDIA, f"{left} of {len(self._files[kind])} files have no <{kind}> mark")


def _turn(turn: Any, number: int, marked: _Marked) -> tuple[str, list[_Part]]:
    """Role and parts of one turn. Raises Refused(WRONG_TYPE)."""
    if not isinstance(turn, Mapping):
        raise Refused(Reason.WRONG_TYPE, f"turn {number} is no object")
    role = turn.get("role", turn.get("from"))
    if role not in ROLES:
        raise Refused(Reason.WRONG_TYPE, f"turn {number} has the role {role!r}"[:120])
    if turn.get("tool_calls"):
        raise Refused(Reason.WRONG_TYPE, f"turn {number} calls tools beside its text: write them into it")
    if turn.get("weight", 1) != 1:
        raise Refused(Reason.WRONG_TYPE, f"turn {number} has a weight of its own: all answers are learnt")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, str):
        parts: Sequence[Any] = [{"type": "text", "text": content}]
    elif isinstance(content, Sequence):
        parts = content
    else:
        raise Refused(Reason.WRONG_TYPE, f"turn {number} has neither text nor parts")
    return ROLES[role], [piece for part in parts for piece in _parts(part, number, marked)]


def _parts(part: Any, number: int, marked: _Marked) -> Iterator[_Part]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        yield from marked.parts(part["text"])
        return
    if kind not in _KINDS:
        raise Refused(Reason.WRONG_TYPE, f"turn {number} has a part of type {kind!r}"[:120])
    given = part.get(kind, part.get(_KINDS[kind]))
    if isinstance(given, Mapping):
        given = given.get("path", given.get("url"))
    name = next((value for value in (given, part.get("path"), part.get("file")) if isinstance(value, str)), None)
    if name is None:
        raise Refused(Reason.MISSING_MEDIA, f"turn {number}: a part of type {kind} names no file")
    yield _Medium(_KINDS[kind], name)


def _medium(medium: _Medium, file_of: FileOf, rules: DecodeRules) -> tuple[Insert, tuple[Repair, ...]]:
    """One file as one insert: a whole picture, sound or clip. Raises Refused(TOO_LONG) for one that becomes several."""
    from expedition.data.decode import media
    from expedition.data.decode.image import image_insert

    data = file_of(medium.name)
    if medium.kind == "image":
        return image_insert(data, rules)
    alone = replace(rules, require_text=False, video_audio=False)
    read = media.sound_pieces if medium.kind == "audio" else media.clip_pieces
    found = list(islice(read(data, NOTHING, alone), 2))
    if len(found) != 1:
        raise Refused(Reason.TOO_LONG, f"{medium.name[:100]} is longer than one {medium.kind} may be")
    piece = found[0]
    if isinstance(piece, Fault):
        raise Refused(piece.reason, f"{medium.name[:100]}: {piece.detail}")
    return piece.inserts[0], piece.repairs
