"""The post-mortem of an incident: symptom, root cause, fix, prevention; rendered from the incident's own record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expedition.errors import UsageError


@dataclass(frozen=True, slots=True)
class PostMortem:
    """The four answers; `symptom` empty = the one that the incident was opened with."""

    root_cause: str
    fix: str
    prevention: str
    symptom: str = ""

    def check(self, incident_id: str) -> None:
        """Raises UsageError naming the empty parts."""
        parts = {"root cause": self.root_cause, "fix": self.fix, "prevention": self.prevention}
        missing = [name for name, text in parts.items() if not text.strip()]
        if missing:
            raise UsageError(
                f"the post-mortem lacks {', '.join(missing)}",
                where=f"incident {incident_id}",
                fix="give --root-cause, --fix and --prevention",
            )


def render_postmortem(document: Mapping[str, Any], timeline: Sequence[Mapping[str, str]]) -> str:
    """Markdown from `incident.json` and the timeline."""
    lines = [
        f"# Post-mortem {document['id']}",
        "",
        f"- Severity: {document['severity']}",
        f"- Run: {document['run']}, step {document['step']}, {document['tokens']:,} tokens, rule `{document['rule']}`",
        f"- Began {document['began']}, opened {document['opened']}, resolved {document['resolved']}",
        f"- Detected in {_time(document['detect_s'])}, acknowledged in {_time(document['acknowledge_s'])}, "
        f"resolved in {_time(document['resolve_s'])}",
        f"- Lost {_number(document['lost_gpu_hours'])} GPU-hours on {document['price']['gpus']} accelerators, "
        f"${_number(document['cost_usd'])} at ${document['price']['usd_per_gpu_hour']:g} an hour",
        "",
    ]
    for title, name in (
        ("Symptom", "symptom"),
        ("Root cause", "root_cause"),
        ("Fix", "fix"),
        ("Prevention", "prevention"),
    ):
        lines += [f"## {title}", "", str(document[name] or "unknown"), ""]
    lines += ["## Diagnosis", ""]
    findings = document["diagnosis"]["findings"]
    lines += [f"- {finding}" for finding in findings] or ["Nothing stands out in gradients and activations."]
    lines += ["", "## Timeline", "", "| time | what | who |", "| --- | --- | --- |"]
    lines += [f"| {line['time']} | {line['what'].replace('|', '/')} | {line['who']} |" for line in timeline]
    lines += ["", "## Evidence", ""]
    lines += [f"- `{item['path']}` sha256 {item['sha256']}" for item in document["evidence"]]
    return "\n".join(lines) + "\n"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4f}"
