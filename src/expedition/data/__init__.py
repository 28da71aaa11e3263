"""data: raw files of seven kinds into immutable, approved dataset versions, and those into batches.

Why a room: what may be trained on, and in which order, is decided here, by functions of content, seed and ledger
alone. It knows no model and no trainer, and imports no torch.
Verbs (all that other rooms may call):
    build(ws, programme, data_dir, version) -> dict     idempotent, a shard at a time; writes data/dataset/<version>/
    status(ws, programme) -> dict                       versions, builds under way, planned against achieved shares
    judge(ws, version, data_dir, …) -> dict             truth, labelled sets, all panels; reports/data-quality.json, .md
    write_similar_pairs(source, out) -> dict            near copies among documents of one file; writes `out`
    acquire_folder(ws, data_dir, source) -> dict        register what comes in, under an approval
    trace_token, trace_document, trace_source, trace_step   back to raw bytes, with every decision on the way
Seams: Source (sources), Stage (stages), Engine (engine), Encoder (tokenizer); each room's card says how to add one.
Imports: errors, workspace, plan.  Imported by: cli, train (loading, tokenizer), evaluate, voyage.
Reads / writes in the workspace: compliance/, data/, reports/data-issues.json, reports/data-quality.{json,md}.
Invariants: a killed build resumes to the same bytes [test_killed_build_resumes_to_the_same_bytes], ten times
    too [test_ten_random_kills_end_in_the_same_hashes]; bytes do not depend on workers
    [test_build_does_not_depend_on_workers] or engine [test_ray_build_that_loses_a_node_has_the_same_hashes]; nothing
    without approval gets in [test_unapproved_source_stops_the_build]; a data import loads no torch
    [test_building_imports_no_torch].
Read in this order:
    records.py       what a raw item and a document are
    compliance/      decisions about sources, and the gate
    connectors/      files from outside, into a data folder
    sources/         what is there
    decode/          one file of any format → pieces
    extract/         a web page → its main text
    stages/          cleaning, a rule at a time
    engine/          where work runs
    tokenizer/       text → ids
    versions/        documents → an immutable version
    under_way.py     what a build says of itself while it runs
    builder.py       the list that joins them
    compiled.py  loaded.py    kernels over bytes and characters: compiled, or plain Python; loading ahead
    trace.py         the same way back
    similar_pairs.py near copies of a file of documents, pair by pair
    loading/         versions → batches
    quality/         detectors against truth
Try: expedition data --help; pytest tests/data
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.builder import acquire_folder, build, status
    from expedition.data.similar_pairs import write_similar_pairs
    from expedition.data.trace import trace_document, trace_source, trace_step, trace_token
    from expedition.data.versions.judge import judge

__all__ = [
    "acquire_folder",
    "build",
    "judge",
    "status",
    "trace_document",
    "trace_source",
    "trace_step",
    "trace_token",
    "write_similar_pairs",
]

_HOMES = {
    "acquire_folder": "expedition.data.builder",
    "build": "expedition.data.builder",
    "judge": "expedition.data.versions.judge",
    "status": "expedition.data.builder",
    "trace_document": "expedition.data.trace",
    "trace_source": "expedition.data.trace",
    "trace_step": "expedition.data.trace",
    "trace_token": "expedition.data.trace",
    "write_similar_pairs": "expedition.data.similar_pairs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
