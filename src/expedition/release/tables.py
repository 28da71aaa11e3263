"""Tables of the card and the report, in Markdown, from evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expedition.release.evidence import Evidence

UNKNOWN = "unknown"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; `|` and line breaks in cells are made harmless."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value: Any, form: str = ".3f") -> str:
    """A number in `form`, or "unknown"."""
    return UNKNOWN if value is None else format(value, form)


def task_table(evidence: Evidence) -> str:
    """Scores with interval, chance and control; empty without an evaluation."""
    tasks = (evidence.results or {}).get("tasks") or []
    rows = [
        (
            task["name"],
            task.get("modality"),
            task.get("metric"),
            f"{number(task.get('value'))} [{number(task.get('ci_low'))}, {number(task.get('ci_high'))}]",
            task.get("n"),
            number(task.get("chance"))
            if task.get("chance") is not None
            else f"{number(task.get('baseline'))} (constant)",
            number(task.get("p_value"), ".1e"),
            _control(task.get("control")),
        )
        for task in tasks
    ]
    head = ("task", "modality", "metric", "value [interval]", "items", "chance", "p", "control")
    return table(head, rows) if rows else ""


def perplexity_table(evidence: Evidence) -> str:
    """Held-out perplexity by kind; empty without an evaluation."""
    found = (evidence.results or {}).get("perplexity") or {}
    rows = [
        (
            kind,
            f"{number(entry.get('value'), '.2f')} [{number(entry.get('ci_low'), '.2f')}, "
            f"{number(entry.get('ci_high'), '.2f')}]",
            entry.get("tokens"),
            number(entry.get("baseline"), ".1f"),
        )
        for kind, entry in found.items()
    ]
    return table(("kind", "perplexity [interval]", "tokens", "unigram baseline"), rows) if rows else ""


def kind_table(evidence: Evidence) -> str:
    """Documents and tokens by kind and dataset version; empty without a manifest."""
    rows = [
        (dataset.version, kind, f"{counts['documents']:,}", f"{counts['expanded_tokens']:,}")
        for dataset in evidence.datasets
        for kind, counts in dataset.manifest.get("kinds", {}).items()
    ]
    return table(("dataset", "kind", "documents", "tokens, media expanded"), rows) if rows else ""


def source_table(evidence: Evidence) -> str:
    """Every source with its licence and the decision it rests on; empty without a manifest."""
    rows = []
    seen = set()
    for dataset in evidence.datasets:
        for source in dataset.manifest.get("sources", []):
            if source["name"] in seen:
                continue
            seen.add(source["name"])
            rows.append(
                (source["name"], source["kind"], source.get("licence") or "by item", *_decision(evidence, source))
            )
    return table(("source", "kind", "licence", "policy", "approval", "scope", "by"), rows) if rows else ""


def _decision(evidence: Evidence, source: dict[str, Any]) -> tuple[str, str, str, str]:
    entry = evidence.approval(source.get("approval_id"))
    if entry is None:
        return source.get("policy") or UNKNOWN, "no record in the ledger", UNKNOWN, UNKNOWN
    state = entry.id + (", later refused or revoked" if evidence.revoked(entry.source, entry.when) else "")
    scope = "approved for rehearsal only" if entry.scope == "rehearsal" else entry.scope
    return entry.policy, state, scope, entry.who


def _control(control: dict[str, Any] | None) -> str:
    if not control:
        return "none"
    at_chance = control.get("at_chance")
    verdict = "" if at_chance is None else ", at chance" if at_chance else ", NOT at chance"
    return f"{control.get('kind')} {number(control.get('value'))}{verdict}"


def _cell(value: object) -> str:
    text = UNKNOWN if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")
