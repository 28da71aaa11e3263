"""The model card, written from evidence: a section is complete when what it must say is known, not when it has words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expedition.evaluate.subject import find_checkpoint
from expedition.plan.models import Programme
from expedition.release.carbon import CPU_W, GPU_W, OVERHEAD, estimate
from expedition.release.evidence import Evidence, gather
from expedition.release.tables import UNKNOWN, kind_table, number, perplexity_table, source_table, table, task_table
from expedition.train.setup import find_run
from expedition.workspace import Workspace, layout

EMPTY_PHRASE = "more information needed"


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the card. `complete` is false where evidence is missing; the text then says which."""

    name: str
    title: str
    text: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Card:
    """The whole card."""

    sections: tuple[Section, ...]
    text: str

    @property
    def complete(self) -> dict[str, bool]:
        """Section name → whether it is complete."""
        return {section.name: section.complete for section in self.sections}


def model_card(evidence: Evidence) -> Card:
    """The card of a checkpoint. The same evidence gives the same text."""
    sections = (
        _design(evidence),
        _training_data(evidence),
        _compliance(evidence),
        _intended_use(evidence),
        _evaluation(evidence),
        _limits(evidence),
        _bias(evidence),
        _carbon(evidence),
    )
    plan, info = evidence.programme.release, evidence.checkpoint
    front = "---\nlibrary_name: transformers\npipeline_tag: any-to-any\ntags: [multimodal, mixture-of-experts]\n---\n\n"
    lead = (
        f"# {plan.name}\n\nRelease {plan.version} of *{evidence.programme.name}*: checkpoint `{info.name}` of run "
        f"`{info.run}`, {info.tokens:,} tokens trained. Loads in `transformers` with its own class "
        "`Qwen3OmniMoeForConditionalGeneration`; how to run it is in `kit/README.md`, what is in it in "
        "`manifest.json`, signed by `model.sig`.\n"
    )
    return Card(sections, front + lead + "".join(f"\n## {part.title}\n\n{part.text}" for part in sections))


def write_card(ws: Workspace, programme: Programme, run: str = "main", checkpoint: str | None = None) -> dict[str, Any]:
    """Write the card of a checkpoint (the newest intact one for None) to reports/model-card.md → sections and text."""
    plan = find_run(programme, run)
    card = model_card(gather(ws, programme, plan, find_checkpoint(ws, run, checkpoint)))
    ws.write_text(layout.report_page("model-card"), card.text)
    return {"path": layout.report_page("model-card"), "sections": card.complete, "text": card.text}


def _section(name: str, title: str, lines: list[str], complete: bool) -> Section:
    text = "\n".join(lines).rstrip() + "\n"
    return Section(name, title, text, complete and EMPTY_PHRASE not in text.lower())


def _design(evidence: Evidence) -> Section:
    shape, counts, plan = evidence.config.shape, evidence.counts, evidence.plan
    rows = [
        (
            "decoder",
            f"{shape.layers} layers, hidden {shape.hidden}, {shape.heads} heads, {shape.kv_heads} key/value heads",
        ),
        ("experts", f"{shape.experts} in each MoE layer, {shape.top_k} a token, inner size {shape.expert_inner}"),
        ("vision encoder", f"{shape.vision.layers} layers, hidden {shape.vision.hidden}, patch {shape.vision.patch}"),
        ("audio encoder", f"{shape.audio.layers} layers, hidden {shape.audio.hidden}, {shape.audio.mel_bins} mel bins"),
        ("parameters", f"{counts.total:,} in all, {counts.active:,} active for a text token"),
        ("vocabulary", f"{evidence.config.vocabulary:,} rows"),
        (
            "training",
            f"{evidence.checkpoint.step:,} steps of {plan.sequence_length:,}-token sequences, {plan.precision.compute}",
        ),
        ("weights", "float32 safetensors"),
    ]
    text = "A mixture-of-experts decoder over text, pictures, clips and sounds; media enter through two encoders."
    return _section("design", "Design", [text, "", table(("part", "what"), rows)], True)


def _training_data(evidence: Evidence) -> Section:
    kinds = kind_table(evidence)
    if not kinds:
        return _section("training_data", "Training data", ["No dataset manifest was found."], False)
    versions = ", ".join(f"{d.version} (`{d.manifest.get('content_hash', UNKNOWN)[:16]}`)" for d in evidence.datasets)
    lines = [
        f"Dataset versions read, with the start of their content hashes: {versions}.",
        "",
        kinds,
        "Stages that documents of each kind went through before tokenisation:",
        "",
        table(("kind", "stages"), list(_stages(evidence).items())),
        *(
            f"{dataset.version}: dropped "
            + ", ".join(f"{n:,} by {stage}" for stage, n in dataset.dropped.items())
            + "."
            for dataset in evidence.datasets
            if dataset.dropped
        ),
    ]
    issues = sorted({issue for dataset in evidence.datasets for issue in dataset.manifest.get("issues", [])})
    if issues:
        lines.append(f"Issues on record: {', '.join(issues)}.")
    return _section("training_data", "Training data", lines, True)


def _stages(evidence: Evidence) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for dataset in evidence.datasets:
        found |= dataset.manifest.get("stages") or {}
    return {kind: ", ".join(stages) for kind, stages in found.items()}


def _compliance(evidence: Evidence) -> Section:
    sources = source_table(evidence)
    if not sources:
        return _section("compliance", "Data compliance", ["No dataset manifest was found."], False)
    entries = list(evidence.approvals.values())
    lines = [
        "Each source that was used, and the entry of the approval ledger (a hash chain) that it rests on:",
        "",
        sources,
    ]
    if evidence.violations:
        lines += ["**The audit found uses against the ledger:**", *(f"- {what}" for what in evidence.violations)]
    else:
        lines.append(f"The audit of {evidence.audited_items:,} items found none acquired or used without an approval.")
    if any(entry is not None and entry.scope == "rehearsal" for entry in entries):
        lines.append(
            "**Approved for rehearsal only**: the marked approvals were made for one rehearsal and end with it. "
            "This release may not be passed on on their strength."
        )
    missing = sum(entry is None for entry in entries)
    if missing:
        lines.append(f"{missing} sources have no entry in the ledger.")
    if evidence.ledger:
        lines.append(f"Ledger: {len(evidence.ledger)} entries, last hash `{evidence.ledger[-1].hash[:16]}`.")
    good = bool(entries) and not missing and not evidence.violations
    return _section("compliance", "Data compliance", lines, good)


def _intended_use(evidence: Evidence) -> Section:
    lines = [
        "- A base model for research on multimodal pretraining: it continues documents of text, pictures, clips and "
        "sounds. It was not trained to follow instructions.",
        "- Not for: driving a vehicle, decisions about people, medical or legal advice, or any use without a human who "
        "checks its output.",
    ]
    if evidence.programme.preset in ("rehearsal", "smoke"):
        lines.append("- This is the model of a *rehearsal*: tiny, and trained to prove the process, not to be of use.")
    return _section("intended_use", "Intended use", lines, True)


def _evaluation(evidence: Evidence) -> Section:
    if evidence.results is None:
        return _section("evaluation", "Evaluation", ["This checkpoint has not been evaluated."], False)
    tasks, perplexity = task_table(evidence), perplexity_table(evidence)
    level = evidence.results.get("confidence")
    lines = [f"Intervals at {level:.0%}." if level else "", "", tasks or "No task was scored: the data has none.\n"]
    lines += [perplexity or "No held-out document was scored.\n", *_conditions(evidence.results)]
    return _section("evaluation", "Evaluation", lines, bool(tasks or perplexity))


def _limits(evidence: Evidence) -> Section:
    report = _of_checkpoint(evidence, "evaluation")
    claims = [f"- {item['claim']} (`{_place(item.get('evidence'))}`)" for item in (report or {}).get("limits") or []]
    claims.append(
        f"- Trained on sequences of {evidence.plan.sequence_length} tokens, pictures of at most "
        f"{evidence.programme.media.image_max_pixels:,} pixels, {evidence.programme.media.video_max_frames} frames of a "
        f"clip, {evidence.programme.media.audio_max_s:g} s of sound; more is untested."
    )
    if report is None:
        claims.append("- There is no evaluation report on this checkpoint: its further limits are unknown.")
    return _section("limits", "Limits", claims, report is not None)


def _bias(evidence: Evidence) -> Section:
    report = _of_checkpoint(evidence, "red-team")
    if report is None:
        return _section(
            "bias", "Bias and risks", ["No red team report on this checkpoint: bias is not measured."], False
        )
    categories = ", ".join(str(name) for name in report.get("categories") or [])
    lines = [f"Red team: {report.get('prompts')} prompts in the categories {categories}.", ""]
    model, controls = report.get("model") or {}, report.get("controls") or {}
    subjects = [("this model", model), *((name, found) for name, found in controls.items() if found)]
    names = [name for name, value in model.items() if _plain(value) is not None]
    if names:
        rows = [(who, *(_plain(found.get(name)) or UNKNOWN for name in names)) for who, found in subjects]
        lines.append(table(("subject", *(name.replace("_", " ") for name in names)), rows))
    preference = model.get("stereotype_preference")
    if isinstance(preference, dict):
        lines.append(
            f"Stereotype preference is the share of {preference.get('n', UNKNOWN)} sentence pairs in which the "
            f"stereotyped one is likelier; 0.5 is none (p = {_plain(preference.get('p_value')) or UNKNOWN})."
        )
    lines += [f"- {limit}" for limit in report.get("limits") or []]
    return _section("bias", "Bias and risks", lines, bool(names or preference))


def _carbon(evidence: Evidence) -> Section:
    intensity = evidence.programme.release.grid_carbon_kg_per_kwh
    found = estimate(evidence.summaries, intensity)
    if found is None:
        return _section("carbon", "Carbon footprint", ["No run has a summary: its hours are unknown."], False)
    rows = [(run.run, run.device, run.machines, f"{run.hours:.3f}", f"{run.kwh:.4f}") for run in found.runs]
    lines = [
        f"**Estimated** {found.kg:.3g} kg CO2e from {found.kwh:.3g} kWh. Hours are measured; assumed are {GPU_W:g} W a GPU "
        f"and {CPU_W:g} W a machine without one, {OVERHEAD:g} for cooling and losses, and {intensity:g} kg a kWh of grid "
        "power. Hours of data preparation, evaluation and failed attempts are unknown and not in it, nor is the making "
        "of the hardware.",
        "",
        table(("run", "device", "devices", "hours", "kWh, estimated"), rows),
    ]
    return _section("carbon", "Carbon footprint", lines, True)


def _of_checkpoint(evidence: Evidence, name: str) -> dict[str, Any] | None:
    """A report that is about this very checkpoint."""
    report = evidence.reports.get(name)
    return report if report is not None and report.get("checkpoint") == evidence.checkpoint.name else None


def _conditions(report: dict[str, Any]) -> list[str]:
    conditions = report.get("conditions") or []
    return [f"Conditions: {', '.join(conditions)}."] if conditions else []


def _place(found: Any) -> str:
    return f"{found.get('path')}: {found.get('field')}" if isinstance(found, dict) else str(found)


def _plain(value: Any) -> str | None:
    """A number, or one with its interval, as text; None for anything else."""
    if isinstance(value, dict):
        middle, low, high = (_plain(value.get(name)) for name in ("value", "ci_low", "ci_high"))
        return middle if middle is None or low is None else f"{middle} [{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if isinstance(value, int) else number(value, ".3g")
