"""The tokenizer that data, training, evaluation and release share, on the whole vocabulary or a compact one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.tokenizer.chat import CHAT_TEMPLATE
from expedition.data.tokenizer.fast import Encoder, choose_encoder
from expedition.data.tokenizer.specials import END_OF_TEXT, added_tokens
from expedition.data.tokenizer.vocabulary import Vocabulary, added_fingerprint, tokenizer_json, vocabulary_of
from expedition.errors import InputError, UsageError
from expedition.workspace.atomic import write_atomic
from expedition.workspace.hashes import canonical_json, sha256_bytes
from expedition.workspace.schema import checked_schema

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
VOCABULARY_FILE = "vocabulary.json"
CHAT_FILE = "chat_template.jinja"
FILES = (CHAT_FILE, CONFIG_FILE, TOKENIZER_FILE, VOCABULARY_FILE)
SCHEMA = "data.vocabulary"


class Tokenizer:
    """A byte-level BPE vocabulary, the added tokens after it, and a padded size for the embedding table.

    Immutable. `encode` never makes an added token out of text; `special` is the only way to one.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, action_bins: int = 256, padded_size: int | None = None, multiple: int = 64
    ) -> None:
        """`padded_size` None: the next multiple of `multiple`. Raises UsageError if it is smaller than the table."""
        self.vocabulary = vocabulary
        self.action_bins = action_bins
        self.added = added_tokens(len(vocabulary), action_bins)
        used = len(vocabulary) + len(self.added)
        self.size = -(-used // multiple) * multiple if padded_size is None else padded_size
        """Rows of the embedding table: every id is below it; the rest is reserved."""
        if self.size < used:
            raise UsageError(
                f"padded_size {self.size} is smaller than the {used} tokens in use",
                fix=f"data.tokenizer.padded_size: {-(-used // multiple) * multiple}",
            )
        self._special = {text: number for number, text, _ in self.added}
        self._checked_encoder: str | None = None

    def special(self, name: str) -> int:
        """The id of an added token such as `<|image|>`. Raises UsageError with the nearest names."""
        try:
            return self._special[name]
        except KeyError:
            import difflib

            close = difflib.get_close_matches(name, self._special, n=3)
            fix = f"did you mean {', '.join(close)}?" if close else None
            raise UsageError(f"no special token {name!r}", fix=fix) from None

    @property
    def specials(self) -> dict[str, int]:
        """Every added token's text and id."""
        return dict(self._special)

    @property
    def end_of_text(self) -> int:
        """The id that ends every document."""
        return self._special[END_OF_TEXT]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides ids: bytes, merges, added tokens, padded size."""
        return sha256_bytes((self.vocabulary.fingerprint + added_fingerprint(self.added, self.size)).encode())

    @cached_property
    def _encoder(self) -> Encoder:
        return choose_encoder(self.vocabulary, self._checked_encoder)

    @property
    def encoder_name(self) -> str:
        """Library and version that encodes here."""
        return self._encoder.name

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Ids (int32) of `text`, NFC-normalised as Qwen does; added tokens in it are ordinary text."""
        return self._encoder.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
        """`encode` for many texts at once."""
        return self._encoder.encode_batch(texts) if texts else []

    @cached_property
    def _bytes(self) -> tuple[bytes, ...]:
        return (*self.vocabulary.tokens, *(text.encode() for _, text, _ in self.added))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; added tokens by name, reserved ids as nothing, broken UTF-8 as U+FFFD. Raises UsageError."""
        table = self._bytes
        out: list[bytes] = []
        for number in ids:
            if not 0 <= number < self.size:
                raise UsageError(f"token id {number} is outside 0..{self.size - 1}")
            if number < len(table):
                out.append(table[number])
        return b"".join(out).decode("utf-8", errors="replace")

    def save(self, folder: Path) -> None:
        """Write the folder that `load` and transformers' `PreTrainedTokenizerFast.from_pretrained` read."""
        write_atomic(folder / TOKENIZER_FILE, tokenizer_json(self.vocabulary, self.added))
        write_atomic(folder / CHAT_FILE, CHAT_TEMPLATE.encode())
        write_atomic(folder / CONFIG_FILE, canonical_json(self._config()) + b"\n")
        description = {
            "schema": f"{SCHEMA}/1",
            "entries": len(self.vocabulary),
            "action_bins": self.action_bins,
            "padded_size": self.size,
            "fingerprint": self.fingerprint,
            "encoder": self.encoder_name,
        }
        write_atomic(folder / VOCABULARY_FILE, canonical_json(description) + b"\n")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read what `save` wrote. Raises InputError if a file is missing, damaged or not the one described."""
        description = _read_object(folder / VOCABULARY_FILE)
        checked_schema(description, SCHEMA, 1, str(folder / VOCABULARY_FILE))
        vocabulary = vocabulary_of(_read_object(folder / TOKENIZER_FILE))
        try:
            tokenizer = cls(
                vocabulary,
                action_bins=int(description["action_bins"]),
                padded_size=int(description["padded_size"]),
            )
            tokenizer._checked_encoder = str(description["encoder"])
            expected = description["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"incomplete: {error!r}", where=str(folder / VOCABULARY_FILE)) from error
        if tokenizer.fingerprint != expected:
            raise InputError(
                "the tokenizer is not the one that was saved (fingerprints differ)",
                where=str(folder),
                fix="restore the folder from its dataset version or release",
            )
        return tokenizer

    def _config(self) -> dict[str, Any]:
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 131_072,
            "eos_token": "<|im_end|>",
            "pad_token": END_OF_TEXT,
            "bos_token": None,
            "unk_token": None,
            "add_prefix_space": False,
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "audio_token": "<|audio_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        }


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("the tokenizer folder lacks this file", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not readable as JSON: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=str(path))
    return value
