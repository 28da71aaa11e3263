"""The MoE layer alone, forward and backward, beside SonicMoE: python -m benchmarks.train.expert_layer

    [--tokens 16384 --hidden 2048 --inner 768 --experts 64 --top-k 8] [--loads FILE.csv] [--rounds 2] [--out OUT.json]

The router is included; TFLOP/s count the three products of the experts alone, 18 · tokens · top-k · hidden · inner. Memory is
the most that is held beyond weights and input, gradients included. Sides run in turn. `--loads` is a table
model,kind,domain,layer,expert,count of a trained model's choices: its median and its most uneven layer are drawn from, and
their slowdown against equal loads is told. Peers run where they can be imported, else the line says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.train.device import describe_device, versions
from benchmarks.train.peaks import products, seconds_of
from expedition.kernels.grouped_experts import _layer, expert_layer
from expedition.kernels.routing import route
from expedition.kernels.top_experts import top_experts

GIB = 1 << 30
RUNS = 15


class Size(NamedTuple):
    """Of a layer and its input."""

    tokens: int
    hidden: int
    inner: int
    experts: int
    top_k: int

    @property
    def flops(self) -> int:
        """Of the experts' products, forward and backward."""
        return 18 * self.tokens * self.top_k * self.hidden * self.inner


class Case(NamedTuple):
    """What every side gets: x [T, H], router [E, H], gate and up [E, 2F, H], down [E, H, F], gradient of the output."""

    x: Tensor
    router: Tensor
    gate_up: Tensor
    down: Tensor
    grad: Tensor

    def leaves(self) -> tuple[Tensor, ...]:
        """What gets a gradient."""
        return self[:4]


Forward = Callable[[], Tensor]


def make_case(size: Size) -> Case:
    """bf16 on the device, the same each time."""
    generator = torch.Generator(device="cuda").manual_seed(0)

    def normal(*shape: int, scale: float = 0.02) -> Tensor:
        return torch.randn(*shape, device="cuda", generator=generator).mul_(scale).bfloat16().requires_grad_()

    return Case(
        x=normal(size.tokens, size.hidden, scale=1.0),
        router=normal(size.experts, size.hidden),
        gate_up=normal(size.experts, 2 * size.inner, size.hidden),
        down=normal(size.experts, size.hidden, size.inner),
        grad=normal(size.tokens, size.hidden, scale=1.0).detach(),
    )


def ours(case: Case, ids_TK: Tensor | None, top_k: int, library: bool = False) -> Forward:
    """Our layer; `ids_TK` in the place of the router's choice, whose weights stay. `library`: torch's grouped products."""

    def forward() -> Tensor:
        weight_TK, chosen_TK = top_experts(F.linear(case.x, case.router), top_k)
        chosen_TK = chosen_TK if ids_TK is None else ids_TK
        if library:
            routing = route(chosen_TK, case.router.shape[0])
            return _layer(case.x, weight_TK, routing, case.gate_up, case.down, "both")
        return expert_layer(case.x, chosen_TK, weight_TK, case.gate_up, case.down)

    return forward


def sonic(size: Size) -> tuple[Forward, tuple[Tensor, ...], Tensor]:
    """SonicMoE's layer, its own router; → forward, leaves, input. Raises ImportError where it is not installed."""
    from sonicmoe import KernelBackendMoE, MoE
    from sonicmoe.enums import ActivationType

    layer = MoE(
        num_experts=size.experts,
        num_experts_per_tok=size.top_k,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        activation_function=ActivationType.SWIGLU,
        add_bias=False,
        std=0.02,
    ).to(device="cuda", dtype=torch.bfloat16)
    x = torch.randn(size.tokens, size.hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)

    def forward() -> Tensor:
        y: Tensor = layer(x, kernel_backend_moe=KernelBackendMoE.sonicmoe)[0]
        return y

    return forward, (x, *layer.parameters()), x


def measure(forward: Forward, leaves: tuple[Tensor, ...], grad: Tensor, size: Size) -> dict[str, float]:
    """Seconds of both passes, and memory."""

    def both() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(grad)  # type: ignore[no-untyped-call]

    with torch.no_grad():
        forward_s = seconds_of(forward, RUNS)
    seconds = seconds_of(both, RUNS)
    for leaf in leaves:
        leaf.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    both()
    torch.cuda.synchronize()
    return {
        "forward_ms": forward_s * 1e3,
        "both_ms": seconds * 1e3,
        "tflops": size.flops / seconds / 1e12,
        "peak_gib": (torch.cuda.max_memory_allocated() - before) / GIB,
    }


def read_loads(path: Path) -> dict[str, list[float]]:
    """Choices by expert of each domain and layer in the table."""
    counts: dict[str, dict[int, float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[f"{row['domain']}, layer {row['layer']}"][int(row["expert"])] = float(row["count"])
    return {name: [by_expert[expert] for expert in sorted(by_expert)] for name, by_expert in counts.items()}


def unevenness(loads: list[float]) -> float:
    """Largest load over the mean."""
    return max(loads) * len(loads) / sum(loads)


def uneven_pair(loads: dict[str, list[float]], experts: int) -> dict[str, list[float]]:
    """The median and the most uneven of the loads of so many experts."""
    fitting = sorted((name for name, load in loads.items() if len(load) == experts), key=lambda n: unevenness(loads[n]))
    if not fitting:
        raise SystemExit(f"the loads file has no layer of {experts} experts")
    return {name: loads[name] for name in dict.fromkeys((fitting[len(fitting) // 2], fitting[-1]))}


def draw(size: Size, loads: list[float]) -> Tensor:
    """Distinct experts of each token, drawn by their loads without replacement (Gumbel top-k)."""
    generator = torch.Generator(device="cuda").manual_seed(1)
    noise = torch.rand(size.tokens, size.experts, device="cuda", generator=generator).clamp(1e-9, 1 - 1e-7)
    share = torch.tensor(loads, device="cuda", dtype=torch.float32).clamp(min=1e-9)
    return (share.log() - (-noise.log()).log()).topk(size.top_k, dim=1).indices


def equal(size: Size) -> Tensor:
    """Every expert the same number of choices."""
    choice = torch.arange(size.tokens * size.top_k, device="cuda")
    return (choice % size.experts).view(size.tokens, size.top_k)


def cases(size: Size, case: Case, loads: Path | None) -> dict[str, tuple[Forward, tuple[Tensor, ...], Tensor] | str]:
    """Every side by name, or why it does not run."""

    def side(ids_TK: Tensor | None, library: bool = False) -> tuple[Forward, tuple[Tensor, ...], Tensor]:
        return ours(case, ids_TK, size.top_k, library), case.leaves(), case.grad

    found: dict[str, tuple[Forward, tuple[Tensor, ...], Tensor] | str] = {
        "ours, equal loads": side(equal(size)),
        "ours with torch's grouped products, equal loads": side(equal(size), library=True),
        "ours, its own router": side(None),
        "ours, equal loads in random order": side(draw(size, [1.0] * size.experts)),
    }
    if loads is not None:
        for name, load in uneven_pair(read_loads(loads), size.experts).items():
            found[f"ours, loads of {name} (largest {unevenness(load):.1f} × mean)"] = side(draw(size, load))
    try:
        forward, leaves, x = sonic(size)
        found["SonicMoE, its own router"] = (forward, leaves, torch.randn_like(x))
    except ImportError as error:
        found["SonicMoE, its own router"] = f"not installed: {error}"
    return found


def run(size: Size, loads: Path | None, rounds: int) -> dict[str, Any]:
    """Medians over rounds, sides in turn."""
    sides = cases(size, make_case(size), loads)
    seen: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for name, side in sides.items():
            if not isinstance(side, str):
                seen[name].append(measure(*side, size))
    figures: dict[str, Any] = {name: side for name, side in sides.items() if isinstance(side, str)}
    for name, lines in seen.items():
        figures[name] = {key: statistics.median(line[key] for line in lines) for key in lines[0]}
    even_ms = figures["ours, equal loads"]["both_ms"]
    for name, line in figures.items():
        if name.startswith("ours, loads of"):
            line["slowdown"] = line["both_ms"] / even_ms - 1
    return {**describe_device(), "versions": versions(), "size": size._asdict(), "sides": figures}


def as_text(document: dict[str, Any]) -> str:
    """A line a side."""
    lines = [
        f"{document['device']}, torch {document['torch']}, best bf16 product {document['best_bf16_tflops']} TFLOP/s"
    ]
    for name, line in document["sides"].items():
        if isinstance(line, str):
            lines.append(f"{name}: {line}")
            continue
        share = line["tflops"] / document["best_bf16_tflops"]
        slower = f", {line['slowdown']:+.1%} against equal loads" if "slowdown" in line else ""
        lines.append(
            f"{name}: forward {line['forward_ms']:.2f} ms, both {line['both_ms']:.2f} ms, {line['tflops']:.0f} TFLOP/s "
            f"({share:.0%} of the best product), peak {line['peak_gib']:.2f} GiB{slower}"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """2 without a CUDA device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in Size(16_384, 2_048, 768, 64, 8)._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--loads", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here\n")
        return 2
    size = Size(options.tokens, options.hidden, options.inner, options.experts, options.top_k)
    document = run(size, options.loads, options.rounds)
    document["best_bf16_tflops"] = max(products("bf16").values())
    sys.stdout.write(as_text(document))
    if options.out is not None:
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
