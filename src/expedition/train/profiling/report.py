"""From what was measured to the report: parts, rates, roofline, verdict → runs/<run>/profile/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from expedition.model.counts import flops_per_token
from expedition.parallel.placement import local
from expedition.plan.runs import Duration, RunPlan, WallTime
from expedition.train.checkpoint import CheckpointInfo
from expedition.train.precision import compute_dtype
from expedition.train.profiling.families import FAMILIES
from expedition.train.profiling.kept_trace import TRACE_BYTES, bounded_trace
from expedition.train.profiling.model_work import model_flops, optimizer_bytes
from expedition.train.profiling.page import html_page, markdown_page
from expedition.train.profiling.peaks import Peaks
from expedition.train.profiling.recorder import Phases, Recorded, mean_times
from expedition.train.profiling.roofline import NONE, Amount, best_seconds, bound_of, total
from expedition.train.profiling.split import (
    CALLBACKS,
    CHECKPOINT,
    COMMUNICATION,
    COMPUTE,
    DATA,
    HOST,
    Split,
    Work,
    owner_of,
    split,
)
from expedition.train.profiling.trace import Event, read_trace
from expedition.train.profiling.verdict import Shares, judge
from expedition.train.reports.rate import MFU_DEFINITION, PEAK_FLOPS, training_flops_per_token
from expedition.train.reports.summary import conditions, device_name
from expedition.train.run import Job
from expedition.workspace import Workspace, layout

SCHEMA = "train.profile/1"
TOP_KERNELS: Final = 15
PRODUCT_FAMILIES: Final = frozenset({"attention", "expert_products", "dense_products", "head"})


@dataclass(frozen=True, slots=True)
class Measured:
    """What a profile has found on the first rank."""

    job: Job
    phases: Phases
    recorded: Recorded
    callback_s: Mapping[str, Sequence[float]]
    """Seconds of each call of each callback, by its class."""
    saves: Sequence[Mapping[str, Any]]
    """Checkpoints that were taken during the steps."""
    peaks: Peaks | None
    checkpoint: CheckpointInfo | None
    """Where the steps began; None for initial weights."""
    dimensions: Mapping[str, str]
    """Mesh dimension by name of process group."""

    @property
    def run(self) -> RunPlan:
        return self.job.run

    @property
    def steps(self) -> int:
        """Clocked."""
        return len(self.recorded.times)


def profile_key(run: str, name: str) -> str:
    """Where a file of a run's profile is."""
    return f"{layout.run(run)}/profile/{name}"


def clocks(measured: Measured) -> dict[str, Any]:
    """What the clock alone tells: seconds, rates, memory, callbacks."""
    recorded, run = measured.recorded, measured.run
    steps = max(1, measured.steps)
    step_s = recorded.clocked_s / steps
    device = measured.job.built.device
    peak = PEAK_FLOPS.get(device_name(device))
    means = {name: sum(spent) / len(spent) for name, spent in measured.callback_s.items() if spent}
    return {
        "run": measured.job.name,
        "model": run.model,
        "device": device_name(device),
        "world_size": run.parallel.world,
        "steps": {"clocked": steps, "first": recorded.first_step},
        "started_from": None if measured.checkpoint is None else measured.checkpoint.name,
        "clock_step_s": step_s,
        "clock_parts": dict(mean_times(recorded.times)),
        "tokens_per_s": recorded.real_tokens / recorded.clocked_s,
        "positions_per_s": recorded.positions / recorded.clocked_s,
        **_utilisation(measured, recorded.positions / recorded.clocked_s, peak),
        "peak_memory_bytes": recorded.peak_bytes,
        "loader": None if recorded.loader is None else _loader(measured, step_s),
        "callback_s": dict(sorted(means.items(), key=lambda item: -item[1])),
        "checkpoint": checkpoint_cost(measured, step_s),
        "conditions": _conditions(measured),
    }


def write_report(ws: Workspace, measured: Measured) -> dict[str, Any]:
    """Read the trace, write the report's files and return it."""
    assert measured.recorded.profiler is not None and measured.peaks is not None
    folder = ws.scratch(f"profile-trace/{measured.job.name}")
    path = folder / "trace.json"
    measured.recorded.profiler.export_chrome_trace(str(path))
    config = measured.job.built.model.config
    found = split(read_trace(path), (config.vocabulary, config.shape.hidden), measured.dimensions)
    kept = bounded_trace(path, TRACE_BYTES)
    key = profile_key(measured.job.name, "trace.json.gz")
    ws.store.write(key, kept.body)
    path.unlink()
    report = {
        **clocks(measured),
        **_parts(measured, found),
        "peaks": measured.peaks.to_json(),
        "trace": {"key": key, "bytes": len(kept.body), "left_out": list(kept.left_out)},
        "nsight": nsight_commands(measured.job.name, measured.run.parallel.world),
    }
    report["roofline"] = roofline(measured, found, report["profiled"]["steps"])
    report["kernels"] = top_kernels(found, measured, report["profiled"]["steps"])
    report["verdict"] = asdict(judge(_shares(report)))
    ws.write_json(profile_key(measured.job.name, "profile.json"), report, schema=SCHEMA)
    ws.write_text(profile_key(measured.job.name, "profile.md"), markdown_page(report))
    ws.write_text(profile_key(measured.job.name, "profile.html"), html_page(report))
    return report


def _utilisation(measured: Measured, positions_per_s: float, peak: float | None) -> dict[str, Any]:
    config, run = measured.job.built.model.config, measured.run
    flops = positions_per_s * training_flops_per_token(config, run.sequence_length)
    full = positions_per_s * 3.0 * flops_per_token(config, run.sequence_length, causal=False).total
    all_peaks = None if peak is None else peak * run.parallel.world
    ours = None
    if measured.peaks is not None:
        ours = flops / (measured.peaks.product_of(compute_dtype(run.precision)) * run.parallel.world)
    return {
        "flops_per_s": flops,
        "mfu": None if all_peaks is None else flops / all_peaks,
        "mfu_full_attention": None if all_peaks is None else full / all_peaks,
        "mfu_definition": MFU_DEFINITION,
        "share_of_measured_peak": ours,
    }


def _loader(measured: Measured, step_s: float) -> dict[str, Any]:
    work = measured.recorded.loader
    assert work is not None
    return {
        "busy_s_a_step": work.busy_s / max(1, measured.steps),
        "busy_share": work.busy_share,
        "workers": work.workers,
        "share_of_step": work.busy_s / max(1, measured.steps) / step_s,
    }


def checkpoint_cost(measured: Measured, step_s: float) -> dict[str, Any]:
    """How long a checkpoint holds the steps up, and which share of the time that is at the plan's interval."""
    stalls = [float(save["staging_s"]) for save in measured.saves]
    every_s = _interval_s(measured.run, step_s)
    stall_s = sum(stalls) / len(stalls) if stalls else None
    share = None
    if stall_s is not None:
        share = 0.0 if every_s is None else stall_s / (every_s + stall_s)
    return {"taken": len(stalls), "stall_s": stall_s, "every_s": every_s, "share": share}


def _interval_s(run: RunPlan, step_s: float) -> float | None:
    """Seconds between two checkpoints of the plan; None where only the last step saves."""
    found: list[float] = []
    for every in (run.checkpoint.ephemeral_every, run.checkpoint.permanent_every):
        if isinstance(every, WallTime):
            found.append(every.seconds)
        elif isinstance(every, Duration) and every.value:
            steps = every.value
            if every.unit == "tokens":
                steps = max(1, every.value // run.batch_tokens_at(run.total_steps - 1))
            found.append(steps * step_s)
    return min(found, default=None)


def _conditions(measured: Measured) -> list[str]:
    device = measured.job.built.device
    found = conditions(device, measured.run.precision.fp8)
    if measured.checkpoint is None:
        found.append("initial weights: routing is not that of a trained model")
    if measured.run.parallel.world > 1:
        found.append("the first rank's view")
    return [*found, "a few steps"]


def _parts(measured: Measured, found: Split) -> dict[str, Any]:
    """The recorded steps' parts, seconds a step."""
    steps = max(1, measured.phases.recorded)
    scale = 1e-6 / steps
    seconds = {label: spent * scale for label, spent in found.parts.items()}
    step_s = measured.recorded.recorded_s / steps
    compute = {family: seconds.get(COMPUTE + family, 0.0) for family in FAMILIES}
    exposed = {
        label.removeprefix(COMMUNICATION): spent
        for label, spent in sorted(seconds.items())
        if label.startswith(COMMUNICATION)
    }
    parts = {
        "compute": compute,
        "exposed_communication": exposed,
        **{f"{label}_s": seconds.get(label, 0.0) for label in (DATA, CALLBACKS, CHECKPOINT, HOST)},
    }
    return {
        "profiled": {"steps": steps, "step_s": step_s},
        "profiler_cost": step_s / (measured.recorded.clocked_s / max(1, measured.steps)) - 1.0,
        "parts": parts,
        "parts_sum_ratio": sum(seconds.values()) / step_s,
        "communication_s": {name: spent * scale for name, spent in sorted(found.communication_us.items())},
    }


def _shares(report: Mapping[str, Any]) -> Shares:
    """For the verdict. What the profiler costs is idle time of the device, and not the run's."""
    parts, step_s = report["parts"], report["profiled"]["step_s"]
    own_cost = max(0.0, step_s - report["clock_step_s"])
    host_s = max(0.0, parts["host_s"] - own_cost)
    without = step_s - (parts["host_s"] - host_s)
    known = [row for row in report["roofline"] if row["bound"] is not None]
    known_s = sum(row["seconds"] for row in known)
    memory_s = sum(row["seconds"] for row in known if row["bound"] == "memory")
    # The wait is the smaller of what the clock and the trace say: the profiler slows the loader too.
    data_s = parts["data_wait_s"] / without
    loader = report["loader"]
    return Shares(
        data=data_s,
        communication=sum(parts["exposed_communication"].values()) / without,
        host=host_s / without,
        callbacks=(parts["callbacks_s"] + parts["checkpoint_s"]) / without,
        compute=sum(parts["compute"].values()) / without,
        loader_busy=None if loader is None else loader["busy_share"],
        memory_bound=memory_s / known_s if known_s else None,
    )


def roofline(measured: Measured, found: Split, steps: int) -> list[dict[str, Any]]:
    """Each family's work and rates a step, the longest first: from recorded sizes where all of its time has them, else
    from the model's counts."""
    assert measured.peaks is not None
    peak, copy = measured.peaks.product_of(compute_dtype(measured.run.precision)), measured.peaks.copy_bytes_per_s
    counted, main = _from_counts(measured), _main_events(found.works)
    family_of_event = {id(work.event): work.family for work in found.works}
    owners: dict[str | None, list[int]] = {}
    for owner, event in main.items():
        owners.setdefault(family_of_event[id(event)], []).append(owner)
    rows = []
    for family in FAMILIES:
        works = [work for work in found.works if work.family == family]
        seconds = sum(work.end_us - work.start_us for work in works) * 1e-6 / steps
        if not seconds:
            continue
        sized_s = sum(w.end_us - w.start_us for w in works if owner_of(w.event) is not None) * 1e-6 / steps
        amount = total(found.amounts[one] for one in owners.get(family, ()) if one in found.amounts)
        amount = Amount(amount.flops / steps, amount.bytes / steps)
        coverage = sized_s / seconds
        source = "sizes"
        if coverage < 0.9 and family in counted:
            amount, source = counted[family], "model"
        elif coverage < 0.5:
            amount, source = NONE, "unknown"
        known = source != "unknown" and (amount.flops or amount.bytes)
        rows.append(
            {
                "family": family,
                "seconds": seconds,
                "flops": amount.flops if known else None,
                "bytes": amount.bytes if known and source == "sizes" else amount.bytes or None,
                "flops_per_s": amount.flops / seconds if known and amount.flops else None,
                "bytes_per_s": amount.bytes / seconds if known and amount.bytes else None,
                "bound": _bound(family, amount if known else NONE, peak, copy),
                "of_roofline": best_seconds(amount, peak, copy) / seconds if known else None,
                "source": source,
                "sized_share": coverage,
            }
        )
    return sorted(rows, key=lambda row: -row["seconds"])


def _bound(family: str, amount: Amount, peak: float, copy: float) -> str | None:
    """What a family is bound by. One that is known by its FLOPs alone is products or attention; one without
    products moves memory, whatever its sizes are."""
    if amount.flops and not amount.bytes:
        return "compute"
    if amount.flops or amount.bytes:
        return bound_of(amount, peak, copy)
    return None if family in PRODUCT_FAMILIES else "memory"


def _from_counts(measured: Measured) -> dict[str, Amount]:
    """FLOPs of a rank's share of a step from the model's shape and its documents; bytes of the update from its states."""
    run, config, recorded = measured.run, measured.job.built.model.config, measured.recorded
    steps = max(1, measured.steps)
    positions = recorded.positions / steps / run.parallel.world
    found = model_flops(config, positions, (), ())
    # Ranks that differ in cp, tp or pp share the rows that this one reads.
    sharers = run.parallel.world // run.parallel.data_ranks
    for documents in recorded.documents:
        scores = model_flops(config, 0.0, documents, ()).get("attention", 0.0)
        found["attention"] = found.get("attention", 0.0) + scores / len(recorded.documents) / sharers
    for family, flops in model_flops(config, 0.0, (), recorded.media).items():
        found[family] = found.get(family, 0.0) + flops / steps / sharers
    amounts = {family: Amount(flops, 0.0) for family, flops in found.items() if family != "gather_sum"}
    optimizer = measured.job.built.state.optimizer
    elements = {name: local(value).numel() for name, value in optimizer.parameters.items()}
    one_moment = frozenset(name for name in elements if f"momentum.{name}" in optimizer.moments)
    amounts["optimizer"] = Amount(0.0, optimizer_bytes(elements, run.optimizer, one_moment))
    return amounts


def top_kernels(found: Split, measured: Measured, steps: int) -> list[dict[str, Any]]:
    """Kernels (on the CPU: operators, what they do themselves) by time, the longest first, a step."""
    assert measured.peaks is not None
    peak, copy = measured.peaks.product_of(compute_dtype(measured.run.precision)), measured.peaks.copy_bytes_per_s
    groups: dict[tuple[str, str], list[Work]] = {}
    for work in found.works:
        groups.setdefault((work.event.name, work.family or work.label), []).append(work)
    everything = sum(work.end_us - work.start_us for work in found.works)
    main = _main_events(found.works)
    rows: list[dict[str, Any]] = []
    for (name, family), works in groups.items():
        spent = sum(work.end_us - work.start_us for work in works)
        amount = _kernel_amount(works, found.amounts, main)
        seconds = spent * 1e-6
        rows.append(
            {
                "name": name,
                "family": family,
                "count": len({id(work.event) for work in works}) / steps,
                "seconds": seconds / steps,
                "share": spent / everything,
                "flops_per_s": amount.flops / seconds if amount is not None and amount.flops else None,
                "bytes_per_s": amount.bytes / seconds if amount is not None else None,
                "of_roofline": None if amount is None else best_seconds(amount, peak, copy) / seconds,
            }
        )
    return sorted(rows, key=lambda row: -float(row["seconds"]))[:TOP_KERNELS]


def _main_events(works: Iterable[Work]) -> dict[int, Event]:
    """By operation with known sizes the kernel that does its work: the longest of those that it launched."""
    spent: dict[int, float] = {}
    for work in works:
        spent[id(work.event)] = spent.get(id(work.event), 0.0) + work.end_us - work.start_us
    found: dict[int, Event] = {}
    for work in works:
        owner = owner_of(work.event)
        if owner is not None:
            before = found.get(id(owner))
            if before is None or spent[id(work.event)] > spent[id(before)]:
                found[id(owner)] = work.event
    return found


def _kernel_amount(works: Iterable[Work], amounts: Mapping[int, Amount], main: Mapping[int, Event]) -> Amount | None:
    """Of kernels that each do an operation's work; None where one only helps, or its operation has no sizes."""
    found = NONE
    seen: set[int] = set()
    for work in works:
        owner = owner_of(work.event)
        if owner is None or id(owner) not in amounts or main[id(owner)] is not work.event:
            return None
        if id(owner) not in seen:
            seen.add(id(owner))
            found = found + amounts[id(owner)]
    return found


def nsight_commands(run: str, world: int) -> list[str]:
    """How Nsight Systems records the same steps, and how its file is read."""
    launch = "expedition" if world == 1 else f"torchrun --nproc-per-node {world} --no-python expedition"
    return [
        "nsys profile --trace=cuda,nvtx,osrt,cublas,cudnn --capture-range=cudaProfilerApi --capture-range-end=stop "
        f"--output={run} {launch} train profile {run} --nsight --layers",
        f"nsys stats --report cuda_gpu_kern_sum,nvtx_sum,cuda_gpu_mem_time_sum {run}.nsys-rep",
    ]
