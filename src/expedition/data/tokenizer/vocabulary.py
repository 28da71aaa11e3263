"""A byte-level BPE vocabulary: 256 bytes, then one entry for each merge, in the order in which merges apply."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from expedition.errors import InputError
from expedition.workspace.hashes import canonical_json, sha256_bytes

BYTES = 256
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's pre-tokenizer: where a text is split before merges apply (Qwen2/Qwen3 tokenizer.json)."""


@dataclass(frozen=True)
class Vocabulary:
    """`tokens[i]` are the bytes of id i; `parts[k]` are the ids of the two entries whose merge makes id 256 + k.

    Valid if the first 256 tokens are the single bytes and every merge's parts come before it and spell it.
    """

    tokens: tuple[bytes, ...]
    parts: np.ndarray[Any, np.dtype[np.int32]]

    def __len__(self) -> int:
        return len(self.tokens)

    def check(self) -> None:
        """Raise InputError if this is not a valid vocabulary."""
        tokens = self.tokens
        if sorted(tokens[:BYTES]) != [bytes([value]) for value in range(BYTES)]:
            raise InputError("the first 256 entries are not the 256 bytes")
        if len(tokens) != BYTES + len(self.parts) or len(set(tokens)) != len(tokens):
            raise InputError(f"{len(tokens)} entries (with repeats?) for {len(self.parts)} merges and 256 bytes")
        for number, (left, right) in enumerate(self.parts.tolist(), start=BYTES):
            if not (left < number and right < number and tokens[left] + tokens[right] == tokens[number]):
                raise InputError(f"entry {number} ({tokens[number]!r}) is not the merge of {left} and {right}")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every token's bytes and every merge."""
        lengths = np.array([len(token) for token in self.tokens], np.int32)
        return sha256_bytes(lengths.tobytes() + b"".join(self.tokens) + self.parts.astype(np.int32).tobytes())


def byte_letters() -> list[str]:
    """The printable letter that the byte-level alphabet (GPT-2's) writes for each byte."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {value: chr(value) for value in kept}
    moved = [value for value in range(BYTES) if value not in letters]
    letters.update({value: chr(BYTES + index) for index, value in enumerate(moved)})
    return [letters[value] for value in range(BYTES)]


def spelled(token: bytes, letters: list[str]) -> str:
    """A token's bytes in the byte-level alphabet."""
    return "".join([letters[value] for value in token])


def tokenizer_json(vocabulary: Vocabulary, added: list[tuple[int, str, bool]]) -> bytes:
    """The `tokenizer.json` of a vocabulary with `added` tokens (id, text, special), as transformers reads it."""
    letters = byte_letters()
    words = [spelled(token, letters) for token in vocabulary.tokens]
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
            for number, text, special in added
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [[words[left], words[right]] for left, right in vocabulary.parts.tolist()],
        },
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def vocabulary_of(tokenizer: dict[str, Any]) -> Vocabulary:
    """The vocabulary inside a parsed `tokenizer.json` that `tokenizer_json` wrote. Raises InputError."""
    values = {letter: value for value, letter in enumerate(byte_letters())}
    try:
        vocab: dict[str, int] = tokenizer["model"]["vocab"]
        ordered = sorted(vocab.items(), key=lambda item: item[1])
        tokens = tuple(bytes([values[letter] for letter in word]) for word, _ in ordered)
        pairs = [(vocab[left], vocab[right]) for left, right in tokenizer["model"]["merges"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a byte-level BPE tokenizer: {error!r}", where="tokenizer.json") from error
    return Vocabulary(tokens, np.array(pairs, np.int32).reshape(-1, 2))


def added_fingerprint(added: list[tuple[int, str, bool]], size: int) -> str:
    """SHA-256 over the added tokens and the padded size."""
    return sha256_bytes(canonical_json([size, *[list(item) for item in added]]))
