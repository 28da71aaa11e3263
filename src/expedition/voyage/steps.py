"""W0 to W26 as a list: what happens in the programme, week by week, in commands that anybody can type.

Read it like the chapter. The main run meets a planted loss incident that a rule must catch, and a kill -9 that resume
must survive; the 1B run meets a kill drill; a burn-in meets a node that computes wrong results.
"""

from __future__ import annotations

from dataclasses import dataclass

from expedition.plan.models import Programme
from expedition.sampleworld import SOURCES
from expedition.voyage.step import Command, Phase, Step, call, start

GATE = (0, 1)
"""A gate exits 1 where a criterion fails; the voyage shows it in the table at the end instead of stopping there."""


SCOPE = "rehearsal"
"""Scope of the ledger's records: approvals of a rehearsal approve nothing else."""


POC_VERSION = "v0.1-poc"
"""The small data set of the proof of concept; named so that it holds the sources of v0.1."""


POC_SIZE = "smoke"
"""Size of that sample. A voyage of this size takes its fetched data for it."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a voyage sails on."""

    data_dir: str
    """Folder of raw files: the user's, or what has been fetched of the generated sample."""
    sample: tuple[str, int] | None
    """(size, seed) of the sample to generate into `outside_dir`; None for the user's own files."""
    poc_dir: str
    """Folder of the small known data set of the proof of concept."""
    seed: int
    """Seed of generated data."""
    outside_dir: str
    """Folder of the sample as the outside world, from which it is fetched; `data_dir` for the user's own files."""
    store_dir: str
    """Folder in which the local object store keeps its content."""

    @property
    def fetched(self) -> bool:
        """Whether raw files are fetched from services; the user's own lie there already."""
        return self.sample is not None


def voyage_steps(programme: Programme, course: Course) -> tuple[Step, ...]:
    """All steps in order of the programme's weeks."""
    return (
        *_design(course),
        *_data(course),
        *_rehearsal_1b(programme, course),
        *_main_run(programme, course),
        *_evaluation(course),
        *_release(course),
    )


def _gate(name: str) -> Command:
    return call("gate", name, expect=GATE)


def _build(folder: str, version: str, *more: str) -> Command:
    return call("data", "build", folder, "--version", version, *more, "--scope", SCOPE, "--skip-unapproved")


def _sample(folder: str, seed: int, size: str) -> Command:
    return Command(("sample", folder, "--seed", str(seed), "--size", size), bare=True)


def _design(course: Course) -> tuple[Step, ...]:
    raw, offered = [], []
    if course.poc_dir != course.data_dir:
        raw.append(_sample(course.poc_dir, course.seed, POC_SIZE))
        offered += ["--data", course.poc_dir]
    if course.sample is not None:
        size, seed = course.sample
        raw.append(_sample(course.outside_dir, seed, size))
    approve = ("voyage", "approve", *offered, "--data", course.outside_dir, "--into", course.data_dir)
    return (
        Step("raw-data", "design", "W0", "Raw files of all kinds exist in the outside world", tuple(raw)),
        Step(
            "approvals", "design", "W0–W3", "A written decision a source, before anything is used",
            (call(*approve),), ("compliance/ledger.jsonl",),
        ),
        *_acquisition(course, "acquire", "design", "W1–W3", wave=1),
        Step(
            "design", "design", "W0–W2", "Design document, schedule, cost, plan of the cluster",
            (
                call("programme", "document", "design"),
                call("programme", "gantt"),
                start("cluster", "plan"),
                start("voyage", "cost"),
            ),
            ("reports/design.md", "reports/gantt.svg", "reports/cost.md"),
        ),
        Step(
            "proof-of-concept", "design", "W1–W2", "Loader, router, FP8, repeatability: yes or no",
            (
                _build(course.poc_dir, POC_VERSION),
                start("train", "poc"),
            ),
            ("reports/poc.json",),
        ),
        Step("gate-W2", "design", "W2", "Gate: design freeze and proof of concept", (_gate("W2"),)),
    )  # fmt: skip


def _acquisition(course: Course, name: str, phase: Phase, weeks: str, wave: int) -> tuple[Step, ...]:
    """The approved sources of a wave come in; the one that was refused does not, whoever asks."""
    if not course.fetched:
        return ()
    title = "Sources come in: from web services that speak as Common Crawl, GitHub and YouTube do, and from folders"
    commands = []
    for card in SOURCES:
        if card.wave == wave:
            argv = ("data", "acquire", course.data_dir, "--source", card.name, "--scope", SCOPE)
            commands.append(call(*argv, expect=(0,) if card.approve else (5,)))
    serve = Command(("sample", "serve", course.outside_dir, "--data", course.data_dir), bare=True)
    return (Step(name, phase, weeks, title, tuple(commands), ("data/acquired",), (serve,)),)


def _delivery(course: Course, version: str, phase: Phase, weeks: str, *more: Command) -> Step:
    """A version goes to the object store and every byte of it is read back, twice."""
    store = Command(("voyage", "object-store", course.store_dir), bare=True)
    commands = (
        call("data", "push", version, "{place}"),
        call("data", "verify", version, "--at", "{place}"),
        call("data", "trace", version, "--token", "0"),
        *more,
    )
    title = f"Dataset {version} in the object store, read back; a token led back to its source"
    return Step(f"push-{version}", phase, weeks, title, commands, services=(store,))


def _data(course: Course) -> tuple[Step, ...]:
    return (
        Step("gate-W3", "data", "W3", "Gate: compliance of all sources", (_gate("W3"),)),
        Step(
            "dataset-v0.1", "data", "W3–W6", "Raw files → clean, deduplicated, tokenised, packed dataset v0.1",
            (_build(course.data_dir, "v0.1"),),
            ("data/dataset/v0.1/manifest.json",),
        ),
        _delivery(course, "v0.1", "data", "W5–W6"),
        Step(
            "data-quality", "data", "W5–W6", "What the pipeline found against the truth; loading and storage measured",
            (
                call("data", "quality", course.data_dir, "--version", "v0.1"),
                call("data", "bench-load", "--run", "1b"),
                call("data", "bench-storage", "v0.1"),
                call("watch", "page"),
            ),
            ("reports/data-quality.json", "reports/load-test.json", "watch/index.html"),
        ),
        Step("gate-W6", "data", "W6", "Gate: data MVP", (_gate("W6"),)),
    )  # fmt: skip


def _rehearsal_1b(programme: Programme, course: Course) -> tuple[Step, ...]:
    half = programme.runs["1b"].total_steps // 2
    return (
        Step(
            "burn-in", "pretrain-1b", "W6–W7", "Burn-in with a training-like load; the bad node is isolated",
            (call("cluster", "burnin", "--nodes", "4", "--plant", "local-3=wrong", expect=(0, 1)),),
            ("cluster/nodes",),
        ),
        Step(
            "dry-run-10b", "pretrain-1b", "W7–W8", "One rank's view of the 10B run on 256 GPUs, without a GPU",
            (start("train", "dryrun", "--model", "10b"),), ("reports/dryrun.json",),
        ),
        Step("gate-W8", "pretrain-1b", "W8", "Gate: compute stability", (_gate("W7"), _gate("W8"))),
        Step(
            "run-1b", "pretrain-1b", "W7–W10", "1B rehearsal run, killed half-way, restarted, finished",
            (start("voyage", "go-on", "--run", "1b", "--kill-after-step", str(half)),),
            ("runs/1b/summary.json", "reports/drill.json"),
        ),
        Step(
            "reports-1b", "pretrain-1b", "W9–W10", "Performance, first evaluation, launch manual",
            (
                start("train", "profile", "--run", "1b", "--steps", "4"),
                start("train", "performance", "--run", "1b"),
                start("evaluate", "run", "--run", "1b", "--data", course.data_dir, "--max-items", "48"),
                call("cluster", "goodput"),
                call("programme", "document", "launch-manual"),
            ),
            ("reports/performance.md", "reports/launch-manual.md"),
        ),
        Step("gate-W10", "pretrain-1b", "W10", "Gate: 1B end to end", (_gate("W10"),)),
    )  # fmt: skip


def _main_run(programme: Programme, course: Course) -> tuple[Step, ...]:
    run = programme.runs["main"]
    planted = max((fault.step + fault.steps for fault in run.inject), default=0)
    kill_at = planted + max((run.total_steps - planted) // 3, 1)
    paused = (3,) if run.inject else (0,)
    handle = (call("voyage", "handle-incident", "--run", "main"),) if run.inject else ()
    go_on = (start("voyage", "go-on", "--run", "main", "--kill-after-step", str(kill_at)),)
    return (
        Step(
            "war-room", "pretrain-10b", "W11", "Stop rules proven on curves with known outcomes; war room open",
            (
                call("watch", "replay", "--run", "main", expect=(0, 1)),
                start("cluster", "links", "--ranks", "4"),
                call("watch", "page"),
                _gate("W11"),
            ),
            ("reports/replay.json", "watch/index.html"),
        ),
        *_acquisition(course, "acquire-2", "pretrain-10b", "W9–W10", wave=2),
        Step(
            "dataset-v0.2", "pretrain-10b", "W10–W12", "Dataset v0.2 joins while the run is under way",
            (_build(course.data_dir, "v0.2", "--parent", "v0.1"),),
            ("data/dataset/v0.2/manifest.json",),
        ),
        _delivery(course, "v0.2", "pretrain-10b", "W12", call("data", "diff", "v0.1", "v0.2")),
        Step(
            "main-until-incident", "pretrain-10b", "W11–W12", "Main run; a planted loss incident is caught by a rule",
            (start("train", "run", "--run", "main", expect=paused),), ("incidents",),
        ),
        Step("incident", "pretrain-10b", "W12", "Incident handled: diagnosis, post-mortem, decision", handle),
        Step(
            "main-to-the-end", "pretrain-10b", "W12–W18", "Main run goes on, survives a kill -9, finishes",
            go_on, ("runs/main/summary.json",),
        ),
        Step(
            "nightly", "pretrain-10b", "W11–W18", "Every permanent checkpoint evaluated; war room; goodput",
            (
                start("evaluate", "nightly", "--run", "main", "--data", course.data_dir, "--max-items", "24"),
                call("cluster", "goodput"),
                call("watch", "page"),
            ),
            ("reports/nightly.json",),
        ),
        Step("gate-W18", "pretrain-10b", "W12, W18", "Gates: convergence, main run", (_gate("W12"), _gate("W18"))),
    )  # fmt: skip


def _evaluation(course: Course) -> tuple[Step, ...]:
    return (
        Step(
            "evaluation", "evaluate", "W19–W22", "Scores with intervals, red team, long context, cases, report",
            (start("evaluate", "all", "--run", "main", "--data", course.data_dir),),
            ("reports/evaluation.md", "reports/red-team.md", "reports/cases.json"),
        ),
        Step(
            "distillation", "evaluate", "W20–W22", "A student with and without its teacher",
            (start("train", "distill"),), ("reports/distillation.json",),
        ),
        Step("gate-W22", "evaluate", "W22", "Gate: evaluation", (_gate("W22"),)),
    )  # fmt: skip


def _release(course: Course) -> tuple[Step, ...]:
    return (
        Step(
            "release", "release", "W23–W25", "final-checkpoint-v1.0: weights, card, report, kit, signature",
            (start("release", "build", "--run", "main", "--data", course.data_dir),), ("release",),
        ),
        Step(
            "stranger", "release", "W26", "A stranger runs the kit and reproduces a number",
            (start("release", "stranger"),), ("reports/stranger.json",),
        ),
        Step(
            "landfall", "release", "W26", "Pages, goodput, and every gate",
            (call("cluster", "goodput"), _gate("all"), call("watch", "page")), ("gates.json", "watch/index.html"),
        ),
    )  # fmt: skip
