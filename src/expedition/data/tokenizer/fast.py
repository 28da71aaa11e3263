"""Text to ids, quickly: gigatoken, else tiktoken, where it gives the ids of `tokenizers`; else `tokenizers` itself.

None is handed any added token, so the text of one inside a document is text like any other and can never become
a special id.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from expedition.data.tokenizer.vocabulary import PATTERN, Vocabulary, tokenizer_json

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

_LATER_MARKS = (
    "07FD,0897-089F,08CA-08D3,09FE,0C3C,0D3B-0D3C,0EBA,1715,1ABF-1ADD,1AE0-1AEB,1DF6-1DFA,A82C,10D24-10D27,10D69-10D6D,"
    "10EAB-10EAC,10EFA-10EFF,10F46-10F50,10F82-10F85,11070,1133B,113C2,113CE-113D0,1145E,1611E-1612F,16D67,11839-1183A,"
    "1193D-1193E,11943,119E0,11A34,11A47,11A99,11D42-11D45,11D97,11F41-11F42,16FF0-16FF1,1E08F,1E130-1E136,1E2AE,"
    "1E2EC-1E2EF,1E4EC-1E4EF,1E5EE-1E5EF,1E6E3-1E6F5"
)
"""Combining marks that came after the Unicode tables of `tokenizers` 0.23 (its NFC leaves their order as it is, that of
gigatoken 0.10 and of Python sorts them): found by comparing each code point beside marks of eight classes, both ways."""


def _table(ranges: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    table = np.zeros(0x20000, np.bool_)
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] = True
    return table


_LATER = _table(_LATER_MARKS)
_FIRST_LATER = int(np.argmax(_LATER))


def has_later_marks(text: str) -> bool:
    """Whether a text has a mark on whose order Unicode versions disagree."""
    if text.isascii():
        return False
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = codes[codes >= _FIRST_LATER]
    return bool(len(codes)) and bool(_LATER[np.minimum(codes, len(_LATER) - 1)].any())


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
        # One array of all ids with the documents' ends; lists of Python numbers would cost as much as the encoding.
        layout = self._tokenizer.encode_batch(list(texts), parallel=False).layout
        ids = np.asarray(layout.content.data).astype(np.int32)
        ends = np.asarray(layout.offsets.data).tolist()
        return [ids[start:end] for start, end in pairwise(ends)]


class TiktokenEncoder:
    """tiktoken with entries as ranks: an entry's id is the order of its merge, in the whole vocabulary and a part."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        import tiktoken

        self.name = f"tiktoken {version('tiktoken')}"
        ranks = {token: number for number, token in enumerate(vocabulary.tokens)}
        self._encoding = tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})

    def encode_batch(self, texts: Sequence[str]) -> list[_Ids]:
        normal = (unicodedata.normalize("NFC", text) for text in texts)
        return [np.array(self._encoding.encode_ordinary(text), np.int32) for text in normal]


class SafeEncoder:
    """A fast encoder; texts with marks that it may order otherwise than `tokenizers` go to `tokenizers`."""

    def __init__(self, fast: Encoder, reference: Callable[[], ReferenceEncoder]) -> None:
        self.name = fast.name
        self._fast, self._make = fast, reference
        self._reference: ReferenceEncoder | None = None

    def encode_batch(self, texts: Sequence[str]) -> list[_Ids]:
        doubtful = [place for place, text in enumerate(texts) if has_later_marks(text)]
        if not doubtful:
            return self._fast.encode_batch(texts)
        self._reference = self._reference or self._make()
        ids = dict(zip(doubtful, self._reference.encode_batch([texts[place] for place in doubtful]), strict=True))
        rest = [place for place in range(len(texts)) if place not in ids]
        if rest:
            ids |= zip(rest, self._fast.encode_batch([texts[place] for place in rest]), strict=True)
        return [ids[place] for place in range(len(texts))]


def choose_encoder(vocabulary: Vocabulary, checked: str | None = None) -> Encoder:
    """The fastest encoder that agrees with `tokenizers` on every probe.

    `checked` names an encoder and version that a build already compared on this vocabulary; it is used unseen.
    """
    plain_json = tokenizer_json(vocabulary, [])
    makers: tuple[Callable[[], Encoder], ...] = (
        partial(GigatokenEncoder, plain_json),
        partial(TiktokenEncoder, vocabulary),
    )
    reference: ReferenceEncoder | None = None
    for make in makers:
        try:
            fast = make()
        except (ImportError, ValueError, RuntimeError):
            continue
        safe = SafeEncoder(fast, partial(ReferenceEncoder, plain_json))
        if fast.name == checked:
            return safe
        reference = reference or ReferenceEncoder(plain_json)
        pairs = zip(fast.encode_batch(PROBES), reference.encode_batch(PROBES), strict=True)
        if all(np.array_equal(left, right) for left, right in pairs):
            return safe
    return reference or ReferenceEncoder(plain_json)
