"""The audio encoder: log-mel frames in one-second chunks through three convolutions, then attention in windows.

Shapes: A clips, M mel bins, F frames of all clips, Q chunks, L frames in the longest chunk, l tokens of it,
C channels, W encoder width, N valid tokens of all clips, H decoder width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expedition.kernels.attention import Segments, plan_segments, segment_attention
from expedition.kernels.host import send
from expedition.plan.shapes import AudioShape

__all__ = ["AudioEncoder", "AudioPlan", "plan_audio"]

CHUNKS_AT_ONCE = 500
"""Chunks in one convolution call; bounds its memory."""


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """All index tensors of a batch's clips; made once on the host."""

    frame_QL: Tensor
    """Frame of each chunk's entry; past a chunk's end it points one past the last frame (a zero frame)."""
    valid_N: Tensor
    """Places of real tokens among the Q·l that the convolutions give."""
    segments: Segments
    """Attention windows over the valid tokens."""


def plan_audio(
    mel_lengths_A: Tensor,
    shape: AudioShape,
    device: torch.device,
    longest_chunk: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> AudioPlan:
    """Index tensors for clips of the given frames; `mel_lengths_A` is best on the host (it is read there).

    Chunks are padded to the longest one of the batch (`longest_chunk` frames, or of these clips) and windows are sized by
    it, as the exported class does. Windows are attended in `dtype`.
    """
    lengths: list[int] = mel_lengths_A.tolist()
    total = sum(lengths)
    chunks: list[int] = []
    for frames in lengths:
        full, tail = divmod(frames, shape.chunk_frames)
        chunks.extend([shape.chunk_frames] * full + [tail] * bool(tail))
    length_Q = torch.tensor(chunks)
    start_Q = length_Q.cumsum(0) - length_Q
    step_L = torch.arange(longest_chunk or max(chunks))
    frame_QL = torch.where(step_L < length_Q[:, None], start_Q[:, None] + step_L, total)
    token_Q = torch.tensor([shape.tokens(chunk) for chunk in chunks])
    longest = int(token_Q.max()) if longest_chunk is None else shape.tokens(longest_chunk)
    valid_N = (torch.arange(longest) < token_Q[:, None]).flatten().nonzero().squeeze(1)
    window = longest * (shape.window_frames // shape.chunk_frames)
    windows: list[int] = []
    for frames in lengths:
        full, tail = divmod(shape.tokens(frames), window)
        windows.extend([window] * full + [tail] * bool(tail))
    return AudioPlan(
        frame_QL=send(frame_QL, device),
        valid_N=send(valid_N, device),
        segments=plan_segments(windows, device, dtype),
    )


class AudioAttention(nn.Module):
    """Full attention inside each window."""

    def __init__(self, shape: AudioShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.k_proj = nn.Linear(shape.hidden, shape.hidden)
        self.v_proj = nn.Linear(shape.hidden, shape.hidden)
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.out_proj = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x_NW: Tensor, segments: Segments) -> Tensor:
        heads = (x_NW.shape[0], self.heads, -1)
        q, k, v = self.q_proj(x_NW).view(heads), self.k_proj(x_NW).view(heads), self.v_proj(x_NW).view(heads)
        out: Tensor = self.out_proj(segment_attention(q, k, v, segments).flatten(1))
        return out


class AudioLayer(nn.Module):
    """Attention and MLP, each after a layer norm and around a residual."""

    def __init__(self, shape: AudioShape) -> None:
        super().__init__()
        self.self_attn = AudioAttention(shape)
        self.self_attn_layer_norm = nn.LayerNorm(shape.hidden)
        self.fc1 = nn.Linear(shape.hidden, shape.inner)
        self.fc2 = nn.Linear(shape.inner, shape.hidden)
        self.final_layer_norm = nn.LayerNorm(shape.hidden)

    def forward(self, x_NW: Tensor, segments: Segments) -> Tensor:
        x_NW = x_NW + self.self_attn(self.self_attn_layer_norm(x_NW), segments)
        out: Tensor = x_NW + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x_NW))))
        return out


class AudioEncoder(nn.Module):
    """Mel frames → one feature for each 8 frames at the decoder's width."""

    def __init__(self, shape: AudioShape, out: int) -> None:
        super().__init__()
        self.shape = shape
        channels = shape.conv_channels
        self.conv2d1 = nn.Conv2d(1, channels, 3, 2, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.conv2d3 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.conv_out = nn.Linear(channels * shape.mel_rows_after_conv, shape.hidden, bias=False)
        self.layers = nn.ModuleList(AudioLayer(shape) for _ in range(shape.layers))
        self.ln_post = nn.LayerNorm(shape.hidden)
        self.proj1 = nn.Linear(shape.hidden, shape.hidden)
        self.proj2 = nn.Linear(shape.hidden, out)

    def idle_input(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Eight silent frames and their number, in the type and on the device of `like`: for a process that has nothing
        to encode and must take part."""
        return like.new_zeros(self.shape.mel_bins, 8), torch.tensor([8])

    def forward(self, mel_MF: Tensor, mel_lengths_A: Tensor, longest_chunk: int | None = None) -> Tensor:
        """Clips side by side in `mel_MF`, `mel_lengths_A` frames each → features [N, H] in the same order.

        `longest_chunk` is that of the whole batch (in frames) where these clips are some of its.
        """
        plan = plan_audio(mel_lengths_A, self.shape, mel_MF.device, longest_chunk, self.conv_out.weight.dtype)
        frames_FM = F.pad(mel_MF.t(), (0, 0, 0, 1)).to(self.conv2d1.weight.dtype)
        chunks_Q1ML = frames_FM[plan.frame_QL].transpose(1, 2).unsqueeze(1)
        x_QlW = torch.cat([self._convolve(part) for part in torch.split(chunks_Q1ML, CHUNKS_AT_ONCE)])
        x_QlW = x_QlW + sinusoids(x_QlW.shape[1], self.shape.hidden, x_QlW.device).to(x_QlW.dtype)
        x_NW = x_QlW.flatten(0, 1).index_select(0, plan.valid_N)
        for layer in self.layers:
            x_NW = layer(x_NW, plan.segments)
        out: Tensor = self.proj2(F.gelu(self.proj1(self.ln_post(x_NW))))
        return out

    def _convolve(self, x_Q1ML: Tensor) -> Tensor:
        x = F.gelu(self.conv2d1(x_Q1ML))
        x = F.gelu(self.conv2d2(x))
        x_QCml = F.gelu(self.conv2d3(x))
        out: Tensor = self.conv_out(x_QCml.permute(0, 3, 1, 2).flatten(2))
        return out


def sinusoids(length: int, channels: int, device: torch.device) -> Tensor:
    """Fixed positions inside a chunk [length, channels] float32: sines, then cosines, of wavelengths up to 10⁴·2π."""
    step = math.log(10000.0) / (channels // 2 - 1)
    scale = torch.exp(-step * torch.arange(channels // 2, device=device).float())
    angle = torch.arange(length, device=device)[:, None] * scale[None, :]
    return torch.cat((angle.sin(), angle.cos()), dim=1)
