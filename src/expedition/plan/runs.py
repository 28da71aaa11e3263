"""What one training run is: length, batch, optimiser, schedule, losses, precision, parallel degrees, data, checkpoints.

A `RunPlan` is data only. Everything that depends on the step (batch size, tokens so far, data version) is a pure
function here; the learning rate is in `expedition.train.schedule`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_serializer, model_validator

from expedition.plan.data import Kind
from expedition.plan.loading import LoadingPlan
from expedition.plan.phases import StartPlan
from expedition.plan.positions import RopePlan
from expedition.plan.precision import PrecisionPlan
from expedition.plan.section import Section

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_DURATION = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<suffix>[kMGBT]?)\s*(?P<unit>steps?|tokens?)\s*$")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_WALL_TIME = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|seconds?|min|minutes?|h|hours?)\s*$")

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


class WallTime(Section):
    """A length in wall-clock time. In YAML it is a string: "90 s", "10 minutes", "1.5 hours"."""

    seconds: float = Field(gt=0)
    """How long."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = _WALL_TIME.match(value)
        if match is None:
            raise ValueError(f'{value!r} is no wall-clock time; write for example "10 minutes"')
        return {"seconds": float(match["number"]) * _SECONDS[match["unit"][0]]}

    @model_serializer
    def _to_text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.seconds:.15g} s"


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


class MuonPlan(Section):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix, made orthogonal by
    Newton–Schulz."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the momentum."""
    nesterov: bool = True
    """Look ahead: the gradient is mixed into the momentum once more."""
    steps: int = Field(default=5, ge=1, le=20)
    """Newton–Schulz iterations."""
    compute: Literal["bf16", "fp32"] = "bf16"
    """Type of the iteration's matrix products, and of what is sent between ranks."""
    scale: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """Factor of an update of r × c: 0.2 · √max(r, c), so that AdamW's learning rate and decay fit (Moonlight,
    arXiv:2502.16982, section 2.2), or √max(1, r / c)."""
    adamw: tuple[str, ...] = (
        "*embed_tokens*",
        "lm_head*",
        "*.mlp.gate.weight",
        "*pos_embed*",
        "*patch_embed*",
        "audio_tower.conv*",
    )
    """Patterns (fnmatch on a parameter's name) of matrices that AdamW updates: embeddings, head, routers, the
    encoders' first layers. What is not a matrix or a stack of experts always is AdamW's."""


class ParameterGroup(Section):
    """Parameters with their own learning rate or decay."""

    name: str = Field(min_length=1)
    """What the group is called where groups are listed."""
    patterns: tuple[str, ...] = Field(min_length=1)
    """Patterns (fnmatch on a parameter's name). A parameter belongs to the first group that names it."""
    learning_rate_factor: float = Field(default=1.0, ge=0)
    """What the run's learning rate is multiplied by."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Decay of all parameters of the group, biases and norms too; None is the run's rule."""


class OptimizerPlan(Section):
    """How gradients change weights. AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)
    for every parameter, or Muon for matrices and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    """Rule for matrices."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of AdamW's second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay; acts on tensors of two or more dimensions only."""
    muon: MuonPlan = MuonPlan()
    """Used by `kind: muon`."""
    groups: tuple[ParameterGroup, ...] = ()
    """Parameters with their own learning rate or decay; what none of them names has the run's."""
    weights: Literal["fp32", "bf16_stochastic"] = "fp32"
    """Type of the weights between steps: fp32 masters, or bf16 with stochastic rounding (arXiv:2010.06192); gradients
    have it too."""
    moments: Literal["fp32", "bf16", "fp8"] = "fp32"
    """Type of moments and momentum between steps; all but fp32 are rounded stochastically. fp8: E4M3 with a scale for 256
    neighbours and the second moment as its root (after Dettmers et al. 2022, arXiv:2110.02861); momentum of Muon stays bf16,
    and parameters whose rows are no multiple of 256, or are split over ranks, keep fp32 moments."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError(f"groups: names must differ, they are {names}")
        return self

    def is_muons(self, name: str, dimensions: int) -> bool:
        """Whether Muon updates the parameter: `kind` is muon, it is a matrix or a stack of experts' matrices, and no
        pattern leaves it to AdamW."""
        matrices = dimensions == 2 or (dimensions == 3 and fnmatchcase(name, "*.experts.*"))
        left = any(fnmatchcase(name, pattern) for pattern in self.muon.adamw)
        return self.kind == "muon" and matrices and not left

    def state_bytes(self, name: str, dimensions: int) -> int:
        """Bytes that one element of the parameter needs between steps: weight, gradient, moments (AdamW 2, Muon 1)."""
        muon = self.is_muons(name, dimensions)
        return 2 * (4 if self.weights == "fp32" else 2) + (1 if muon else 2) * self._moment_bytes(muon, dimensions)

    def _moment_bytes(self, muon: bool, dimensions: int) -> int:
        """Scales of fp8 moments, 1.6 % of them, are left out."""
        if self.moments == "fp8" and not muon:
            return 1 if dimensions >= 2 else 4
        return 4 if self.moments == "fp32" else 2


class LearningRatePlan(Section):
    """Learning rate over the run: linear warm-up, then one of three shapes. What is given in tokens is followed by
    tokens, so a batch ramp does not change it; what is given in steps by steps."""

    kind: Literal["wsd", "inverse_sqrt", "cosine"] = "wsd"
    """Shape after the warm-up: flat, then a decay (arXiv:2404.06395); falling with the inverse root of the time since
    the start, then a decay (arXiv:2106.04560); half a period of a cosine to the end (arXiv:1608.03983)."""
    peak: float = Field(default=2e-3, gt=0)
    """Highest learning rate."""
    floor: float = Field(default=2e-4, ge=0)
    """Learning rate at the last step (≤ peak)."""
    warmup: Duration = Duration(value=20, unit="steps")
    """Length of the linear rise from 0."""
    decay: Duration | None = None
    """Length of the final decay; None is a fifth of the run, in the unit of its length. Ignored by `cosine`, which
    decays from the warm-up on."""
    decay_shape: Literal["linear", "minus_sqrt", "cosine"] = "linear"
    """How the final decay goes with the share x of it that is done: 1 - x, 1 - √x (arXiv:2405.18392), or half a cosine.
    Ignored by `cosine`."""

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
    balance_counts: Literal["running", "exact"] = "running"
    """Which assignments the load-balance loss of a micro-batch is weighed by. running: those of the step's micro-batches
    up to this one (arXiv:2501.11873, section 3); exact: those of the whole step, found by a forward pass more for each
    micro-batch. With one micro-batch both are the same and cost nothing."""
    head_z_loss: float = Field(default=0.0, ge=0)
    """Weight of the mean of logsumexp(logits)² over labelled positions (PaLM, arXiv:2204.02311, section 5); 0 leaves it
    out."""
    kind_weights: dict[str, float] = Field(default_factory=dict)
    """Weight of a token's cross entropy by the kind of its document; a kind that is not named has 1."""
    chunk_tokens: int = Field(default=4096, ge=1)
    """Positions whose logits exist at one time."""

    @model_validator(mode="after")
    def _weights_of_known_kinds(self) -> Self:
        for kind, weight in self.kind_weights.items():
            if kind not in get_args(Kind):
                raise ValueError(f"kind_weights: no kind {kind!r}; known: {', '.join(get_args(Kind))}")
            if weight < 0:
                raise ValueError(f"kind_weights.{kind} = {weight} is negative")
        return self


class ParallelPlan(Section):
    """Degrees of the mesh (pp, dp_replicate, dp_shard, cp, tp) and of the experts' mesh."""

    dp_replicate: int = Field(default=1, ge=1)
    """Copies of the sharded model (HSDP outer degree)."""
    dp_shard: int = Field(default=1, ge=1)
    """Ranks that share one copy's parameters (FSDP degree)."""
    cp: int = Field(default=1, ge=1)
    """Context parallel degree: ranks that have different positions of the same sequences; attention gathers keys and
    values."""
    tp: int = Field(default=1, ge=1)
    """Tensor parallel degree: ranks that have different attention heads and columns of dense MLPs, and different
    positions everywhere else. Divides the heads; divides the key/value heads or is a multiple of them."""
    pp: int = Field(default=1, ge=1)
    """Pipeline parallel degree: ranks that one sequence passes through."""
    schedule: Literal["1f1b", "interleaved", "zero_bubble"] = "1f1b"
    """Order of a pipeline's forward and backward passes. `1f1b` (arXiv:1806.03377) has one stage a rank; `interleaved`
    (arXiv:2104.04473) and `zero_bubble` (arXiv:2401.10241, weight gradients apart) may have more."""
    stages_per_rank: int = Field(default=1, ge=1)
    """Pipeline stages of each rank; 1 for `1f1b`."""
    ep: int = Field(default=1, ge=1)
    """Expert parallel degree: ranks that share a layer's experts; divides dp_shard × cp × tp, and the experts."""
    dispatcher: Literal["all_to_all", "deepep"] = "all_to_all"
    """What brings tokens to experts on other ranks: torch.distributed, or DeepEP's kernels (CUDA, bf16)."""
    recompute: Literal["none", "layers", "selective"] = "none"
    """What the backward pass computes again: nothing; every layer of decoder and encoders from its input; or all of a
    layer but its matrix products, attention and communication (arXiv:2205.05198)."""
    gather: Literal["layer", "step"] = "layer"
    """When a rank holds weights whole that are sharded: `layer` from a layer's pass to its end in every micro-batch, with
    gradients reduced over the shards each time; `step` from their first use in a step to its end, with gradients reduced
    once, for 2 + 4 bytes more a parameter (bf16 weights, fp32 gradients)."""

    join_timeout_s: float = Field(default=300.0, gt=0)
    """Longest that a rank waits for the others at the start, seconds."""

    @property
    def world(self) -> int:
        """Ranks of the run."""
        return self.dp_replicate * self.dp_shard * self.cp * self.tp * self.pp

    @property
    def stages(self) -> int:
        """Pipeline stages in all."""
        return self.pp * self.stages_per_rank

    @property
    def data_ranks(self) -> int:
        """Ranks that read different data."""
        return self.dp_replicate * self.dp_shard

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if self.stages_per_rank > 1 and (self.pp == 1 or self.schedule == "1f1b"):
            raise ValueError(
                f"stages_per_rank = {self.stages_per_rank} needs pp above 1 and the schedule interleaved or zero_bubble"
            )
        return self

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
    ephemeral_every: Duration | WallTime | None = None
    """Distance between checkpoints kept only for restarts, in steps, tokens or wall-clock time ("10 minutes", by the
    first rank's clock, since the last checkpoint of any kind); None writes none."""
    keep_ephemeral: int = Field(default=2, ge=1)
    """How many ephemeral ones are kept; older ones are deleted after a newer one is complete."""
    asynchronous: bool = True
    """Write in a thread from a copy in host memory while training goes on."""
    grace_s: float = Field(default=120.0, gt=0)
    """Seconds from SIGTERM within which the step must be done and saved; a process that is not done by then ends with
    its last complete checkpoint. Below what the scheduler leaves before SIGKILL (Slurm: `--signal=TERM@SECONDS`)."""


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
    checkpoint: str | None = None
    """Name of the checkpoint that teaches; None: the newest that is intact."""
    top_k: int | None = Field(default=None, ge=1)
    """None: the teacher runs beside the student and all its probabilities count. A number: its k largest for each
    position, written beforehand by `expedition train teach`, and one bucket for the rest."""
    stored: Literal["fp32", "fp16"] = "fp32"
    """Type of the stored logarithms of probabilities; fp16 halves their bytes and rounds them by up to 2^-11 of their
    value."""
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
    """AdamW or Muon, groups of parameters, types of weights and moments."""
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
    deterministic: bool = True
    """Only kernels that give the same bits for the same input. False also allows quicker ones that add in changing order: on
    a Hopper GPU cuDNN's attention, where every row of a micro-batch is one document."""
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
    group_norms_every: int | None = Field(default=None, ge=1)
    """Steps between records of the gradient norm by group of parameters, on steps with a metric record; None: never."""
    rules: tuple[RuleName, ...] = ("nan", "spike", "rise", "plateau", "expert_imbalance")
    """Which rules of the programme's `rules` watch this run; one whose action is "pause" pauses it."""
    callbacks: tuple[str, ...] = ()
    """Callbacks of other packages (entry points `expedition.callbacks`) that see every step, in this order."""
    inject: tuple[Injection, ...] = ()
    """Faults made on purpose."""
    loading: LoadingPlan = LoadingPlan()
    """How batches are made ahead."""
    teacher: TeacherPlan | None = None
    """Distil from another run."""
    start_from: StartPlan | None = None
    """The checkpoint of another run that this one starts from; None: fresh weights."""
    rope: RopePlan | None = None
    """Rotary positions of this run; None: those of the checkpoint that it starts from, else the shape's."""
    learn: Literal["all", "answers"] = "all"
    """What of a conversation is learnt: all of it, or the assistant's answers with their end (supervised
    fine-tuning). Documents that are no conversation are learnt whole either way."""

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
        if self.parallel.pp > 1 and self.micro_batches % self.parallel.pp:
            raise ValueError(
                f"micro_batches = {self.micro_batches} must be a multiple of pp = {self.parallel.pp}: a pipeline is filled "
                "with micro-batches"
            )
        parts = self.parallel.data_ranks * self.micro_batches
        for stage in self.batch_sequences:
            if stage.sequences % parts:
                raise ValueError(
                    f"batch_sequences: {stage.sequences} does not divide into data ranks × micro_batches = {parts}"
                )
        return self

    @model_validator(mode="after")
    def _exact_counts_without_a_pipeline(self) -> Self:
        if self.loss.balance_counts == "exact" and self.parallel.pp > 1:
            raise ValueError("loss.balance_counts: exact needs parallel.pp = 1; a pipeline has running counts")
        return self

    @model_validator(mode="after")
    def _positions_divide(self) -> Self:
        cp, tp = self.parallel.cp, self.parallel.tp
        if cp * tp > 1 and self.sequence_length % (2 * cp * tp):
            raise ValueError(
                f"sequence_length = {self.sequence_length} must be a multiple of 2 · cp · tp = {2 * cp * tp}: ranks get equal "
                "parts of the first and the second half of a row"
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
