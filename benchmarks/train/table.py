"""The table, made of result documents alone: what a row reached, beside its peers of the same call.

A ratio is of two sides of one document: same card, same call, in turn. A comparison is void where a peer stays more than
5 % below what it reached before: then something is wrong with the card or with our way of running it.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train.rows import ROWS, Peer, Work

MARKS = ("<!-- bench-train: written by `python -m benchmarks.train --write` -->", "<!-- /bench-train -->")
VOID_BELOW = 0.95
"""Share of a peer's expected MFU below which a comparison is void."""
TINY = "--tiny"
OUT_OF_MEMORY = "out of memory"
STATES = {"w26": "fp32 masters, 1/256", "bf16": "bf16, whole"}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One side of one row in one document: medians over its processes."""

    side: str
    tokens_per_s: float
    mfu: float
    mfu_full: float | None
    peak_gib: float | None
    step_s: float
    spread: float
    """(largest − smallest) ÷ median of all timed steps, or of the processes' figures where steps are not told."""
    processes: int
    layers: int | None = None
    changed: str = ""
    """How the work differs from the row's: such a figure has no verdict."""
    deterministic: bool = True


def load_documents(folder: Path) -> list[Document]:
    """All of a folder, oldest first."""
    found = [json.loads(path.read_text()) for path in folder.glob("bench-train-*.json")]
    return sorted(found, key=lambda document: str(document["at"]))


def line_of(document: Document, row: str, side: str, states: str) -> Line | str | None:
    """What a document says of a side; its error where no process came through; None where it did not take part.

    Processes that did the row's own work count before those that changed it; among the latter the last.
    """
    runs = [r for r in document["runs"] if (r["row"], r["side"], r["states"]) == (row, side, states)]
    runs = [run for run in runs if TINY not in run.get("changed", "")]
    if not runs:
        return None
    good = [run for run in runs if "error" not in run]
    if not good:
        return str(runs[-1]["error"])
    how = min((run.get("changed", "") for run in good), key=bool)
    good = [run for run in good if run.get("changed", "") == how]

    def median(name: str) -> float | None:
        values = [run[name] for run in good if run.get(name) is not None]
        return statistics.median(values) if values else None

    tokens, share, step = median("tokens_per_s"), median("mfu"), median("step_s")
    assert tokens is not None and share is not None and step is not None
    steps = [value for run in good for value in run.get("step_s_all", [run["step_s"]])]
    return Line(
        side, tokens, share, median("mfu_full"), median("peak_gib"), step, (max(steps) - min(steps)) / step, len(good),
        good[-1].get("layers"), how, all(run.get("deterministic", True) for run in good),
    )  # fmt: skip


def newest(documents: Sequence[Document], row: str, side: str, states: str) -> tuple[Document, Line] | None:
    """The newest document in which a side has figures."""
    for document in reversed(documents):
        if isinstance(line := line_of(document, row, side, states), Line):
            return document, line
    return None


def is_void(peer: Peer, line: Line) -> bool:
    """Whether a peer is too slow to be compared with."""
    return line.mfu < VOID_BELOW * peer.expected_mfu


def rows_of(documents: Sequence[Document]) -> Iterable[tuple[list[str], bool | None]]:
    """Cells of the table, and whether our row met its goal (None: not ours, or no goal or no figure)."""
    for name, work in ROWS.items():
        ours = {states: newest(documents, name, "ours", states) for states in STATES}
        if ours["w26"] is None:
            yield _unknown(documents, name, work), None
        for states, found in ours.items():
            if found is None:
                continue
            line = found[1]
            judged = work.goal_mfu is not None and states == "w26" and not line.changed
            met = line.mfu >= work.goal_mfu if judged and work.goal_mfu is not None else None
            yield _our_cells(name, work, states, line, met), met
        for side in (*(peer.program for peer in work.peers), "sketch"):
            cells = _other_cells(documents, name, work, side)
            if cells is not None:
                yield cells, None


def _unknown(documents: Sequence[Document], name: str, work: Work) -> list[str]:
    said = [line_of(document, name, "ours", "w26") for document in reversed(documents)]
    why = next((text for text in said if isinstance(text, str)), "not measured")
    first = [_title(name, work), f"ours, {STATES['w26']}", "unknown", "", "", "", ""]
    return [*first, _last_words(why), work.floor, _goal(work), "unknown"]


def _our_cells(name: str, work: Work, states: str, line: Line, met: bool | None) -> list[str]:
    layers = f", {line.layers} layers" if work.layers_fit else ""
    changed = f" ({line.changed})" if line.changed else ""
    changed += "" if line.deterministic else ", `deterministic: false`"
    verdict = {None: "–", True: "yes", False: "**no**"}[met]
    title = f"{_title(name, work)}{layers}"
    return [title, f"ours, {STATES[states]}{changed}", *_figures(line), "", work.floor, _goal(work), verdict]


def _other_cells(documents: Sequence[Document], name: str, work: Work, side: str) -> list[str] | None:
    """A peer's or the sketch's line; None where it never took part."""
    found = newest(documents, name, side, "bf16")
    if found is None:
        said = (line_of(document, name, side, "bf16") for document in reversed(documents))
        why = next((text for text in said if isinstance(text, str)), None)
        return None if why is None else ["", side, "unknown", "", "", "", "", _last_words(why), "", "", ""]
    document, line = found
    expected = next((peer for peer in work.peers if peer.program == side), None)
    return ["", f"{side}, {STATES['bf16']}", *_figures(line), ratio(document, name, expected, line), "", "", ""]


def ratio(document: Document, name: str, peer: Peer | None, line: Line) -> str:
    """Ours ÷ theirs, both with bf16 states in one document; or why there is none."""
    if peer is not None and is_void(peer, line):
        return f"void: it reached {peer.expected_mfu:.1%} before"
    ours = line_of(document, name, "ours", "bf16")
    if not isinstance(ours, Line) or ours.changed:
        return "no ratio: ours with the same states is not in that call"
    return f"ours ÷ it {ours.tokens_per_s / line.tokens_per_s:.2f}"


def _figures(line: Line) -> list[str]:
    full = "–" if line.mfu_full is None else f"{line.mfu_full:.1%}"
    memory = "–" if line.peak_gib is None else f"{line.peak_gib:.1f}"
    return [
        f"{line.tokens_per_s:,.0f}",
        f"{line.mfu:.1%}",
        full,
        memory,
        f"{line.step_s * 1e3:,.1f} ± {line.spread / 2:.1%}",
    ]


def _title(name: str, work: Work) -> str:
    many = "" if work.micro_batches == 1 else f", {work.micro_batches} micro-batches"
    return f"{work.title}{many}, {work.precision.upper() if work.precision == 'fp8' else 'bf16'} (`{name}`)"


def _goal(work: Work) -> str:
    return "–" if work.goal_mfu is None else f"≥ {work.goal_mfu:.0%}"


def _last_words(text: str) -> str:
    if text.startswith(OUT_OF_MEMORY):
        return OUT_OF_MEMORY
    return " ".join(text.split())[-160:].replace("|", "/")


def as_page(documents: Sequence[Document]) -> tuple[str, bool]:
    """What goes between the marks, and whether a goal is missed or a row is unknown."""
    found = list(rows_of(documents))
    head = [
        "work",
        "side, states",
        "tokens/s",
        "MFU",
        "attention full",
        "GiB",
        "step, ms",
        "ratio",
        "others reach",
        "goal",
        "met",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---'] * 2 + ['---:'] * 5 + ['---'] * 4)}|"]
    lines += [f"| {' | '.join(cells)} |" for cells, _ in found]
    used = [document for document in documents if document["runs"]]
    missed = any(met is False for _, met in found) or any(cells[-1] == "unknown" for cells, _ in found)
    return "\n".join([*_peaks(documents), *lines, "", *_conditions(used)]), missed


def _peaks(documents: Sequence[Document]) -> list[str]:
    for document in reversed(documents):
        peaks = document.get("peaks") or {}
        if "best_bf16_tflops" in peaks:
            return [
                f"{peaks['device']}, {peaks['device_gib']} GiB, driver, top clock and power {document['driver_clock_power']}."
                f" Best products seen: bf16 {peaks['best_bf16_tflops']:.0f}, row-wise FP8 {peaks['best_fp8_tflops']:.0f} TFLOP/s;"
                f" copy {peaks['copy_tb_per_s']:.2f} TB/s.",
                "",
            ]
    return ["Nothing was measured yet.", ""]


def _conditions(documents: Sequence[Document]) -> list[str]:
    lines = ["| measured | command | code | versions |", "|---|---|---|---|"]
    for document in documents:
        code = document["code"]
        listed = ", ".join(f"{name} {text}" for name, text in document["versions"].items())
        where = f"{code['commit']}, sources {code['sources_sha256']}"
        lines += [f"| {document['at']} | `{_shown(call)}` | {where} | {listed} |" for call in document["commands"]]
    return lines


def _shown(call: Sequence[str]) -> str:
    """A command without the folders of the machine that it ran on."""
    words = [word for place, word in enumerate(call) if word != "--out" and call[max(0, place - 1)] != "--out"]
    return " ".join(re.sub(r"\S*/", "", word) for word in words)
