"""The profile for people: Markdown, and one self-contained page with the step as a bar. Figures are those of profile.json."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from expedition.train.profiling.families import FAMILIES

Report = Mapping[str, Any]

WORDS: Final = {
    "attention": "attention",
    "expert_products": "expert products",
    "dense_products": "dense products",
    "head": "head and loss",
    "norm_rotary": "norms, rotary",
    "gather_sum": "router, gather, SwiGLU, sum",
    "quantise": "quantise",
    "optimizer": "optimiser",
    "copies": "copies",
    "other": "other",
    "data_wait_s": "data wait",
    "callbacks_s": "callbacks",
    "checkpoint_s": "checkpoint",
    "host_s": "host overhead",
}
_COLOURS: Final = (
    "#1f5a8a", "#2f7f6f", "#4f9fb8", "#8a5fa8", "#7fae5f", "#b8a13f", "#c4703f", "#5f6f7f", "#9aa5b1", "#c3cad1",
)  # fmt: skip
_WAIT_COLOURS: Final = {
    "data_wait_s": "#d1495b",
    "callbacks_s": "#e58c4f",
    "checkpoint_s": "#edae49",
    "host_s": "#e8d5b5",
}
_SEND_COLOUR: Final = "#7b2d43"


def rows_of(report: Report) -> list[tuple[str, str, float, str]]:
    """(part, what it is in words, seconds a step, colour) of everything that takes time, in the order of the report."""
    parts = report["parts"]
    found = [
        (f"compute/{family}", WORDS[family], parts["compute"][family], colour)
        for family, colour in zip(FAMILIES, _COLOURS, strict=True)
    ]
    found += [
        (f"communication/{name}", f"exposed communication, {name}", spent, _SEND_COLOUR)
        for name, spent in parts["exposed_communication"].items()
    ]
    found += [(part, WORDS[part], parts[part], colour) for part, colour in _WAIT_COLOURS.items()]
    return [row for row in found if row[2] > 0]


def markdown_page(report: Report) -> str:
    """The report as Markdown."""
    lines = [f"# Profile of run {report['run']}", ""]
    for title, columns, rows in _tables(report):
        lines += [f"## {title}", "", _line(columns), _line("---" if n == 0 else "---:" for n in range(len(columns)))]
        lines += [_line(str(cell).replace("|", "\\|") for cell in row) for row in rows]
        lines.append("")
    head = [*_summary(report), "", *(f"- {line}" for line in report["verdict"]["evidence"]), ""]
    lines[2:2] = head
    lines += [*_notes(report), ""]
    return "\n".join(lines)


def html_page(report: Report) -> str:
    """The same as a page of its own, without anything from outside."""
    body = [f"<h1>Profile of run {html.escape(report['run'])}</h1>"]
    body += [f"<p>{html.escape(line)}</p>" for line in _summary(report) if line]
    body.append(_bar(report))
    body.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in report["verdict"]["evidence"]) + "</ul>")
    for title, columns, rows in _tables(report):
        body.append(f"<h2>{html.escape(title)}</h2><table><tr>")
        body += [f"<th>{html.escape(column)}</th>" for column in columns]
        body.append("</tr>")
        for row in rows:
            body.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>")
        body.append("</table>")
    for line in _notes(report):
        text = html.escape(line.strip())
        body.append(f"<pre>{text}</pre>" if line.startswith("    ") else f"<p class=note>{text}</p>" if text else "")
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Profile</title><style>{_STYLE}</style>" + "".join(
        body
    )


_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1d2733}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em .8em;border-bottom:1px solid #dde3e9;"
    "text-align:right}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}pre{white-space:pre-wrap;background:#f3f5f7;padding:.5em}.note{color:#5b6875}"
)


def _summary(report: Report) -> list[str]:
    step, verdict = report["profiled"]["step_s"], report["verdict"]
    return [
        f"Bottleneck: {verdict['bottleneck']}: {verdict['sentence']}.",
        "",
        f"{report['device']}, {report['world_size']} rank(s): {report['clock_step_s']:.4g} s a step without the profiler "
        f"({report['steps']['clocked']} steps), {step:.4g} s with it ({report['profiled']['steps']} steps, "
        f"{report['profiler_cost']:+.1%}). {report['tokens_per_s']:,.0f} tokens/s, MFU {_percent(report['mfu'])} "
        f"(attention in full {_percent(report['mfu_full_attention'])}; {_percent(report['share_of_measured_peak'])} of the "
        f"product peak measured here).",
        "",
        f"The parts are {report['parts_sum_ratio']:.2%} of the recorded step.",
    ]


def _tables(report: Report) -> Iterator[tuple[str, Sequence[str], list[Sequence[str]]]]:
    step = report["profiled"]["step_s"]
    yield (
        "Where the step goes",
        ("part", "ms", "of the step"),
        [(words, f"{spent * 1e3:.3f}", f"{spent / step:.1%}") for _, words, spent, _ in rows_of(report)],
    )
    if report["communication_s"]:
        exposed = report["parts"]["exposed_communication"]
        yield (
            "Communication by mesh dimension",
            ("dimension", "ms under way", "ms exposed"),
            [
                (name, f"{spent * 1e3:.3f}", f"{exposed.get(name, 0.0) * 1e3:.3f}")
                for name, spent in report["communication_s"].items()
            ],
        )
    yield (
        "Roofline by family",
        ("family", "ms", "FLOP/s", "bytes/s", "bound by", "of the roofline", "FLOPs from"),
        [
            (
                WORDS[row["family"]],
                f"{row['seconds'] * 1e3:.3f}",
                _rate(row["flops_per_s"]),
                _rate(row["bytes_per_s"]),
                row["bound"] or "unknown",
                _percent(row["of_roofline"]),
                row["source"],
            )
            for row in report["roofline"]
        ],
    )
    yield (
        "Longest kernels" if report["device"] != "cpu" else "Longest operators",
        ("name", "family", "a step", "ms", "of the time", "of the roofline"),
        [
            (
                row["name"][:90],
                WORDS.get(row["family"], row["family"]),
                f"{row['count']:.0f}",
                f"{row['seconds'] * 1e3:.3f}",
                f"{row['share']:.1%}",
                _percent(row["of_roofline"]),
            )
            for row in report["kernels"]
        ],
    )
    yield (
        "By the trainer's own clock, without the profiler",
        ("part", "ms", "of the step"),
        [
            (part.removesuffix("_s").replace("_", " "), f"{spent * 1e3:.3f}", f"{spent / report['clock_step_s']:.1%}")
            for part, spent in report["clock_parts"].items()
        ],
    )
    loader = report["loader"]
    if loader is not None:
        yield (
            "Making batches, beside the step",
            ("workers", "ms of processor a step", "busy"),
            [(str(loader["workers"]), f"{loader['busy_s_a_step'] * 1e3:.3f}", f"{loader['busy_share']:.1%}")],
        )


def _notes(report: Report) -> list[str]:
    peaks, checkpoint = report["peaks"], report["checkpoint"]
    products = ", ".join(f"{name} {_rate(rate)}FLOP/s" for name, rate in peaks["product_flops_per_s"].items())
    stall = (
        "Checkpoint: none was taken in these steps (--save takes one)."
        if checkpoint["stall_s"] is None
        else f"Checkpoint: holds the step up for {checkpoint['stall_s']:.3g} s, "
        f"{_percent(checkpoint['share'])} of the time at the plan's interval."
    )
    return [
        f"Peaks measured on this device in this command: products {products}; copies {_rate(peaks['copy_bytes_per_s'])}B/s. "
        "The roofline is the longer of FLOPs and bytes at those rates; FLOPs come from recorded sizes or from the model's "
        "counts, as each row says.",
        "",
        stall,
        "",
        f"MFU: {report['mfu_definition']}. Conditions: {', '.join(report['conditions']) or 'none'}.",
        "",
        f"The trace opens in ui.perfetto.dev and chrome://tracing: {report['trace']['key']}.",
        "",
        "The same steps in Nsight Systems:",
        "",
        *(f"    {command}" for command in report["nsight"]),
    ]


def _bar(report: Report) -> str:
    rows, at, parts = rows_of(report), 0.0, []
    whole = sum(row[2] for row in rows)
    for _, words, spent, colour in rows:
        width = 1000 * spent / whole
        title = f"{words}: {spent * 1e3:.3f} ms, {spent / whole:.1%}"
        parts.append(
            f'<rect x="{at:.2f}" y="0" width="{width:.2f}" height="46" fill="{colour}"><title>{html.escape(title)}</title></rect>'
        )
        at += width
    legend = "".join(
        f'<span style="margin-right:1.2em;white-space:nowrap"><b style="color:{colour}">■</b> {html.escape(words)} '
        f"{spent / whole:.1%}</span> "
        for _, words, spent, colour in rows
    )
    return f'<svg viewBox="0 0 1000 46" role="img" aria-label="the step by its parts">{"".join(parts)}</svg><p>{legend}</p>'


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _rate(value: float | None) -> str:
    if value is None:
        return "unknown"
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "
