"""The stages by the names that a programme file uses, and the list for each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from expedition.data.stages.audio import AudioChecks
from expedition.data.stages.code import CodeFile, CodeLicence, CodeSecrets
from expedition.data.stages.decontaminate import BenchmarkIndex, Decontaminate
from expedition.data.stages.driving import DrivingClock
from expedition.data.stages.image import ImageFilter
from expedition.data.stages.language import Language
from expedition.data.stages.pii import Pii, PiiPolicy
from expedition.data.stages.repair import Repair
from expedition.data.stages.stage import Stage
from expedition.data.stages.text import Quality
from expedition.data.stages.toxicity import Toxicity, ToxicityPolicy
from expedition.data.stages.video import VideoAlign
from expedition.errors import ProgrammeError
from expedition.plan.data import DataPlan


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What a stage's constructor may need besides its kinds."""

    plan: DataPlan
    index: BenchmarkIndex


def _pii(kinds: frozenset[str], setting: Setting) -> Stage:
    return Pii(kinds, PiiPolicy(by_source={name: source.pii for name, source in setting.plan.sources.items()}))


def _toxicity(kinds: frozenset[str], setting: Setting) -> Stage:
    thresholds = {name: source.toxicity_threshold for name, source in setting.plan.sources.items()}
    return Toxicity(kinds, ToxicityPolicy(by_source=thresholds))


STAGES: Final[Mapping[str, Callable[[frozenset[str], Setting], Stage]]] = {
    # name                     what it does
    "repair": lambda kinds, setting: Repair(kinds),  # controls, bidi overrides, mojibake
    "language": lambda kinds, setting: Language(kinds),  # BCP-47 tag with confidence
    "quality": lambda kinds, setting: Quality(kinds),  # named rules for prose
    "code_licence": lambda kinds, setting: CodeLicence(kinds),  # permissive licences only
    "code_file": lambda kinds, setting: CodeFile(kinds),  # generated, minified, vendored
    "code_secrets": lambda kinds, setting: CodeSecrets(kinds),  # keys and passwords redacted
    "image_filter": lambda kinds, setting: ImageFilter(kinds),  # size, blank, caption; perceptual hash
    "video_align": lambda kinds, setting: VideoAlign(kinds),  # subtitles against picture and sound
    "audio_checks": lambda kinds, setting: AudioChecks(kinds),  # level, noise, speaking rate
    "driving_clock": lambda kinds, setting: DrivingClock(kinds),  # six cameras, one clock
    "toxicity": _toxicity,  # lexicon score, threshold by source
    "pii": _pii,  # drop, redact or keep by source
    "decontaminate": lambda kinds, setting: Decontaminate(setting.index),  # benchmark items
}
"""Every stage that a programme file may name. The two global stages, exact and near deduplication, need all
documents at once and stand in `dedup`."""


def standard_stages(plan: DataPlan, index: BenchmarkIndex | None = None) -> list[Stage]:
    """The stages of all kinds as one list: each stage once, with the kinds that name it, in an order that keeps every
    kind's own.

    Raises ProgrammeError for an unknown name, or if two kinds name two stages in opposite orders.
    """
    setting = Setting(plan, index or BenchmarkIndex.from_items(()))
    stages: list[Stage] = []
    for name in stage_order({str(kind): names for kind, names in plan.stages.items()}):
        kinds = frozenset(str(kind) for kind, names in plan.stages.items() if name in names)
        stages.append(STAGES[name](kinds, setting))
    return stages


def stage_order(lists: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One order of all named stages that agrees with every list; ties go by the catalogue's order."""
    for kind, names in lists.items():
        for name in names:
            if name not in STAGES:
                known = ", ".join(STAGES)
                raise ProgrammeError(f"{name!r} is no stage", where=f"data.stages.{kind}", fix=f"choose from: {known}")
    waiting = [name for name in STAGES if any(name in names for names in lists.values())]
    ordered: list[str] = []
    while waiting:
        free = [name for name in waiting if not _preceded(name, waiting, lists)]
        if not free:
            raise ProgrammeError(
                f"the kinds order these stages in opposite ways: {', '.join(waiting)}",
                where="data.stages",
                fix="write them in the same order for every kind",
            )
        ordered.append(free[0])
        waiting.remove(free[0])
    return ordered


def _preceded(name: str, waiting: list[str], lists: Mapping[str, tuple[str, ...]]) -> bool:
    before = {earlier for names in lists.values() if name in names for earlier in names[: names.index(name)]}
    return not before.isdisjoint(waiting)
