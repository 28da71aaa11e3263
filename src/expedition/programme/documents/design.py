"""The Technical Design Document, printed from the programme file that runs the jobs."""

from __future__ import annotations

from typing import Any

from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

SCHEMA = "reports.design/1"


def write_design(ws: Workspace, programme: Programme) -> dict[str, Any]:
    """Write reports/design.md and its twin; returns the twin. The same programme gives the same text."""
    sections = {
        "mix": _mix(programme),
        "tokenizer": _tokenizer(programme),
        "shapes": _shapes(programme),
        "parallel": _parallel(programme),
        "fp8": _fp8(programme),
    }
    text = f"# {programme.name}: Technical Design Document V1.0\n\n"
    text += f"Printed from the programme file (preset `{programme.preset}`); changes are made there.\n\n"
    text += "\n".join(sections.values()) + "\n" + _rules(programme)
    ws.write_text(layout.report_page("design"), text)
    twin: dict[str, Any] = {
        "sections": {name: bool(body.strip()) for name, body in sections.items()},
        "mix_tokens_total": sum(share.tokens for share in programme.data.mix.shares),
        "conditions": [],
    }
    ws.write_json(layout.report("design"), twin, schema=SCHEMA)
    return twin


def _mix(programme: Programme) -> str:
    mix = programme.data.mix
    lines = [f"## 1. Data mix {mix.version}", "", "| kind | what | tokens | share |", "|---|---|---:|---:|"]
    for share in mix.shares:
        part = share.tokens / mix.total_tokens
        lines.append(f"| {share.kind} | {share.description} | {share.tokens / 1e12:g}T | {part:.1%} |")
    lines.append(f"| all | | {mix.total_tokens / 1e12:g}T | 100 % |")
    lines += [
        "",
        f"Driving data is {mix.driving_share_of_video:.0%} of the video-text tokens.",
        "",
        "Stages by kind:",
        "",
    ]
    lines += [f"- **{kind}**: {' → '.join(stages)}" for kind, stages in programme.data.stages.items()]
    return "\n".join(lines) + "\n"


def _tokenizer(programme: Programme) -> str:
    plan = programme.data.tokenizer
    compact = (
        f" A compact variant of at most {plan.compact_entries:,} entries is used here." if plan.compact_entries else ""
    )
    return (
        "## 2. Tokenizer\n\n"
        f"Base vocabulary `{plan.base}`, {plan.base_size:,} entries; its own added tokens up to {plan.added_from - 1:,}. "
        f"Our special tokens begin at {plan.added_from:,} (image, video, audio, six cameras, IPA spans, trajectory, "
        f"{plan.action_bins} action bins); the table has {plan.padded_size:,} rows.{compact}\n"
    )


def _shapes(programme: Programme) -> str:
    head = (
        "| model | hidden | layers | heads / KV | experts | top-k | expert width |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    rows = [
        f"| {name} | {shape.hidden} | {shape.layers} | {shape.heads} / {shape.kv_heads} of {shape.head_dim} | "
        f"{shape.experts} | {shape.top_k} | {shape.expert_inner} |"
        for name, shape in programme.models.items()
    ]
    routing = (
        "Routing: softmax over the experts, normalised top-k, load-balance loss over the global batch, router z-loss; "
        "no router bias, so the export is exact."
    )
    return "## 3. Model structure\n\n" + "\n".join([head, *rows]) + f"\n\n{routing}\n"


def _parallel(programme: Programme) -> str:
    cluster = programme.cluster
    lines = [
        "## 4. Parallel strategy",
        "",
        f"Cluster: {cluster.gpus} × {cluster.gpu}, {cluster.gpus_per_node} a node; "
        f"{cluster.links.intra_node_bytes_per_s / 1e9:g} GB/s inside a node, "
        f"{cluster.links.inter_node_bytes_per_s / 1e9:g} GB/s between nodes (a GPU, one direction).",
        "",
        "| run | model | replicate × shard | TP | CP | PP | EP | batch tokens | sequence |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, run in programme.runs.items():
        mesh = run.parallel
        batch = run.batch_tokens_at(run.total_steps - 1)
        lines.append(
            f"| {name} | {run.model} | {mesh.dp_replicate} × {mesh.dp_shard} | {mesh.tp} | {mesh.cp} | {mesh.pp} | "
            f"{mesh.ep} | {batch:,} | {run.sequence_length:,} |"
        )
    lines += ["", "Sharding stays inside a node (NVLink); replicas talk between nodes once a step."]
    return "\n".join(lines) + "\n"


def _fp8(programme: Programme) -> str:
    lines = [
        "## 5. FP8 policy",
        "",
        "| run | compute | FP8 modules | recipe | forward | gradient |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in programme.runs.items():
        fp8 = run.precision.fp8
        modules = ", ".join(f"`{module}`" for module in fp8.modules) or "none"
        lines.append(
            f"| {name} | {run.precision.compute} | {modules} | {fp8.recipe} | {fp8.forward} | {fp8.gradient} |"
        )
    lines += ["", "Master weights and optimiser states are fp32. Products run through torch's scaled matrix products;"]
    lines += ["TransformerEngine stays an optional second."]
    return "\n".join(lines) + "\n"


def _rules(programme: Programme) -> str:
    rules = programme.rules
    rise = f"{rules.rise.span.value:g} {rules.rise.span.unit}" if rules.rise else "not armed"
    flat = f"{rules.plateau.span.value:g} {rules.plateau.span.unit}" if rules.plateau else "not armed"
    return (
        "## 6. Stop rules and checkpoints\n\n"
        f"Loss rising for {rise}, flat for {flat}, non-finite, spikes, expert imbalance: the run pauses and an incident opens. "
        f"Permanent checkpoints of the main run every {programme.runs['main'].checkpoint.permanent_every}.\n"
    )
