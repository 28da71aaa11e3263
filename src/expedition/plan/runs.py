"""What one training run is: length, batch, optimiser, schedule, losses, precision, parallel degrees, data, checkpoints.

A `RunPlan` is data only. Everything that depends on the step (batch size, tokens so far, data version) is a pure
function here; the learning rate is in `expedition.train.schedule`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from expedition.plan.section import Section

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_DURATION = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<suffix>[kMGBT]?)\s*(?P<unit>steps?|tokens?)\s*$")

RuleName = Literal["nan", "spike", "rise", "plateau", "expert_imbalance"]


class Duration(Section):
    """A length in optimiser steps or in tokens. In YAML it is a string: "400 steps", "500B tokens", "1.5T tokens"."""

    value: int = Field(ge=0)
    """How many (≥ 0)."""
    unit: Literal["steps", "tokens"]
    """What is counted. Tokens are positions of the global batch (sequences × sequence length)."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = _DURATION.match(value)
        if match is None:
            raise ValueError(f'{value!r} is no duration; write for example "400 steps" or "1.5T tokens"')
        amount = Decimal(match["number"]) * _SUFFIXES[match["suffix"]]
        if amount != int(amount):
            raise ValueError(f"{value!r} is not a whole number of {match['unit']}")
        return {"value": int(amount), "unit": match["unit"].rstrip("s") + "s"}

    @model_serializer
    def _to_text(self) -> str:
        return f"{self.value} {self.unit}"

    @classmethod
    def of_steps(cls, steps: int) -> Self:
        return cls(value=steps, unit="steps")

    @classmethod
    def of_tokens(cls, tokens: int) -> Self:
        return cls(value=tokens, unit="tokens")

    def __str__(self) -> str:
        return f"{self.value} {self.unit}"


class BatchStage(Section):
    """From `from_step` on, a step trains on this many sequences."""

    from_step: int = Field(ge=0)
    """First step (0-based) of the stage."""
    sequences: int = Field(ge=1)
    """Sequences in the global batch of one step."""


class DataSegment(Section):
    """From `from_step` on, the run reads this dataset version, in its own mix if it has one (annealing)."""

    from_step: int = Field(ge=0)
    """First step (0-based) of the segment."""
    version: str
    """Dataset version, for example "v0.1"."""
    mix: dict[str, float] = Field(default_factory=dict)
    """Share of sequences by kind from then on; empty: the run's mix."""


class OptimizerPlan(Section):
    """AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101); states and master weights in
    fp32."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay; acts on tensors of two or more dimensions only."""


class LearningRatePlan(Section):
    """Learning rate over the run: linear warm-up, then `wsd` (flat, then linear decay) or `cosine`."""

    kind: Literal["wsd", "cosine"] = "wsd"
    """Shape after the warm-up."""
    peak: float = Field(default=2e-3, gt=0)
    """Highest learning rate."""
    floor: float = Field(default=2e-4, ge=0)
    """Learning rate at the last step (≤ peak)."""
    warmup: Duration = Duration(value=20, unit="steps")
    """Length of the linear rise from 0."""
    decay: Duration | None = None
    """Length of the final linear decay of `wsd`; None is a fifth of the run. Ignored by `cosine`, which decays from
    the warm-up on."""

    @model_validator(mode="after")
    def _floor_below_peak(self) -> Self:
        if self.floor > self.peak:
            raise ValueError(f"floor {self.floor} is above peak {self.peak}")
        return self


class LossPlan(Section):
    """What is summed into the loss."""

    z_loss: float = Field(default=1e-3, ge=0)
    """Weight of the router z-loss (ST-MoE, arXiv:2202.08906, eq. 5); 0 leaves it out."""
    balance: float = Field(default=5e-2, ge=0)
    """Weight of the load-balance loss over the global batch (arXiv:2501.11873); 0 leaves it out. At 0.01 the tiny model's
    busiest tenth of experts takes half of the assignments in the first 20 steps; 0.05 keeps it near a third and costs
    0.006 nats after 120 steps."""
    kind_weights: dict[str, float] = Field(default_factory=dict)
    """Weight of a token's cross entropy by the kind of its document; a kind that is not named has 1."""
    chunk_tokens: int = Field(default=4096, ge=1)
    """Positions whose logits exist at one time."""

    @model_validator(mode="after")
    def _weights_not_negative(self) -> Self:
        for kind, weight in self.kind_weights.items():
            if weight < 0:
                raise ValueError(f"kind_weights.{kind} = {weight} is negative")
        return self


class Fp8Plan(Section):
    """Which linear layers run in FP8, and how. Weight-gradient products stay in the compute dtype."""

    modules: tuple[str, ...] = ()
    """Name patterns (fnmatch on the module's dotted name) of linear layers; none named is no FP8."""
    exclude: tuple[str, ...] = ("*lm_head*", "*gate", "visual.*", "audio_tower.*")
    """Patterns that stay in the compute dtype whatever `modules` says."""
    scale: Literal["tensorwise", "rowwise"] = "tensorwise"
    """One scale a tensor, or one a row of each factor of the product."""
    forward: Literal["e4m3", "e5m2"] = "e4m3"
    """Format of activations and weights."""
    gradient: Literal["e4m3", "e5m2"] = "e5m2"
    """Format of output gradients."""


class PrecisionPlan(Section):
    """Numerics of the forward and backward pass. Master weights and optimiser states are always fp32."""

    compute: Literal["fp32", "bf16"] = "fp32"
    """Type of matrix products."""
    fp8: Fp8Plan = Fp8Plan()
    """FP8 policy by module."""


class ParallelPlan(Section):
    """Degrees of the mesh (pp, dp_replicate, dp_shard, cp, tp) and of the experts' mesh."""

    dp_replicate: int = Field(default=1, ge=1)
    """Copies of the sharded model (HSDP outer degree)."""
    dp_shard: int = Field(default=1, ge=1)
    """Ranks that share one copy's parameters (FSDP degree)."""
    cp: int = Field(default=1, ge=1)
    """Context parallel degree."""
    tp: int = Field(default=1, ge=1)
    """Tensor parallel degree."""
    pp: int = Field(default=1, ge=1)
    """Pipeline stages."""
    ep: int = Field(default=1, ge=1)
    """Expert parallel degree; divides dp_shard × cp × tp."""

    @property
    def world(self) -> int:
        """Ranks of the run."""
        return self.dp_replicate * self.dp_shard * self.cp * self.tp * self.pp

    @property
    def data_ranks(self) -> int:
        """Ranks that read different data."""
        return self.dp_replicate * self.dp_shard

    @model_validator(mode="after")
    def _experts_fit(self) -> Self:
        inner = self.dp_shard * self.cp * self.tp
        if inner % self.ep:
            raise ValueError(f"ep = {self.ep} does not divide dp_shard × cp × tp = {inner}")
        return self


class CheckpointPlan(Section):
    """When checkpoints are written and which are kept."""

    permanent_every: Duration = Duration(value=500 * 10**9, unit="tokens")
    """Distance between checkpoints that are kept for ever. The last step's is always permanent."""
    ephemeral_every: Duration | None = None
    """Distance between checkpoints kept only for restarts; None writes none."""
    keep_ephemeral: int = Field(default=2, ge=1)
    """How many ephemeral ones are kept; older ones are deleted after a newer one is complete."""
    asynchronous: bool = True
    """Write in a thread from a snapshot while training goes on."""


class BadStepPlan(Section):
    """When a step's update is dropped. Non-finite losses and gradients are always dropped."""

    spike_deviations: float | None = Field(default=None, gt=0)
    """Drop a step whose loss or gradient norm lies more than this many standard deviations above the window's mean;
    None: never."""
    window_steps: int = Field(default=64, ge=8)
    """Accepted steps that the mean and the deviation are taken over."""


class Injection(Section):
    """A fault made on purpose, for drills. It acts on the data, the gradients or the update, never on a displayed
    number."""

    step: int = Field(ge=0)
    """First step it acts on (of the data for `loss_spike`, of the run otherwise)."""
    kind: Literal["loss_spike", "learning_rate", "nan_gradient", "inf_gradient"]
    """loss_spike: labels are renamed; learning_rate: multiplied by `factor`; nan/inf_gradient: one gradient value is
    replaced."""
    steps: int = Field(default=1, ge=1)
    """For how many steps."""
    factor: float = Field(default=100.0, gt=0)
    """Used by `learning_rate`."""

    def acts_on(self, step: int) -> bool:
        return self.step <= step < self.step + self.steps


class TeacherPlan(Section):
    """A checkpoint to learn from: loss = (1 − weight) × cross entropy + weight × KL(teacher ‖ student)
    (arXiv:1503.02531)."""

    run: str
    """Run whose newest complete checkpoint teaches."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the teacher's term."""
    temperature: float = Field(default=1.0, gt=0)
    """Both distributions are softened by it; the term is multiplied by its square."""


class RunPlan(Section):
    """One run. `length` in tokens is rounded up to whole steps."""

    model: str = "tiny"
    """Name of a shape in `models`."""
    length: Duration = Duration(value=400, unit="steps")
    """When the run is finished."""
    sequence_length: int = Field(default=512, ge=8)
    """Positions of one packed sequence."""
    batch_sequences: tuple[BatchStage, ...] = (BatchStage(from_step=0, sequences=8),)
    """Global batch size by step; a plain number is one stage."""
    micro_batches: int = Field(default=1, ge=1)
    """Parts that a rank's share of the batch is worked through in."""
    optimizer: OptimizerPlan = OptimizerPlan()
    """AdamW."""
    learning_rate: LearningRatePlan = LearningRatePlan()
    """Learning rate by step."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Global gradient norm above which gradients are scaled down; None does not clip."""
    loss: LossPlan = LossPlan()
    """Terms and weights of the loss."""
    bad_step: BadStepPlan = BadStepPlan()
    """Which updates are dropped."""
    precision: PrecisionPlan = PrecisionPlan()
    """Numerics."""
    parallel: ParallelPlan = ParallelPlan()
    """Mesh degrees."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of the process; part of the numerics, so it is decided here."""
    seed: int = Field(default=7, ge=0)
    """Seed of the initial weights and of the data order."""
    dataset: str = "dataset"
    """Dataset name in the workspace."""
    segments: tuple[DataSegment, ...] = (DataSegment(from_step=0, version="v0.1"),)
    """Which dataset version is read from which step on."""
    mix: dict[str, float] = Field(default_factory=dict)
    """Share of sequences by kind; empty: the data plan's mix."""
    checkpoint: CheckpointPlan = CheckpointPlan()
    """Checkpoints."""
    metrics_every: int = Field(default=1, ge=1)
    """Steps between metric records."""
    rules: tuple[RuleName, ...] = ("nan", "spike", "rise", "plateau", "expert_imbalance")
    """Which rules of the programme's `rules` watch this run; one whose action is "pause" pauses it."""
    inject: tuple[Injection, ...] = ()
    """Faults made on purpose."""
    teacher: TeacherPlan | None = None
    """Distil from another run."""

    @model_validator(mode="before")
    @classmethod
    def _plain_batch(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("batch_sequences"), int):
            return {**value, "batch_sequences": [{"from_step": 0, "sequences": value["batch_sequences"]}]}
        return value

    @model_validator(mode="after")
    def _stages_in_order(self) -> Self:
        stages = {
            "batch_sequences": [stage.from_step for stage in self.batch_sequences],
            "segments": [segment.from_step for segment in self.segments],
        }
        for name, starts in stages.items():
            if not starts or starts[0] != 0 or any(a >= b for a, b in pairwise(starts)):
                raise ValueError(f"{name}: from_step must begin at 0 and rise, it is {starts}")
        parts = self.parallel.data_ranks * self.micro_batches
        for stage in self.batch_sequences:
            if stage.sequences % parts:
                raise ValueError(
                    f"batch_sequences: {stage.sequences} does not divide into data ranks × micro_batches = {parts}"
                )
        return self

    def batch_sequences_at(self, step: int) -> int:
        """Sequences in the global batch of `step` (0-based)."""
        return next(stage.sequences for stage in reversed(self.batch_sequences) if stage.from_step <= step)

    def batch_tokens_at(self, step: int) -> int:
        """Positions in the global batch of `step`."""
        return self.batch_sequences_at(step) * self.sequence_length

    def sequences_before(self, step: int) -> int:
        """Sequences trained on before `step`: the global index of the step's first sequence."""
        total = 0
        ends = [stage.from_step for stage in self.batch_sequences[1:]] + [step]
        for stage, end in zip(self.batch_sequences, ends, strict=True):
            total += max(0, min(end, step) - stage.from_step) * stage.sequences
        return total

    def step_of(self, index: int) -> int:
        """The step that trains on global index `index` (≥ 0): inverse of `sequences_before`."""
        first = 0
        for stage, following in pairwise(self.batch_sequences):
            sequences = (following.from_step - stage.from_step) * stage.sequences
            if index < first + sequences:
                return stage.from_step + (index - first) // stage.sequences
            first += sequences
        return self.batch_sequences[-1].from_step + (index - first) // self.batch_sequences[-1].sequences

    def tokens_after(self, steps: int) -> int:
        """Tokens trained on when `steps` steps are done."""
        return self.sequences_before(steps) * self.sequence_length

    def steps_for(self, duration: Duration) -> int:
        """Smallest number of steps from the run's start that covers `duration`."""
        if duration.unit == "steps":
            return duration.value
        done_tokens = 0
        for index, stage in enumerate(self.batch_sequences):
            step_tokens = stage.sequences * self.sequence_length
            needed = -(-(duration.value - done_tokens) // step_tokens)
            last = index + 1 == len(self.batch_sequences)
            if last or stage.from_step + needed <= self.batch_sequences[index + 1].from_step:
                return stage.from_step + max(0, needed)
            done_tokens += (self.batch_sequences[index + 1].from_step - stage.from_step) * step_tokens
        raise AssertionError("the last stage always returns")

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_for(self.length)

    @property
    def smallest_step_tokens(self) -> int:
        """Tokens of the smallest step: no two steps end closer together than this."""
        return min(stage.sequences for stage in self.batch_sequences) * self.sequence_length

    def crosses(self, every: Duration, step: int) -> bool:
        """True if a multiple of `every` lies in the interval that `step` (0-based) covers: (before, after]."""
        if every.value == 0:
            return False
        if every.unit == "steps":
            return (step + 1) % every.value == 0
        return self.tokens_after(step + 1) // every.value > self.tokens_after(step) // every.value

    def version_at(self, step: int) -> str:
        """Dataset version that `step` reads."""
        return next(segment.version for segment in reversed(self.segments) if segment.from_step <= step)
