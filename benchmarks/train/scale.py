"""What the main run's step on 256 GPUs would be: computed from a measured rank's share, never measured

    python -m benchmarks.train.scale [--results DIR] [--row 10b-rank] [--dry-run] [--write docs/performance.md]

Compute is the measured step of one rank's share (a result document of `python -m benchmarks.train`); bytes are the dry run's
for each layout of the mesh (`--dry-run` counts them anew, a minute; else those of record); times are bytes over published
link rates. What is assumed between the two ends of an interval:

    links     60 % to 90 % of the published rate, one direction: NVLink 4 450 GB/s a GPU (H100 SXM data sheet: 900 both ways),
              eight 400 Gb/s InfiniBand ports a node, one a GPU: 50 GB/s (DGX H100 user guide)
    hidden    gathers behind forward and backward, reductions behind backward, as far as they are shorter; a layer's gather
              at the start of every pass and its reduction at the end never are
    slowed    compute by 15 % (20 of 132 multiprocessors) down to 0 while communication is hidden behind it
    exposed   the all-to-all of dispatched experts wholly, as it is built
    skew      8 % down to 0 of compute where experts are dispatched: the fullest rank's rows

By `gather: layer` each micro-batch gathers every layer twice and reduces its gradients over the shards; over the copies they
are reduced once a step. By `gather: step` both happen once, for 6 bytes a parameter that a rank then holds whole (`whole`,
GiB; with 80 on the card, activations and states beside it).

Compute of layouts that gather their experts is taken from the share that holds eight: its products are the same FLOPs over
larger groups, so for them the figure is an upper bound by whatever smaller groups cost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.data.__main__ import put_between_marks
from benchmarks.train.flops import Content, mfu, step_flops
from benchmarks.train.rows import ROWS, SEQUENCE, VOCABULARY
from benchmarks.train.table import load_documents, newest
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters
from expedition.plan.shapes import TokenIds, preset_shapes

RESULTS = Path(__file__).parent / "results"
RECORD = RESULTS / "dryrun-bytes.json"
MARKS = ("<!-- bench-scale: written by `python -m benchmarks.train.scale --write` -->", "<!-- /bench-scale -->")
A_NODE = 8
NVLINK_BYTES_PER_S = 450e9
INFINIBAND_BYTES_PER_S = 50e9
Gather = Literal["layer", "step"]
CARD_GIB = 80
ROOM = 0.45
"""Share of the card that whole weights and gradients may take: the rest is for activations, states and buffers."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A mesh for the world's ranks."""

    title: str
    dp_replicate: int
    dp_shard: int
    ep: int = 1
    gather: Gather = "layer"

    @property
    def key(self) -> str:
        """Name of its bytes on record, which are of one micro-batch that gathers by layer."""
        return f"{self.dp_replicate}x{self.dp_shard}-ep{self.ep}"


LAYOUTS = (
    Layout("EP1: experts gathered in the node, by layer", 32, 8),
    Layout("EP1: experts gathered in the node, by step", 32, 8, gather="step"),
    Layout("EP8: dispatched in the node, the rest gathered by layer", 32, 8, ep=8),
    Layout("EP8: dispatched in the node, the rest gathered by step", 32, 8, ep=8, gather="step"),
    Layout("EP16: dispatched over 2 nodes, the rest gathered by step", 16, 16, ep=16, gather="step"),
    Layout("EP64: dispatched over 8 nodes, the rest gathered by step", 4, 64, ep=64, gather="step"),
)


@dataclass(frozen=True, slots=True)
class End:
    """One end of the interval."""

    name: str
    efficiency: float
    slowed: float
    skew: float


ENDS = (End("low", 0.6, 0.15, 0.08), End("high", 0.9, 0.0, 0.0))
Collectives = Mapping[str, Mapping[str, int]]
"""calls and bytes by "operation/axis", as the dry run gives them: of the largest tensor, one sequence, one micro-batch."""


def wire_seconds(operation: str, ranks: int, adjacent: bool, size: float, efficiency: float) -> float:
    """Seconds that one GPU's links are busy for a collective over `ranks` GPUs on a largest tensor of `size` bytes.

    `adjacent`: the ranks fill nodes one after the other; else there is one of them in each node. Ring volumes: (n − 1)/n of the
    tensor for a gather, a reduce-scatter and an all-to-all, twice that for an all-reduce. Over several full nodes the ports
    of a node share what enters it, except for an all-to-all, where each GPU's rows are its own.
    """
    if ranks == 1:
        return 0.0
    volume = size * (2 if operation == "all_reduce" else 1)
    if not adjacent:
        return volume * (ranks - 1) / ranks / (INFINIBAND_BYTES_PER_S * efficiency)
    nodes = -(-ranks // A_NODE)
    inside = volume * (min(ranks, A_NODE) - 1) / ranks
    outside = 0.0
    if nodes > 1 and operation == "all_to_all":
        outside = volume * (ranks - A_NODE) / ranks
    elif nodes > 1:
        inside = volume * (ranks - 1) / ranks
        outside = volume * (nodes - 1) / nodes / A_NODE
    return max(inside / NVLINK_BYTES_PER_S, outside / INFINIBAND_BYTES_PER_S) / efficiency


@dataclass(frozen=True, slots=True)
class Traffic:
    """Seconds of one micro-batch's communication by kind, all of it once."""

    gather_s: float
    """Weights for the forward and again for the backward pass."""
    scatter_s: float
    """Gradients, over the shards."""
    copies_s: float
    """Gradients, over the copies."""
    dispatch_s: float


def traffic(layout: Layout, collectives: Collectives, sequences: int, efficiency: float) -> Traffic:
    """From the bytes of one sequence: parameters' do not grow with sequences, dispatched rows do."""
    found = {"all_gather": 0.0, "reduce_scatter": 0.0, "all_reduce": 0.0, "all_to_all": 0.0}
    sizes = {
        "dp_replicate": (layout.dp_replicate, False), "shard": (layout.dp_shard, True), "ep": (layout.ep, True),
        "edp": (layout.dp_shard // layout.ep, False),
    }  # fmt: skip
    for name, seen in collectives.items():
        operation, axis = name.split("/")
        ranks, adjacent = sizes[axis]
        size = seen["bytes"] * (sequences if operation == "all_to_all" else 1)
        found[operation] += wire_seconds(operation, ranks, adjacent, size, efficiency)
    return Traffic(found["all_gather"], found["reduce_scatter"], found["all_reduce"], found["all_to_all"])


def step_seconds(layout: Layout, moved: Traffic, compute_s: float, micro_batches: int, layers: int, end: End) -> float:
    """A step's time at one end of the interval."""
    compute_s *= 1 + (end.skew if layout.ep > 1 else 0.0)
    a_pass = compute_s / micro_batches
    hidden = exposed = 0.0
    inner = 1 - 1 / layers
    for number in range(micro_batches):
        first, last = number == 0, number == micro_batches - 1
        by_layer = layout.gather == "layer"
        gather_s = moved.gather_s if by_layer else moved.gather_s / 2 * first
        reduce_s = moved.scatter_s * (by_layer or last) + moved.copies_s * last
        behind = min(gather_s * inner + min(reduce_s * inner, a_pass * 2 / 3), a_pass)
        hidden += behind
        exposed += gather_s + reduce_s - behind + moved.dispatch_s
    return compute_s + end.slowed * hidden + exposed


def estimate(
    layout: Layout, collectives: Collectives, compute_s: float, flops: float, work: str = "10b-rank"
) -> dict[str, Any]:
    """Step time, MFU and seconds by kind at both ends."""
    row = ROWS[work]
    found: dict[str, Any] = {**asdict(layout), "whole_gib": whole_gib(layout)}
    for end in ENDS:
        moved = traffic(layout, collectives, row.sequences, end.efficiency)
        seconds = step_seconds(layout, moved, compute_s, row.micro_batches, row.shape().layers, end)
        found[end.name] = {"step_s": seconds, "mfu": mfu(flops, seconds), **asdict(moved)}
    return found


def whole_gib(layout: Layout) -> float:
    """What `gather: step` holds on a rank: bf16 weights and fp32 gradients of all parameters but the experts elsewhere."""
    counts = count_parameters(OmniConfig(preset_shapes()["10b"], VOCABULARY, TokenIds()))
    held = counts.total - counts.experts + counts.experts // layout.ep
    return 6 * held / (1 << 30) if layout.gather == "step" else 0.0


def count_bytes(layouts: Sequence[Layout]) -> dict[str, Any]:
    """The dry run's collectives of each mesh: the `10b` preset, whole, one sequence."""
    from expedition.parallel.dryrun import rank_view
    from expedition.plan.runs import ParallelPlan

    config = OmniConfig(preset_shapes()["10b"], VOCABULARY, TokenIds())
    found: dict[str, Any] = {}
    for layout in layouts:
        if layout.key in found:
            continue
        plan = ParallelPlan(dp_replicate=layout.dp_replicate, dp_shard=layout.dp_shard, ep=layout.ep)
        view = rank_view(config, plan, SEQUENCE)
        if view.problem is not None:
            raise RuntimeError(f"{layout.title}: {view.problem}")
        found[layout.key] = {"collectives": view.collectives, "rank_parameters": view.rank_parameters}
    return found


def measured_compute(results: Path, row: str) -> tuple[float, str]:
    """Step time of a rank's share and where it was measured. Raises LookupError without one."""
    found = newest(load_documents(results), row, "ours", "w26")
    if found is None or found[1].changed:
        raise LookupError(f"no figure of {row} in {results}: python -m benchmarks.train --only {row}")
    document, line = found
    return line.step_s, f"{document['at']}, sources {document['code']['sources_sha256']}"


def as_page(row: str, compute_s: float, where: str, estimates: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        f"Compute of one of 256 ranks, measured: `{row}`, {compute_s * 1e3:,.0f} ms a step ({where}). The rest is arithmetic.",
        "",
        "| layout of 256 GPUs | MFU | step, ms | whole, GiB | gather, scatter, copies, dispatch: s at 60 % of the links |",
        "|---|---:|---:|---:|---|",
    ]
    for found in estimates:
        low, high = found["low"], found["high"]
        whole = f"{found['whole_gib']:.0f}" if found["whole_gib"] else "–"
        if found["whole_gib"] > CARD_GIB * ROOM:
            whole += ": does not fit"
        seconds = ", ".join(f"{low[name]:.3f}" for name in ("gather_s", "scatter_s", "copies_s", "dispatch_s"))
        lines.append(
            f"| {found['title']} | {low['mfu']:.1%} – {high['mfu']:.1%} | {low['step_s'] * 1e3:,.0f} – "
            f"{high['step_s'] * 1e3:,.0f} | {whole} | {seconds} |"
        )
    return "\n".join(lines)


def main() -> int:
    """1 without a measured share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--row", choices=("10b-rank", "10b-rank-fp8"), nargs="+", default=["10b-rank", "10b-rank-fp8"])
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.dry_run:
        RECORD.write_text(json.dumps(count_bytes(LAYOUTS), indent=1) + "\n")
    record = json.loads(RECORD.read_text())
    pages, documents = [], {}
    for row in options.row:
        try:
            compute_s, where = measured_compute(options.results, row)
        except LookupError as error:
            sys.stderr.write(f"{error}\n")
            continue
        content = Content((SEQUENCE,) * ROWS[row].sequences * ROWS[row].micro_batches)
        flops = step_flops(ROWS[row].config(), content).causal
        found = [estimate(layout, record[layout.key]["collectives"], compute_s, flops, row) for layout in LAYOUTS]
        documents[row] = {"compute_s": compute_s, "measured": where, "estimates": found}
        pages.append(as_page(row, compute_s, where, found))
    if not pages:
        return 1
    page = "\n\n".join(pages)
    sys.stdout.write(page + "\n")
    if options.out is not None:
        options.out.write_text(json.dumps(documents, indent=1) + "\n")
    if options.write is not None:
        put_between_marks(options.write, page, MARKS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
