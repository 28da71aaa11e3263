"""From the runs' files to figures with intervals, a picture and a table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data.__main__ import put_between_marks
from benchmarks.train.fp8_convergence.arms import ARMS, BOUND, LAST, TITLES
from benchmarks.train.fp8_convergence.picture import draw_curves, draw_stress
from expedition.workspace.atomic import write_atomic

HERE = Path(__file__).parent
MARKS = ("<!-- fp8-convergence: written by `python -m benchmarks.train.fp8_convergence report --write` -->",
         "<!-- /fp8-convergence -->")  # fmt: skip
WINDOW = 20
"""Steps that a point of a curve is the mean of."""
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}
"""Student's t of a two-sided 95 % interval by degrees of freedom."""


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half-width of its 95 % interval; None with one value, whose spread is unknown."""
    mean, freedom = statistics.fmean(values), len(values) - 1
    if not freedom:
        return mean, None
    return mean, T_975[min(freedom, max(T_975))] * statistics.stdev(values) / math.sqrt(len(values))


def smooth(losses: Sequence[float]) -> list[float]:
    """Means of `WINDOW` steps."""
    return [statistics.fmean(losses[at : at + WINDOW]) for at in range(0, len(losses) - WINDOW + 1, WINDOW)]


def compare(cells: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Each arm against bf16, seed by seed: end losses, their relative differences, curves; arms without a run are left out.

    `within` says whether the mean difference is at most `BOUND`; whether the whole interval is, `interval_within`.
    """
    found: dict[str, Any] = {}
    for arm in ARMS:
        seeds = sorted(seed for name, seed in cells if name == arm)
        if not seeds:
            continue
        ends = [statistics.fmean(cells[arm, seed]["losses"][-LAST:]) for seed in seeds]
        curves = [smooth(cells[arm, seed]["losses"]) for seed in seeds]
        entry: dict[str, Any] = {
            "seeds": seeds,
            "ends": ends,
            "end": statistics.fmean(ends),
            "curve": [statistics.fmean(column) for column in zip(*curves, strict=True)],
            "dropped": sum(cells[arm, seed]["dropped"] for seed in seeds),
            "ms_a_step": statistics.fmean(
                1000 * cells[arm, seed]["seconds"] / cells[arm, seed]["steps"] for seed in seeds
            ),
        }
        paired = [seed for seed in seeds if ("bf16", seed) in cells]
        if arm != "bf16" and paired:
            entry |= _difference([(cells[arm, seed]["losses"], cells["bf16", seed]["losses"]) for seed in paired])
        found[arm] = entry
    return found


def _difference(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, Any]:
    """Relative to the second of each pair: at the end, and along the run."""
    ends = [statistics.fmean(a[-LAST:]) / statistics.fmean(b[-LAST:]) - 1 for a, b in pairs]
    mean, half = interval(ends)
    along = [[x / y - 1 for x, y in zip(smooth(a), smooth(b), strict=True)] for a, b in pairs]
    columns = [interval(column) for column in zip(*along, strict=True)]
    return {
        "differences": ends,
        "difference": mean,
        "half_width": half,
        "within": abs(mean) <= BOUND,
        "interval_within": None if half is None else abs(mean) + half <= BOUND,
        "difference_curve": [column[0] for column in columns],
        "half_width_curve": [column[1] for column in columns],
    }


def lost_by_layer(cells: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By arm a row a layer: shares of zeros in the last count, means over seeds; of attention the worst tensor's.

    `saturated` is the largest share of any tensor; with scales from the values themselves at least one value of each row is
    at the format's largest.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for arm in ARMS:
        counts = [
            cell["counted"][-1]["modules"] for (name, _), cell in cells.items() if name == arm and cell["counted"]
        ]
        if not counts:
            continue
        layers = sorted({int(module.split(".")[2]) for modules in counts for module in modules})
        found[arm] = [_layer_row(layer, [_of_layer(modules, layer) for modules in counts]) for layer in layers]
    return found


def _of_layer(modules: Mapping[str, Any], layer: int) -> dict[tuple[str, str], list[float]]:
    """[share of zeros, share of saturated values] by (experts or attention's projection, tensor)."""
    return {
        (module.split(".")[-1], tensor): lost
        for module, tensors in modules.items()
        if int(module.split(".")[2]) == layer
        for tensor, lost in tensors.items()
    }


def _layer_row(layer: int, counts: Sequence[Mapping[tuple[str, str], Sequence[float]]]) -> dict[str, Any]:
    def worst(place: int, which: Sequence[tuple[str, str]]) -> float:
        return statistics.fmean(max(lost[key][place] for key in which) for lost in counts)

    keys = list(counts[0])
    experts = {tensor: worst(0, [("experts", tensor)]) for module, tensor in keys if module == "experts"}
    attention = worst(0, [key for key in keys if key[0] != "experts"])
    return {"layer": layer, "attention": attention, "experts": experts, "saturated": worst(1, keys)}


def lost_table(results: Mapping[str, Any]) -> str:
    """What FP8 rounded to zero, by layer."""
    lines = []
    for arm, rows in results["lost"].items():
        tensors = list(rows[0]["experts"])
        lines += [
            "",
            f"{TITLES[arm]}: values that came out as zero, in the last count (means over seeds).",
            "",
            f"| layer | attention, worst tensor | {' | '.join(f'experts: {tensor}' for tensor in tensors)} | most at the top |",
            "|---:|" + "---:|" * (len(tensors) + 2),
        ]
        for row in rows:
            shares = [row["attention"], *(row["experts"][tensor] for tensor in tensors)]
            cells = [f"{share:.3%}" for share in shares] + [f"{row['saturated']:.2%}"]
            lines.append(f"| {row['layer']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stress_text(stress: Mapping[str, Any]) -> str:
    """The stress test in a table, with the verdict."""
    lines = [
        "",
        f"Forced outliers ({stress['device']}, torch {stress['torch']}, sources {stress['sources_sha256']}; {stress['about']}):",
        f"gate and up weights of a channel equal in every expert (cosine {stress['alignment']:.3f} after the first run), up "
        f"weights doubled every {stress['double_every']} steps until × 2^{round(math.log2(stress['largest_factor']))}, down "
        f"weights halved. Verdict: {'the fall-back saves the run' if stress['ok'] else 'not as it should be'}.",
        "",
        "| arm | end loss, nats | against bf16 | dropped steps | modules that fell back |",
        "|---|---:|---:|---:|---|",
    ]
    for name, arm in stress["arms"].items():
        falls = sorted({fall["step"] for fall in arm["fallen"]})
        told = "–" if not falls else f"{len(arm['fallen'])}, after steps {', '.join(map(str, falls))}"
        against = stress["ends"][name] / stress["ends"]["bf16"] - 1
        lines.append(f"| {arm['title']} | {stress['ends'][name]:.4f} | {against:+.2%} | {arm['dropped']} | {told} |")
    return "\n".join(lines)


def whole_text(results: Mapping[str, Any]) -> str:
    """Everything that goes between the marks."""
    stress = "" if results["stress"] is None else "\n" + stress_text(results["stress"])
    return f"{table(results)}\n{lost_table(results)}{stress}"


def write_results(folder: Path) -> dict[str, Any]:
    """Read a folder of runs; write results.json and the pictures beside this file. What has not been run is absent."""
    cells = {}
    for path in sorted(folder.glob("*-*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        cells[cell["arm"], cell["seed"]] = cell
    stress = folder / "stress.json"
    if not cells and not stress.exists():
        raise SystemExit(f"there are no runs in {folder}; first: python -m benchmarks.train.fp8_convergence run")
    first = next(iter(cells.values()), {})
    kept = ("device", "torch", "cuda", "commit", "sources_sha256", "steps", "tokens_a_step", "parameters", "corpus")
    results = {
        **{name: first.get(name) for name in kept},
        "window": WINDOW,
        "last_steps": LAST,
        "bound": BOUND,
        "arms": compare(cells),
        "precision": {arm: cell["precision"] for (arm, _), cell in cells.items()},
        "lost": lost_by_layer(cells),
        "stress": json.loads(stress.read_text(encoding="utf-8")) if stress.exists() else None,
    }
    write_atomic(HERE / "results.json", json.dumps(results).encode())
    if cells:
        write_atomic(HERE / "curves.svg", draw_curves(results).encode())
    if results["stress"] is not None:
        write_atomic(HERE / "stress.svg", draw_stress(results["stress"]).encode())
    print(whole_text(results))
    return results


def table(results: Mapping[str, Any]) -> str:
    """The arms as a Markdown table, the conditions above it."""
    if not results["arms"]:
        return "End losses of the arms: unknown, they have not been run."
    millions = {name: results["parameters"][name] / 1e6 for name in ("total", "active")}
    corpus = results["corpus"]
    lines = [
        f"{results['device']}, torch {results['torch']}, sources {results['sources_sha256']}. A MoE of {millions['total']:.0f}M "
        f"parameters ({millions['active']:.0f}M active), {results['steps']:,} steps of {results['tokens_a_step']:,} tokens; "
        f"{corpus['text']} (torch {corpus['torch']}, {corpus['tokens']:,} tokens). End loss: mean of the last "
        f"{results['last_steps']} steps.",
        "",
        "| arm | seeds | end loss, nats | against bf16, seed by seed | mean, 95 % interval | within 0.5 % | dropped steps |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for arm, entry in results["arms"].items():
        lines.append(
            f"| {TITLES[arm]} | {len(entry['seeds'])} | {entry['end']:.4f} | {_against(entry)} | {entry['dropped']} |"
        )
    return "\n".join(lines)


def _against(entry: Mapping[str, Any]) -> str:
    if "difference" not in entry:
        return "– | – | –"
    each = ", ".join(f"{100 * value:+.2f} %" for value in entry["differences"])
    half = "unknown" if entry["half_width"] is None else f"± {100 * entry['half_width']:.2f} %"
    verdict = "yes" if entry["within"] else "no"
    if entry["within"] and entry["interval_within"] is False:
        verdict = "yes, its interval is wider"
    return f"{each} | {100 * entry['difference']:+.2f} % {half} | {verdict}"


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Put the tables between the marks of a page."""
    put_between_marks(page, whole_text(results), MARKS)
