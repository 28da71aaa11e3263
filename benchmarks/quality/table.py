"""The table of `make bench-quality`: rows as the subjects' documents have them. Pure; what was not measured is "unknown"."""

from __future__ import annotations

from typing import Any

from benchmarks.data.table import Row

SUBJECTS = (
    "extract",
    "beyond_news",
    "language",
    "pii",
    "toxicity",
    "dedup",
    "licence",
    "media",
    "tokenizer",
    "rules",
    "pipeline",
)
"""Modules of this folder, in the table's order. Each prints one JSON document with `rows`."""


def rows_of(subject: str, found: dict[str, Any]) -> list[Row]:
    """A subject's rows; one "unknown" row with the reason where it has no document or a row is malformed."""
    if "error" not in found:
        try:
            return [_row(row) for row in found["rows"]] or [_unknown(subject, "it has no rows")]
        except (KeyError, TypeError, ValueError) as error:
            found = {"error": f"its document is malformed: {type(error).__name__}: {error}"}
    return [_unknown(subject, str(found["error"]))]


def _row(row: dict[str, Any]) -> Row:
    """Figures may be numbers or text; an absent one is "unknown"."""
    met = row["met"]
    if met not in (True, False, None):
        raise ValueError(f"met is {met!r}: true, false or null")
    ratio = row["ratio_or_figure"]
    number = float(ratio) if isinstance(ratio, int | float) and not isinstance(ratio, bool) else None
    ours = _text(row["ours"])
    if ratio is not None and number is None:
        ours = f"{ours} ({ratio})"
    return Row(_text(row["what"]), ours, _text(row["peer"]), number, _goal(row["goal"]), met)


def _goal(value: Any) -> str:
    return "" if value is None else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        value = ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return " ".join(str(value).replace("|", "\\|").split())


def _unknown(subject: str, why: str) -> Row:
    return Row(subject, "unknown", " ".join(why.replace("|", "/").split())[-200:], None, "as in the module", None)


def versions_of(found: dict[str, Any]) -> dict[str, str]:
    """Versions that a subject's document names, flattened: peer or library → version."""
    named: dict[str, str] = {}
    for key in ("versions", "peer_versions", "peers"):
        part = found.get(key)
        if isinstance(part, dict):
            named.update({str(name): _version(value) for name, value in part.items() if _version(value)})
    return named


def _version(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("version")
    text = str(value) if isinstance(value, str | int | float) else ""
    return text if len(text) < 40 else ""


def as_written(table: str, around: dict[str, Any], parts: dict[str, dict[str, Any]]) -> str:
    """The part of a page between its marks: machine, versions, table, and what each subject was run with."""
    named = dict(sorted({name: text for found in parts.values() for name, text in versions_of(found).items()}.items()))
    quick = " Quick run." if around["quick"] else ""
    lines = [
        f"{around['cores']} cores ({around['processor']}), {around['memory_gib']} GiB, {around['system']}, Python "
        f"{around['python']}.{quick} " + ", ".join(f"{name} {text}" for name, text in named.items()),
        "",
        table,
        "",
        "| subject | arguments | s | load average | commit |",
        "|---|---|---:|---:|---|",
        *(
            f"| {name} | {' '.join(found['around']['arguments'])} | {found['around']['wall_s']:.0f} | "
            f"{found['around']['load_average']} | {found['around']['commit']} |"
            for name, found in parts.items()
            if "around" in found
        ),
    ]
    return "\n".join(lines)
