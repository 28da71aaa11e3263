"""The omni model: text, images, video and audio in one row of tokens → hidden states, and the head over them.

Shapes: B batch, S sequence, T = B·S tokens, H hidden, V vocabulary, P patches, C numbers in a patch, G images and
videos, M mel bins, F mel frames, A audio clips, N features, E experts, K experts a token.
Parameter names are those of the transformers thinker: a checkpoint of one is a rename away from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from expedition.kernels.attention import Documents, plan_documents
from expedition.model.audio import AudioEncoder
from expedition.model.config import OmniConfig
from expedition.model.decoder import Decoder
from expedition.model.fusion import audio_places, features_here, place_features, require_no_pads, touch, visual_places
from expedition.model.initialise import initialise
from expedition.model.moe import RouterOutput
from expedition.model.spread import Spread
from expedition.model.vision import VisionEncoder

__all__ = ["Fused", "ModelOutput", "OmniModel"]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a forward pass gives: no logits, since the loss takes them in chunks."""

    hidden_BSH: Tensor
    """After the final norm; `OmniModel.head` turns it into logits."""
    router: list[RouterOutput]
    """One for each MoE layer, tokens flat in row order, padding included."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Embeddings with media in place at the positions that are here, and what deepstack adds later."""

    x_BSH: Tensor
    visual_index_N: Tensor | None
    """Flat places of the deepstack features; None where they are [B, S, H], one for each position."""
    deepstack: list[Tensor]


class OmniModel(nn.Module):
    """Decoder with vision and audio encoders. Weights begin as `initialise` says unless built on the meta device."""

    def __init__(self, config: OmniConfig, seed: int = 0) -> None:
        super().__init__()
        shape = config.shape
        self.config = config
        self.audio_tower = AudioEncoder(shape.audio, shape.hidden)
        self.visual = VisionEncoder(shape.vision, shape.hidden)
        self.model = Decoder(shape, config.vocabulary)
        self.lm_head = nn.Linear(shape.hidden, config.vocabulary, bias=False)
        if shape.tied_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.spread: Spread | None = None
        """Where the positions of a row are spread over processes; everything after `fuse` is then of those here."""
        if not self.lm_head.weight.is_meta:
            initialise(self, shape, seed)

    def forward(  # noqa: PLR0913
        self,
        tokens_BS: Tensor,
        positions_3BS: Tensor,
        document_BS: Tensor,
        patches_PC: Tensor,
        grid_G3: Tensor,
        is_video_G: Tensor,
        mel_MF: Tensor,
        mel_lengths_A: Tensor,
        whole_rows: bool = False,
    ) -> ModelOutput:
        """Hidden states of packed rows; a token sees the earlier tokens of its own document.

        `positions_3BS` (time, row, column; int or float) as transformers' get_rope_index gives them for each document;
        `document_BS` numbers documents 1.. in a row, 0 is padding. Media in order of appearance, rows first: grids in
        patches (an image has one frame), mel frames of clips side by side; P = 0 or F = 0 where a batch has none, and
        then the encoder runs on zeros and adds nothing. `grid_G3`, `is_video_G`, `mel_lengths_A` stay on the host.
        `whole_rows`: every row is known to be one document without padding.
        Raises InputError where pad tokens and features differ in number (on CPU; on CUDA the kernel asserts).
        """
        del is_video_G  # images and videos take their pad tokens in one common order
        require_no_pads(tokens_BS, self.config.token_ids, patches=patches_PC.shape[0], mel_frames=mel_MF.shape[1])
        fused = self.fuse(tokens_BS, patches_PC, grid_G3, mel_MF, mel_lengths_A)
        positions_3BS, seen = self.attended(positions_3BS, document_BS, whole_rows=whole_rows)
        hidden_BSH, router = self.model(fused.x_BSH, positions_3BS, seen, fused.visual_index_N, fused.deepstack)
        return ModelOutput(hidden_BSH, router)

    def fuse(
        self, tokens_BS: Tensor, patches_PC: Tensor, grid_G3: Tensor, mel_MF: Tensor, mel_lengths_A: Tensor
    ) -> Fused:
        """Embed tokens, encode media and put their features in place."""
        ids = self.config.token_ids
        x_BSH = self.model.embed_tokens(tokens_BS)
        visual_index_N, deepstack = None, []
        audio_NH = self._hear(mel_MF, mel_lengths_A)
        if mel_MF.shape[1]:
            x_BSH = place_features(x_BSH, audio_places(tokens_BS, ids, audio_NH.shape[0]), audio_NH)
        else:
            x_BSH = touch(x_BSH, [audio_NH])
        seen = self._see(patches_PC, grid_G3)
        if patches_PC.shape[0]:
            deepstack = seen[1]
            visual_index_N = visual_places(tokens_BS, ids, seen[0].shape[0])
            x_BSH = place_features(x_BSH, visual_index_N, seen[0])
        else:
            x_BSH = touch(x_BSH, [seen[0], *seen[1]])
        if self.spread is None:
            return Fused(x_BSH, visual_index_N, deepstack)
        if visual_index_N is not None:
            rows = (tokens_BS.shape[0], tokens_BS.shape[1])
            deepstack = [features_here(visual_index_N, level_NH, rows, self.spread) for level_NH in deepstack]
        return Fused(self.spread.tokens(x_BSH, 1), None, deepstack)

    def attended(
        self, positions_3BS: Tensor, document_BS: Tensor, *, whole_rows: bool = False
    ) -> tuple[Tensor, Documents]:
        """Positions of the queries that are here, and what they see, as the decoder takes both."""
        if self.spread is None:
            return positions_3BS, plan_documents(document_BS, whole_rows=whole_rows)
        seen = plan_documents(document_BS, self.spread.stretches(document_BS.shape[1]))
        return self.spread.queries(positions_3BS, 2), seen

    def _see(self, patches_PC: Tensor, grid_G3: Tensor) -> tuple[Tensor, list[Tensor]]:
        if not patches_PC.shape[0]:
            features_NH, deepstack = self.visual(*self.visual.idle_input(patches_PC))
        elif self.spread is None:
            features_NH, deepstack = self.visual(patches_PC, grid_G3)
        else:
            features_NH, deepstack = self.spread.see(self.visual, patches_PC, grid_G3)
        return features_NH, deepstack

    def _hear(self, mel_MF: Tensor, mel_lengths_A: Tensor) -> Tensor:
        features_NH: Tensor
        if not mel_MF.shape[1]:
            features_NH = self.audio_tower(*self.audio_tower.idle_input(mel_MF))
        elif self.spread is None:
            features_NH = self.audio_tower(mel_MF, mel_lengths_A)
        else:
            features_NH = self.spread.hear(self.audio_tower, mel_MF, mel_lengths_A)
        return features_NH

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] in the dtype of `hidden` [..., H]."""
        return F.linear(hidden, self.lm_head.weight)
