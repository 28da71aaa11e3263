"""stages: batches of documents in, cleaner batches out, with a reason for everything that was dropped or changed.

Why a room: what is good enough to train on is decided here, a rule at a time. Stages are pure functions on Arrow
batches: they read no file, no clock, no network, and know no engine.
Verbs (all that other rooms may call):
    standard_stages(plan, index) -> list[Stage]     the programme's stages, in order
    dedup_plan(table, rule) -> pa.Table             copies to drop, over all documents
    BenchmarkIndex.from_folder(folder) -> BenchmarkIndex    what decontamination looks for
    STAGES                                          name -> constructor
Seams: Stage (stage.py: a name, kinds, a call on a batch); two of many: Repair, Quality. A third: a frozen dataclass
in a file of its own and a row in catalogue.STAGES.
Imports: errors, plan, data.records.  Imported by: data (build), data.quality.
Reads / writes in the workspace: nothing.
Invariants: the number of U+FFFC is kept or the document dropped [test_inserts_are_kept_or_the_document_dropped]; same
batch, same result [test_stages_are_pure]; a second pass redacts nothing [test_redaction_is_idempotent].
Read in this order:
    stage.py            what a stage is
    document_map.py     the loop that document-wise stages share
    catalogue.py        the list
    repair.py           damaged text
    language/           which language
    text/               quality rules
    pii/                personal data
    toxicity/           abuse
    code/               licences, generated files, secrets
    image/              pictures
    video/              subtitles
    audio/              sound
    media_phash.py      the string by which copies of media are found
    driving/            six cameras
    synthetic.py        what generators leave
    decontaminate.py    benchmark leaks; benchmark_files.py reads the benchmarks
    dedup/              copies
Try: expedition data --help; pytest tests/data/stages
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.stages.catalogue import STAGES, standard_stages
    from expedition.data.stages.decontaminate import BenchmarkIndex
    from expedition.data.stages.dedup import dedup_plan

__all__ = ["STAGES", "BenchmarkIndex", "dedup_plan", "standard_stages"]

_HOMES = {
    "STAGES": "expedition.data.stages.catalogue",
    "standard_stages": "expedition.data.stages.catalogue",
    "BenchmarkIndex": "expedition.data.stages.decontaminate",
    "dedup_plan": "expedition.data.stages.dedup",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
