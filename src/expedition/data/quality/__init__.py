"""quality: what a build found, compared with what was planted and with labelled sets; and what a workspace holds, told.

Why a room: detectors are judged here, by truth that they never see: no stage imports anything of this room.
Verbs (all that other rooms may call):
    compare_with_truth(truth, seen, data_dir) -> dict    recall and precision of each kind of planted thing; pure
    labelled_report(folder) -> dict         detectors on labelled sets: PII, duplicates, languages, toxicity
    quality_report(truth, seen, labelled_dir, data_dir) -> dict    both; pure
    Kept, Gone, Seen                        the nouns
Seams: a labelled set is a function folder -> figures in `labelled.py`; a panel is a row in panels/catalogue.py.
Imports: errors, data.stages; panels/ more (its card).  Imported by: data.versions.judge, watch (panels).
Reads / writes in the workspace: nothing; panels/ reads.
Invariants: a perfect build scores 1 and an empty one 0 [test_perfect_build_scores_one]; figures without evidence are
None [test_absent_sets_are_none].
Read in this order:
    figures.py      recall and precision
    seen.py         what a build kept, dropped and refused
    copies.py       copies that nobody planted
    truth.py        planted things
    labelled.py     labelled sets
    report.py       both in one
    panels/         the tables that pages and reports share
Try: pytest tests/data/quality
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.quality.labelled import labelled_report
    from expedition.data.quality.report import quality_report
    from expedition.data.quality.seen import Gone, Kept, Seen
    from expedition.data.quality.truth import compare_with_truth

__all__ = [
    "Gone",
    "Kept",
    "Seen",
    "compare_with_truth",
    "labelled_report",
    "quality_report",
]

_HOMES = {
    "Gone": "seen",
    "Kept": "seen",
    "Seen": "seen",
    "compare_with_truth": "truth",
    "labelled_report": "labelled",
    "quality_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
