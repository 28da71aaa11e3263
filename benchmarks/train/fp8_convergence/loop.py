"""One run over the corpus, by the package's own loop, and what is kept of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.train.fp8_convergence.text import Corpus
from expedition.data.loading.batch import Batch
from expedition.data.loading.prefetch import ahead
from expedition.data.records import KINDS
from expedition.model.audio import AudioEncoder
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.callbacks.fp8_health import COUNTED, FELL_BACK, Fp8Health
from expedition.train.setup import Built
from expedition.train.trainer import Trainer
from expedition.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch source: windows of the corpus, each one document, in the order that the run's seed decides."""

    corpus: Corpus
    run: RunPlan
    config: OmniConfig
    first: int = 0
    """Steps of the order that were read before."""

    def rank_batch(self, step: int, rank: int, world: int) -> list[Batch]:
        """The whole batch: there is one rank."""
        del rank, world
        rows, length = self.run.batch_sequences_at(step), self.run.sequence_length
        window = self.corpus.windows(self.run.seed, rows, length, self.first + step)
        vision, audio = self.config.shape.vision, self.config.shape.audio
        return [
            Batch(
                tokens_BS=window[:, :-1],
                labels_BS=window[:, 1:],
                positions_3BS=np.broadcast_to(np.arange(length), (3, rows, length)).copy(),
                document_BS=np.ones((rows, length), np.int32),
                kind_BS=np.full((rows, length), KINDS.index("code"), np.int8),
                patches_PC=np.zeros((0, vision.patch_values), np.float32),
                grid_G3=np.zeros((0, 3), np.int64),
                is_video_G=np.zeros(0, bool),
                mel_MF=np.zeros((audio.mel_bins, 0), np.float32),
                mel_lengths_A=np.zeros(0, np.int64),
                sample_ids=np.arange(step * rows, (step + 1) * rows),
                real_tokens=rows * length,
            )
        ]

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[list[Batch], None, None]:
        """The same, made ahead."""
        return ahead(partial(self.rank_batch, rank=rank, world=world), range(start, stop), 4, 1)

    def account(self, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
        """How many rows were read."""
        return {"rows": sum(self.run.sequences_before(end) - self.run.sequences_before(a) for a, end in stretches)}

    def fingerprint_at(self, step: int) -> str:
        """The corpus and the seed decide the order."""
        return f"{self.corpus.about['sha256']} {self.run.seed} {self.first}"

    def require_same(self, step: int, fingerprint: str) -> None:
        """Nothing else can have been read."""


class NoVision(VisionEncoder):
    """Text alone: an encoder that is left out, where the model would send zeros through it and add nothing."""

    def forward(self, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        return VisionFeatures(patches_PC.new_zeros(1, 1), [])


class NoAudio(AudioEncoder):
    """As `NoVision`."""

    def forward(self, mel_MF: Tensor, mel_lengths_A: Tensor, longest_chunk: int | None = None) -> Tensor:
        return mel_MF.new_zeros(1, 1)


def without_encoders(model: OmniModel) -> None:
    """Leave both encoders out, in place; their parameters get no gradient and do not change."""
    model.visual.__class__, model.audio_tower.__class__ = NoVision, NoAudio


@dataclass(slots=True)
class Kept:
    """A callback: loss, gradient norm and dropped steps, on the device until the run is done."""

    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    dropped: list[Tensor] = field(default_factory=list)

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        self.losses.append(done.result.loss.detach())
        self.norms.append(done.result.gradient_norm.detach())
        self.dropped.append(~done.result.verdict.keep)
        return None

    def at_end(self, ending: Ending) -> None:
        """Nothing is open."""

    def to_json(self) -> dict[str, Any]:
        """Losses in nats by step, and how many updates were dropped."""
        figures = torch.stack([torch.stack(self.losses), torch.stack(self.norms)]).double().tolist()
        losses, norms = ([round(value, 5) for value in row] for row in figures)
        return {"losses": losses, "gradient_norms": norms, "dropped": int(torch.stack(self.dropped).sum())}


def train_counted(
    built: Built, run: RunPlan, corpus: Corpus, callbacks: Sequence[Callback] = (), first: int = 0
) -> dict[str, Any]:
    """`train`, with what FP8 lost at the plan's distance (`counted`) and the modules that went back (`fallen`)."""
    plan = run.precision.fp8
    if plan.counters_every is None or not built.fp8_modules:
        return {**train(built, run, corpus, callbacks, first), "counted": [], "fallen": []}
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "w", create=True)
        health = Fp8Health(ws, "run", built.model, plan, Ranks(0, 1))
        found = train(built, run, corpus, [health, *callbacks], first)
        counted, fallen = ([dict(event.fields) for event in ws.events_all(kind)] for kind in (COUNTED, FELL_BACK))
    return {**found, "counted": counted, "fallen": fallen}


def train(
    built: Built, run: RunPlan, corpus: Corpus, callbacks: Sequence[Callback] = (), first: int = 0
) -> dict[str, Any]:
    """All steps of `run`; what `Kept` kept, and the seconds that it took."""
    without_encoders(built.model)
    kept, begin = Kept(), time.perf_counter()
    source = Windows(corpus, run, built.model.config, first)
    trainer = Trainer(
        built.parts, built.state, source, [kept, *callbacks], device=built.device, dtype=built.dtype,
        settles=lambda step: False,
    )  # fmt: skip
    trainer.train()
    found = kept.to_json()
    return {**found, "seconds": round(time.perf_counter() - begin, 2)}
