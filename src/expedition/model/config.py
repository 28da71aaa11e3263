"""What a built model needs to know: its shape, the size of its vocabulary and the token ids that media replace."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from expedition.errors import ProgrammeError
from expedition.plan.media import MediaRule
from expedition.plan.shapes import ModelShape, TokenIds

__all__ = ["OmniConfig"]


@dataclass(frozen=True, slots=True)
class OmniConfig:
    """Everything that fixes the parameters and the arithmetic of one `OmniModel`."""

    shape: ModelShape
    vocabulary: int
    """V, rows of the embedding table and of the head (padding rows included)."""
    token_ids: TokenIds
    position_id_per_seconds: int = 13
    """Time positions in one second of video; 13 keeps step with the audio tokens of a second."""

    def __post_init__(self) -> None:
        largest = max(asdict(self.token_ids).values())
        if self.vocabulary <= largest:
            raise ProgrammeError(
                f"a vocabulary of {self.vocabulary} rows has no row for token id {largest}",
                where="model.vocabulary",
                fix=f"give at least {largest + 1} rows, or token ids of the tokenizer that is used",
            )

    @classmethod
    def from_plan(cls, shape: ModelShape, media: MediaRule, token_ids: TokenIds, vocabulary: int) -> OmniConfig:
        """Join shape and media rule; raises ProgrammeError where the two disagree on how media become tokens."""
        for what, of_shape, of_media in (
            ("patch", shape.vision.patch, media.patch),
            ("merge", shape.vision.merge, media.merge),
            ("temporal_patch", shape.vision.temporal_patch, media.temporal_patch),
            ("mel_bins", shape.audio.mel_bins, media.mel_bins),
            ("audio tokens of a second", shape.audio.tokens(100), media.audio_tokens(100)),
        ):
            if of_shape != of_media:
                raise ProgrammeError(
                    f"the model's {what} is {of_shape}, the media rule's is {of_media}",
                    where="models / media",
                    fix=f"give both the same {what}: --set media.{what}={of_shape}",
                )
        return cls(shape, vocabulary, token_ids, media.position_id_per_seconds)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint's state."""
        return {
            "shape": self.shape.model_dump(mode="json"),
            "vocabulary": self.vocabulary,
            "token_ids": asdict(self.token_ids),
            "position_id_per_seconds": self.position_id_per_seconds,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OmniConfig:
        """Inverse of `to_json`."""
        return cls(
            shape=ModelShape(**data["shape"]),
            vocabulary=int(data["vocabulary"]),
            token_ids=TokenIds(**data["token_ids"]),
            position_id_per_seconds=int(data["position_id_per_seconds"]),
        )
