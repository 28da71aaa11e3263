"""Conversations: one template for transformers, and the same as ids here, where no message can spell a special token.

A chat template joins messages as text, so a message that holds "<|im_end|>" would end its own turn once that text is
tokenised with added tokens. `chat_ids` puts the special ids between the ids of ordinary text instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from expedition.errors import InputError

if TYPE_CHECKING:
    from expedition.data.tokenizer.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant", "tool")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>
{%- elif part.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>
{%- elif part.type == 'text' %}{{ part.text }}
{%- endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Messages as text, in Qwen's form (ChatML); the model is a base model, so plain documents are its natural input."""

_MEDIA = {
    "image": ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>"),
    "video": ("<|vision_start|>", "<|video_pad|>", "<|vision_end|>"),
    "audio": ("<|audio_start|>", "<|audio_pad|>", "<|audio_end|>"),
}

_Ids = np.ndarray[Any, np.dtype[np.int32]]
_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def chat_ids(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], *, prompt: bool = False
) -> tuple[_Ids, _Mask]:
    """Ids [n] int32 of a conversation, and [n] bool: True where an assistant's answer and its end are (what is learnt).

    A message is {"role", "content"}; content is text or a list of parts as in CHAT_TEMPLATE. `prompt` opens an answer.
    Equals CHAT_TEMPLATE's text tokenised with added tokens for messages that spell no special token. Raises
    InputError for an unknown role or part.
    """
    pieces: list[tuple[_Ids, bool]] = []
    plain: list[str] = []

    def flush(learnt: bool) -> None:
        if plain:
            pieces.append((tokenizer.encode("".join(plain)), learnt))
            plain.clear()

    def special(name: str, learnt: bool) -> None:
        flush(learnt)
        pieces.append((np.array([tokenizer.special(name)], np.int32), learnt))

    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise InputError(f"role {role!r} is none of {', '.join(ROLES)}", where=f"message {number}")
        special("<|im_start|>", False)
        plain.append(f"{role}\n")
        flush(False)
        learnt = role == "assistant"
        for part in _parts(content, number):
            if isinstance(part, str):
                plain.append(part)
            else:
                for name in part:
                    special(name, learnt)
        special("<|im_end|>", learnt)
        plain.append("\n")
        flush(False)
    if prompt:
        special("<|im_start|>", False)
        plain.append("assistant\n")
        flush(False)
    ids = np.concatenate([piece for piece, _ in pieces]) if pieces else np.zeros(0, np.int32)
    mask = np.repeat([learnt for _, learnt in pieces], [len(piece) for piece, _ in pieces])
    return ids.astype(np.int32), mask.astype(np.bool_)


def _parts(content: object, number: int) -> list[str | tuple[str, ...]]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, Sequence):
        raise InputError("content is neither text nor a list of parts", where=f"message {number}")
    parts: list[str | tuple[str, ...]] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            parts.append(part["text"])
        elif kind in _MEDIA:
            parts.append(_MEDIA[str(kind)])
        else:
            raise InputError(f"a part of type {kind!r}: text, image, video or audio", where=f"message {number}")
    return parts
