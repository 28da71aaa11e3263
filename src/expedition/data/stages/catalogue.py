"""The stages by the names that a programme file uses, and the list for each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from expedition.data.stages.audio import AudioChecks, SpeechLanguage
from expedition.data.stages.code import CodeFile, CodeLicence, CodeSecrets
from expedition.data.stages.decontaminate import BenchmarkIndex, Decontaminate
from expedition.data.stages.driving import DrivingClock
from expedition.data.stages.image import ImageFilter, Nsfw, NsfwPolicy, require_detector
from expedition.data.stages.language import Language
from expedition.data.stages.pii import Pii, PiiPolicy
from expedition.data.stages.repair import Repair
from expedition.data.stages.stage import Stage
from expedition.data.stages.synthetic import SyntheticChecks
from expedition.data.stages.text import LearnedScore, Limits, Quality, load_model
from expedition.data.stages.toxicity import Toxicity, ToxicityPolicy, resolve_classifier
from expedition.data.stages.video import VideoAlign
from expedition.errors import ProgrammeError
from expedition.plan.data import DataPlan


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What a stage's constructor may need besides its kinds."""

    plan: DataPlan
    index: BenchmarkIndex


def _pii(kinds: frozenset[str], setting: Setting) -> Stage:
    sources = setting.plan.sources
    actions = {name: source.pii for name, source in sources.items()}
    names = frozenset(name for name, source in sources.items() if source.pii_names)
    return Pii(kinds, PiiPolicy(by_source=actions, names=names))


def _language(kinds: frozenset[str], setting: Setting) -> Stage:
    plan = setting.plan.language
    allowed = None if plan.allowed is None else frozenset(plan.allowed)
    return Language(kinds, allowed, Path(plan.model) if plan.model else None)


def _quality(kinds: frozenset[str], setting: Setting) -> Stage:
    plan = setting.plan.quality
    limits = Limits.published() if plan.rules == "published" else Limits()
    learned = LearnedScore(load_model(Path(plan.model)), plan.min_score) if plan.model else None
    return Quality(kinds, limits, learned)


def _toxicity(kinds: frozenset[str], setting: Setting) -> Stage:
    thresholds = {name: source.toxicity_threshold for name, source in setting.plan.sources.items()}
    model = setting.plan.toxicity.model
    resolve_classifier(model)  # A plan that names a model which is not there is refused before any work.
    return Toxicity(kinds, ToxicityPolicy(by_source=thresholds, min_share=setting.plan.toxicity.min_share, model=model))


def _nsfw(kinds: frozenset[str], setting: Setting) -> Stage:
    require_detector()
    return Nsfw(kinds, NsfwPolicy(by_source={name: p.nsfw_threshold for name, p in setting.plan.sources.items()}))


def _spoken() -> SpeechLanguage | None:
    """The installed model of spoken language, the first by name: an entry point that is a function of samples, rate."""
    points = sorted(entry_points(group="expedition.speech_language"), key=lambda point: point.name)
    found: SpeechLanguage | None = points[0].load() if points else None
    return found


STAGES: Final[Mapping[str, Callable[[frozenset[str], Setting], Stage]]] = {
    # name                     what it does
    "repair": lambda kinds, setting: Repair(kinds),  # controls, bidi overrides, mojibake
    "language": _language,  # BCP-47 tag with confidence
    "quality": _quality,  # named rules for prose, learned score
    "code_licence": lambda kinds, setting: CodeLicence(kinds),  # permissive licences only
    "code_file": lambda kinds, setting: CodeFile(kinds),  # generated, minified, vendored
    "code_secrets": lambda kinds, setting: CodeSecrets(kinds),  # keys and passwords redacted
    "image_filter": lambda kinds, setting: ImageFilter(kinds),  # size, blank, caption; perceptual hash
    "nsfw": _nsfw,  # nakedness, by an optional detector
    "video_align": lambda kinds, setting: VideoAlign(kinds),  # subtitles against picture and sound
    "audio_checks": lambda kinds, setting: AudioChecks(kinds, speech_language=_spoken()),  # level, noise, speaking rate
    "driving_clock": lambda kinds, setting: DrivingClock(kinds),  # six cameras, one clock
    "synthetic_checks": lambda kinds, setting: SyntheticChecks(kinds),  # refusals, unfilled templates, who made it
    "toxicity": _toxicity,  # lexicon score, threshold by source
    "pii": _pii,  # drop, redact or keep by source
    "decontaminate": lambda kinds, setting: Decontaminate(setting.index),  # benchmark items
}
"""The stages that come with the package. The global ones (copies, lines of a site) need all documents at once and stand in
`dedup`."""

ENTRY_POINTS: Final = "expedition.stages"
"""Group of stages of other packages: name → a callable that makes the Stage from the kinds that name it."""


def stage_names() -> list[str]:
    """Every stage that a programme file may name: the package's in their order, then those of other packages, sorted."""
    return [*STAGES, *sorted({point.name for point in entry_points(group=ENTRY_POINTS)} - STAGES.keys())]


def make_stage(name: str, kinds: frozenset[str], setting: Setting) -> Stage:
    """The stage of this name. Raises ProgrammeError if another package's cannot be loaded or is none."""
    if name in STAGES:
        return STAGES[name](kinds, setting)
    point = next(point for point in entry_points(group=ENTRY_POINTS) if point.name == name)
    try:
        stage: Stage = point.load()(kinds)
    except Exception as error:  # another package's code: whatever it raises is its user's to know
        raise ProgrammeError(
            f"stage {name!r} of {point.value} cannot be made: {type(error).__name__}: {error}",
            where="data.stages",
            fix="mend or uninstall the package, or take the stage out of the programme",
        ) from error
    if (
        not callable(stage)
        or getattr(stage, "name", None) != name
        or not isinstance(getattr(stage, "kinds", None), frozenset)
    ):
        raise ProgrammeError(
            f"{point.value} is no stage: it needs a call on a batch, name {name!r} and a frozenset of kinds",
            where="data.stages",
            fix="docs/stages.md shows one of 20 lines",
        )
    return stage


def standard_stages(plan: DataPlan, index: BenchmarkIndex | None = None) -> list[Stage]:
    """The stages of all kinds as one list: each stage once, with the kinds that name it, in an order that keeps every
    kind's own.

    Raises ProgrammeError for an unknown name, or if two kinds name two stages in opposite orders.
    """
    setting = Setting(plan, index or BenchmarkIndex.from_items(()))
    stages: list[Stage] = []
    for name in stage_order({str(kind): names for kind, names in plan.stages.items()}):
        kinds = frozenset(str(kind) for kind, names in plan.stages.items() if name in names)
        stages.append(make_stage(name, kinds, setting))
    return stages


def stage_order(lists: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One order of all named stages that agrees with every list; ties go by the order of `stage_names`."""
    known_names = stage_names()
    for kind, names in lists.items():
        for name in names:
            if name not in known_names:
                known = ", ".join(known_names)
                raise ProgrammeError(f"{name!r} is no stage", where=f"data.stages.{kind}", fix=f"choose from: {known}")
    waiting = [name for name in known_names if any(name in names for names in lists.values())]
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
