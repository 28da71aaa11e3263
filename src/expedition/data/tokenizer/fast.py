"""Text to ids, quickly: gigatoken where it gives the ids of `tokenizers`, else `tokenizers` itself.

Neither is handed any added token, so the text of one inside a document is text like any other and can never become
a special id.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

PROBES: tuple[str, ...] = (
    "The ship's log: 12 knots, 3rd of May 2031; they'll see\r\n\r\n  land.\t\n",
    "def sail(x: int) -> int:\n    return x ** 2  # naïve café\n\n\n",
    "你好，世界！１２３ 长江与黃河 ㍿ ﬁ",
    "こんにちは世界、カタカナ。안녕하세요 세계",
    "Привет, мир! Ελλάδα ქართული հայերեն",
    "مرحبا بالعالم שלום עולם नमस्ते दुनिया বাংলা தமிழ்",
    "สวัสดีชาวโลก ລາວ မြန်မာ ភាសា བོད་སྐད",
    "🙂🏽‍♀️ ☃️ 👩‍👩‍👧 é é \u200b\u202e\ufeff\x00\x1b[0m",
    "<|im_start|>user <|endoftext|> <think>",
    " a  b   c    \n  \n\t\td",
)
"""Texts on which an encoder must agree with `tokenizers` before it is used."""

_Ids = np.ndarray[Any, np.dtype[np.int32]]


class Encoder(Protocol):
    """Ordinary text to ids (int32). Not for several threads at once."""

    name: str

    def encode_batch(self, texts: Sequence[str]) -> list[_Ids]:
        """The ids of each text, in order."""
        ...


class ReferenceEncoder:
    """Hugging Face `tokenizers` on a tokenizer.json without added tokens."""

    def __init__(self, plain_json: bytes) -> None:
        from tokenizers import Tokenizer

        self.name = f"tokenizers {version('tokenizers')}"
        self._tokenizer = Tokenizer.from_buffer(plain_json)

    def encode_batch(self, texts: Sequence[str]) -> list[_Ids]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(item.ids, np.int32) for item in encoded]


class GigatokenEncoder:
    """gigatoken on the same tokenizer.json: the same ids, about ten times as fast."""

    def __init__(self, plain_json: bytes) -> None:
        import gigatoken

        self.name = f"gigatoken {version('gigatoken')}"
        self._tokenizer = gigatoken.Tokenizer.from_json(plain_json)

    def encode_batch(self, texts: Sequence[str]) -> list[_Ids]:
        lists = self._tokenizer.encode_batch_list(list(texts), parallel=False)
        return [np.array(item, np.int32) for item in lists]


def choose_encoder(plain_json: bytes, checked: str | None = None) -> Encoder:
    """The fastest encoder that agrees with `tokenizers` on every probe.

    `checked` names an encoder and version that a build already compared on this vocabulary; it is used unseen.
    """
    try:
        fast: Encoder = GigatokenEncoder(plain_json)
    except (ImportError, ValueError, RuntimeError):
        return ReferenceEncoder(plain_json)
    if fast.name == checked:
        return fast
    reference = ReferenceEncoder(plain_json)
    pairs = zip(fast.encode_batch(PROBES), reference.encode_batch(PROBES), strict=True)
    return fast if all(np.array_equal(left, right) for left, right in pairs) else reference
