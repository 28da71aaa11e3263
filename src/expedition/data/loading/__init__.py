"""data.loading: dataset versions into batches, in an order that depends on recorded decisions and the step alone.

Why a room: which sequence a step trains on is arithmetic on a short list of segments; ranks, workers, caches and resume
cannot change it. It knows no torch and no model; it never rebuilds shards.
Verbs (all that other rooms may call):
    Loader(ws, programme, run)          .batch(step), .rank_batch(step, rank, world), .batches, .fingerprint
    add_segment(ws, programme, run, decision) -> Segment    other data or mix from a step on; segments.json and an event
    read_segments(ws, run)              what is on record
    make_batch(documents, tokenizer, media) -> Batch        prompts for evaluation, by the same code
    scan(ws, programme, plan)           a data set from front to end, kind by kind: held-out perplexity
    expand_document, collate            one document expanded; rows to a batch
    assign(costs, world, micro)         who works on what, by cost
    describe_step, describe_segments    what a step trains on, as plain values
    load_test, io_report, storage_need  rates of this machine; writes reports/load-test.json, reports/io.json
    Batch, Decision, LoadingConfig, MediaTokenIds, Row, ScanPlan, Segment    the nouns
Seams: TextTokenizer (data.tokenizer's, any object with encode and special); a cache tier is a `Store`.
Imports: errors, workspace, plan, data.records, data.compliance.  Imported by: train, evaluate, cli.
Reads / writes in the workspace: data/ (writes index/pack-*.npz), runs/<run>/segments.json, reports/.
Invariants: the union over ranks is the global batch [test_ranks_together_are_the_global_batch]; resume is exact
    [test_resume_is_a_number]; shares hold for every prefix [test_every_prefix_holds_every_share_to_within_one];
    no token is lost or doubled [test_an_epoch_holds_every_token_once]; other data is refused
    [test_other_data_is_refused].
Read in this order:
    permutation.py  mixture.py  order.py      index → kind, shard, sequence
    index.py  packing.py  packs.py            documents → sequences
    segments.py  version.py                   what is on record, and opening it
    cache.py  decode.py  media.py  mel.py     bytes → patches and frames
    tokens.py  positions.py  expand.py        stored document → what the model sees
    batch.py  assign.py  prefetch.py          rows → batches → ranks
    loader.py  scan.py  prompt.py  describe.py  rates.py    the verbs
Try: expedition loader show --step 0; pytest tests/data/loading
"""

from expedition.data.loading.assign import assign
from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.describe import describe_segments, describe_step
from expedition.data.loading.expand import expand_document
from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.data.loading.prompt import make_batch
from expedition.data.loading.rates import io_report, load_test, storage_need
from expedition.data.loading.scan import ScanPlan, scan
from expedition.data.loading.segments import Decision, Segment, add_segment, read_segments
from expedition.data.loading.tokens import MediaTokenIds

__all__ = [
    "Batch",
    "Decision",
    "Loader",
    "LoadingConfig",
    "MediaTokenIds",
    "Row",
    "ScanPlan",
    "Segment",
    "add_segment",
    "assign",
    "collate",
    "describe_segments",
    "describe_step",
    "expand_document",
    "io_report",
    "load_test",
    "make_batch",
    "read_segments",
    "scan",
    "storage_need",
]
