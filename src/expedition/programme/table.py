"""The gate table for people."""

from __future__ import annotations

from typing import Any

from expedition.programme.gates import Judgement

MARKS = {"pass": "✔ pass", "fail": "✘ FAIL", "no evidence": "· no evidence", "waived": "~ waived"}


def rows(judgements: list[Judgement]) -> list[tuple[str, str, str, str, str, str]]:
    """(gate, criterion, verdict, measured, asked, why) of each judgement; a scaled one shows the chapter's number too."""
    return [
        (
            item.gate,
            item.id,
            MARKS[item.verdict],
            number(item.measured, item.unit),
            asked(item),
            "; ".join(part for part in (item.reason, *item.conditions) if part),
        )
        for item in judgements
    ]


def markdown(judgements: list[Judgement]) -> str:
    """The table as Markdown."""
    lines = ["| gate | criterion | verdict | measured | asked | why |", "|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows(judgements)]
    return "\n".join(lines) + "\n"


def number(value: float | bool | None, unit: str) -> str:
    """A measured value in few characters."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scale = 1e3 if letter == "k" else size
            return f"{value / scale:.4g}{letter} {unit}".strip()
    return f"{value:.4g} {unit}".strip()


def asked(item: Judgement) -> str:
    """The comparator and threshold, with the chapter's own number where it is judged at a smaller one."""
    if item.comparator in ("all", "pass"):
        return item.comparator
    if item.comparator == "between":
        text = f"{number(item.threshold, '')} to {number(item.upper, item.unit)}"
    else:
        text = f"{item.comparator} {number(item.threshold, item.unit)}"
    if item.scaled:
        text += f" (scaled; chapter {number(item.chapter_threshold, item.unit)})"
    return text


def plain(criteria: list[dict[str, Any]]) -> str:
    """Recorded verdicts (gates.json) in a few columns that fit a terminal: gate, mark, criterion, measured, asked."""
    items = [Judgement(**{**item, "conditions": tuple(item["conditions"]), "evidence": ()}) for item in criteria]
    order = {gate: number for number, gate in enumerate(dict.fromkeys(item.gate for item in items))}
    lines = []
    for item in sorted(items, key=lambda item: order[item.gate]):
        value = number(item.measured, item.unit) if item.verdict != "no evidence" else item.reason[:58]
        small = "  [scaled]" if item.scaled else ""
        lines.append(
            f"{item.gate:<6}{MARKS[item.verdict]:<14}{item.id:<34}{value}  {_asked_short(item)}{small}".rstrip()
        )
    return "\n".join(lines)


def _asked_short(item: Judgement) -> str:
    if item.verdict == "no evidence" or item.comparator in ("all", "pass"):
        return ""
    return f"(asked {asked(item).split(' (scaled')[0]})"
