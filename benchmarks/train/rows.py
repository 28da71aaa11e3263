"""What is measured: each row of the table as data, with the figure to beat and the goal.

Sequence 4096. States: "w26" keeps what the `w26` preset keeps (fp32 masters and moments) as one of 256 ranks that share
them, so a step updates 1/256 of each parameter; "bf16" keeps bf16 weights and moments of everything on this device, as the
peers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from expedition.model.config import OmniConfig
from expedition.plan.shapes import AudioShape, ModelShape, TokenIds, VisionShape, preset_shapes

SEQUENCE = 4096
VOCABULARY = 152_064
QWEN3_VOCABULARY = 151_936
LLAMA3_VOCABULARY = 128_256
HELD = 8
"""Experts of the 10b preset that one of eight ranks holds."""

Routing = Literal["none", "forced", "natural", "share"]
"""forced: token t goes to experts t·k … t·k + k - 1 mod E, weights are still the router's; natural: the router's choice;
share: the router's choice of 64, and the rows that choose experts i, i + 8, … go to the i-th of the 8 that are held: as
many rows as eight ranks of equal routers would send here, without the all-to-all."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A rival's program for the same work."""

    program: str
    """Module below benchmarks.train.peers."""
    arguments: tuple[str, ...]
    expected_mfu: float
    """What it reached on an H100 before; more than 5 % below, the comparison is void."""


@dataclass(frozen=True, slots=True)
class Work:
    """One row: what a step does."""

    title: str
    shape: Callable[[], ModelShape]
    routing: Routing
    micro_batches: int = 1
    sequences: int = 4
    """Of one micro-batch."""
    sequence_length: int = SEQUENCE
    vocabulary: int = VOCABULARY
    precision: Literal["bf16", "fp8"] = "bf16"
    states: Literal["w26", "bf16"] = "w26"
    content: Literal["whole", "packed", "multimodal", "loader"] = "whole"
    """Rows that are one document each; packed text; packed text, pictures, clips and sounds of noise; the same decoded and
    packed by the real loader."""
    recompute: Literal["none", "layers", "selective"] = "none"
    layers_fit: bool = False
    """As many layers as the device holds."""
    floor: str = ""
    """What others reach."""
    goal_mfu: float | None = None
    peers: tuple[Peer, ...] = ()

    @property
    def held(self) -> int | None:
        """Experts that this device holds where they are not all."""
        return HELD if self.routing == "share" else None

    def config(self, layers: int | None = None) -> OmniConfig:
        """The model whose work is counted; with so many layers instead of the shape's."""
        shape = self.shape()
        if layers is not None:
            dense = tuple(range(layers)) if shape.dense_layers else ()
            shape = ModelShape(**{**shape.model_dump(), "layers": layers, "dense_layers": dense})
        ids = TokenIds() if max(vars_of(TokenIds())) < self.vocabulary else TokenIds(*range(10))
        return OmniConfig(shape, self.vocabulary, ids)


def vars_of(ids: TokenIds) -> tuple[int, ...]:
    """All ids."""
    return tuple(getattr(ids, name) for name in ids.__slots__)


def _least_encoders(shape: dict[str, Any]) -> dict[str, Any]:
    """Text rows: encoders take part in every step; here they are as small as they can be."""
    vision = VisionShape(hidden=64, layers=1, heads=1, inner=64, deepstack_layers=())
    audio = AudioShape(hidden=64, layers=1, heads=1, inner=64, conv_channels=8)
    return {**shape, "vision": vision, "audio": audio}


def _text(**sizes: Any) -> ModelShape:
    return ModelShape(**_least_encoders({"mrope_section": (24, 20, 20), "head_dim": 128, **sizes}))


def _dense(layers: int, **sizes: Any) -> ModelShape:
    return _text(
        layers=layers, experts=1, top_k=1, expert_inner=8, dense_layers=tuple(range(layers)), **sizes
    )  # fmt: skip


def dense_1_7b() -> ModelShape:
    """Qwen3-1.7B: huggingface.co/Qwen/Qwen3-1.7B, config.json."""
    return _dense(28, hidden=2048, heads=16, kv_heads=8, dense_inner=6144, tied_embeddings=True)


def dense_8b() -> ModelShape:
    """Llama-3-8B's sizes (arXiv:2407.21783, table 3), with our norm on queries and keys."""
    return _dense(32, hidden=4096, heads=32, kv_heads=8, dense_inner=14_336)


def preset_10b(layers: int = 32) -> ModelShape:
    """The `10b` preset's decoder."""
    shape = preset_shapes()["10b"].model_dump() | {"layers": layers}
    return ModelShape(**_least_encoders(shape))


def preset_10b_8_layers() -> ModelShape:
    """The same, cut."""
    return preset_10b(8)


def preset_1b() -> ModelShape:
    """The `1b` preset, whole."""
    return preset_shapes()["1b"]


_HF = "transformers_models"

_TITAN = "torchtitan"
_DENSE = Work("dense 1.7B (Qwen3-1.7B)", dense_1_7b, "none", vocabulary=QWEN3_VOCABULARY)
_CUT = Work("`10b` cut to 8 layers", preset_10b_8_layers, "natural")
_RANK = Work("`10b`, 32 layers, an EP8 rank's share", preset_10b, "share", micro_batches=4, recompute="none")
_1B = Work("`1b`, whole, packed multimodal batches from the loader", preset_1b, "natural", content="loader")

ROWS: dict[str, Work] = {
    "dense-1.7b": replace(
        _DENSE, floor="best peer 48.3 %; Marin publishes 56.2 % for 2.7B", goal_mfu=0.60,
        peers=(Peer(_HF, (), 0.483), Peer(_TITAN, (), 0.475)),
    ),
    "dense-1.7b-fp8": replace(
        _DENSE, precision="fp8", floor="best peer 55.4 %", goal_mfu=0.68,
        peers=(Peer(_TITAN, (), 0.554),),
    ),
    "dense-8b-fp8": Work(
        "dense 8B shape (Llama-3-8B), layers that fit", dense_8b, "none", vocabulary=LLAMA3_VOCABULARY, precision="fp8",
        layers_fit=True, floor="Megatron-Bridge publishes 744 TFLOP/s = 75 %", goal_mfu=0.72,
    ),
    "10b-8": replace(
        _CUT, title="`10b` cut to 8 layers, forced balance", routing="forced", floor="sketch 44.8 %, peer 28.2 %",
        goal_mfu=0.50, peers=(Peer(_TITAN, (), 0.282), Peer(_HF, (), 0.0)),
    ),
    "10b-8-x8": replace(_CUT, micro_batches=8, floor="sketch 46.5 %", goal_mfu=0.52),
    "10b-8-x8-fp8": replace(_CUT, micro_batches=8, precision="fp8", floor="sketch 48.6 %", goal_mfu=0.60),
    "10b-rank": replace(_RANK, floor="sketch 44.6 %", goal_mfu=0.52),
    "10b-rank-fp8": replace(_RANK, precision="fp8", floor="sketch 50.2 %", goal_mfu=0.60),
    "1b": replace(_1B, floor="chapter 40 %; OrchMLLM publishes 41.6 %", goal_mfu=0.46),
    "1b-fp8": replace(_1B, precision="fp8", floor="chapter 40 %", goal_mfu=0.52),
}  # fmt: skip
"""By name, in the table's order; each also measured with "-bf16" states where that is asked for."""


def pairs(rows: Sequence[str], states: Sequence[str], bf16: Sequence[str]) -> list[tuple[str, str]]:
    """Row and states of everything that is to be measured, in order."""
    found = [(row, state) for row in rows for state in states]
    return found + [(row, "bf16") for row in bf16 if (row, "bf16") not in found]


def tiny(work: Work) -> Work:
    """The same kind of work for a CPU in a second: for tests, never for a table."""
    shape = work.shape()

    def small() -> ModelShape:
        sizes = shape.model_dump() | {"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16}
        sizes |= {"mrope_section": (4, 2, 2), "expert_inner": 16, "dense_inner": 32}
        sizes |= {"dense_layers": (0, 1) if shape.dense_layers else ()}
        return ModelShape(**_least_encoders(sizes))

    content = "multimodal" if work.content == "loader" else work.content
    return replace(
        work, shape=small, sequences=2, sequence_length=64, vocabulary=64, layers_fit=False, content=content
    )  # fmt: skip
