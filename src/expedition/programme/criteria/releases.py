"""The release, its kit, and the stranger's test; the launch manual's commands."""

from __future__ import annotations

from expedition.programme.evidence import Changed, Measured, NoEvidence, Query, Reader
from expedition.workspace import layout

REPORT = layout.report("release")
STRANGER = layout.report("stranger")


def verified(reader: Reader) -> Measured:
    """Signature and class were checked when the release was built; the hashes of all its files are checked now."""
    report = reader.json(REPORT)
    folder = layout.release(reader.programme.release.version)
    files = reader.json(f"{folder}/manifest.json")["files"]
    matching, wrong = reader.verified(folder, files)
    if wrong:
        raise Changed(f"{wrong[0]} is not what the release's manifest says")
    good = bool(report["verified"]) and bool(report["loads_without_custom_code"])
    return Measured(good, f"{matching} files, logits differ by at most {report.get('logits_max_difference')}")


def model_card(reader: Reader) -> Measured:
    sections = reader.field(REPORT, "model_card")
    missing = [name for name, there in sections.items() if not there]
    return Measured(not missing, f"missing: {', '.join(missing)}" if missing else f"{len(sections)} sections")


def technical_report(reader: Reader) -> Measured:
    return Measured(bool(reader.field(REPORT, "technical_report")))


def kit_contents(reader: Reader) -> Measured:
    kit = reader.field(REPORT, "kit")
    missing = [name for name, there in kit.items() if not there]
    return Measured(not missing, f"missing: {', '.join(missing)}" if missing else f"{len(kit)} parts")


def first_inference(reader: Reader) -> Measured:
    return Measured(float(reader.field(STRANGER, "first_inference_s")) / 3600, str(reader.json(STRANGER).get("device")))


def metric_reproduced(reader: Reader) -> Measured:
    metric = reader.field(STRANGER, "metric")
    if not metric.get("ok"):
        if metric.get("reproduced") is None:
            raise NoEvidence("no metric could be reproduced from the kit")
        return Measured(float("inf"), f"{metric['name']}: {metric['reproduced']} instead of {metric['published']}")
    note = f"{metric['name']} {metric['reproduced']:.3f}, published {metric['published']:.3f}"
    return Measured(float(reader.field(STRANGER, "metric_s")) / 3600, note)


def launch_commands(reader: Reader) -> Measured:
    commands = reader.json(layout.report("launch-manual"))["commands"]
    if not commands:
        raise NoEvidence("the launch manual has no commands")
    good = sum(bool(command["ok"]) for command in commands)
    return Measured(100.0 * good / len(commands), f"{good} of {len(commands)} commands in dry form")


QUERIES: dict[str, Query] = {
    "release.verified": verified,
    "release.model_card": model_card,
    "release.report": technical_report,
    "release.kit_contents": kit_contents,
    "release.first_inference": first_inference,
    "release.metric_reproduced": metric_reproduced,
    "launch.manual_commands": launch_commands,
}
