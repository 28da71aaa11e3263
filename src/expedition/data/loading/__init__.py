"""data.loading: dataset versions into batches, in an order that depends on recorded decisions and the step alone.

Why a room: which sequence a step trains on is arithmetic on a short list of segments; ranks, workers, caches and resume
cannot change it. It knows no torch and no model; it never rebuilds shards.
Verbs (all that other rooms may call):
    Loader(ws, programme, run)          .batch(step), .rank_batch(step, rank, world), .batches, .fingerprint
    StatefulLoader(workspace, run, rank, world)     the same by PyTorch's conventions: state_dict, torch_dataset()
    ShardSamples.of_tars(folder)        members of shards by global number, one pread each; block shuffle
    VideoDecoder                        clips to frames in a process of its own
    add_segment(ws, programme, run, decision) -> Segment    other data or mix from a step on; segments.json and an event
    read_segments(ws, run)              what is on record
    make_batch(documents, tokenizer, media) -> Batch        prompts for evaluation, by the same code
    scan(ws, programme, plan)           a data set from front to end, kind by kind: held-out perplexity
    expand_document, collate            one document expanded; rows to a batch
    assign(costs, world, micro), balance    who works on what, by cost; how even that is
    describe_step, describe_segments    what a step trains on, and the decisions on record, as plain values
    explain_order(ws, programme, run, step, index)    why a sample is where it is, in words and values
    describe_mix(ws, programme, version, run)         planned, scaled and achieved shares; what cannot be
    load_test(ws, programme, LoadTest), io_report, storage_need    rates of this machine; reports/load-test.json, io.json
    Batch, CostWeights, Decision, LoadTest, LoadingConfig, MediaTokenIds, Row, ScanPlan, Segment    the nouns
Seams: TextTokenizer (data.tokenizer's, any object with encode and special); decode none, ours or a caller's on `ShardSamples`.
Imports: errors, workspace, plan, data.records, data.compliance.  Imported by: train, evaluate, cli.
Reads / writes in the workspace: data/ (writes index/documents-*, index/pack-*: derived, deletable),
    runs/<run>/segments.json, reports/.
Invariants: the union over ranks is the global batch [test_ranks_together_are_the_global_batch]; resume is exact
    [test_resume_is_a_number]; shares hold for every prefix [test_every_prefix_holds_every_share_to_within_one];
    a pass holds every sequence once [test_each_epoch_holds_every_sequence_once]; the order of runs on record stays
    [test_order_of_runs_on_record_never_changes]; a cap is honoured [test_caps_are_honoured_by_the_order];
    no token is lost or doubled [test_an_epoch_holds_every_token_once]; other data is refused
    [test_other_data_is_refused];
    a damaged sample has the same substitute everywhere [test_damaged_sample_has_one_substitute_at_every_world_size];
    the cache never gives a cut-off or wrong shard [test_wrong_bytes_from_the_store_never_enter].
Read in this order:
    permutation.py  mixture.py  order.py      index → kind, shard, sequence
    flat.py  ranged.py  derived.py            columns in mapped files, made a part at a time
    index.py  sentences.py  weights.py  packing.py  packs.py    documents → sequences
    segments.py  version.py                   what is on record, and opening it
    tier.py  cache.py  forecast.py  samples.py    object store → local disk → bytes
    decode.py  media.py  mel.py  isolated.py  damage.py    bytes → patches and frames, or a substitute
    tokens.py  positions.py  expand.py  answers.py    stored document → what the model sees and learns
    batch.py  assign.py  pinned.py            rows → batches → ranks
    shared.py  prefetch.py                    made ahead, in threads or processes
    loader.py  stateful.py  scan.py  prompt.py  describe.py  explain.py  mix.py  account.py  rates.py  storage.py    the verbs
Try: expedition data order explain --step 0; pytest tests/data/loading
"""

from expedition.data.loading.assign import CostWeights, assign, balance
from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.describe import describe_segments, describe_step
from expedition.data.loading.expand import expand_document
from expedition.data.loading.explain import explain_order
from expedition.data.loading.isolated import VideoDecoder
from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.data.loading.mix import describe_mix
from expedition.data.loading.prompt import make_batch
from expedition.data.loading.rates import LoadTest, load_test
from expedition.data.loading.samples import ShardSamples
from expedition.data.loading.scan import ScanPlan, scan
from expedition.data.loading.segments import Decision, Segment, add_segment, read_segments
from expedition.data.loading.stateful import StatefulLoader
from expedition.data.loading.storage import io_report, storage_need
from expedition.data.loading.tokens import MediaTokenIds

__all__ = [
    "Batch",
    "CostWeights",
    "Decision",
    "LoadTest",
    "Loader",
    "LoadingConfig",
    "MediaTokenIds",
    "Row",
    "ScanPlan",
    "Segment",
    "ShardSamples",
    "StatefulLoader",
    "VideoDecoder",
    "add_segment",
    "assign",
    "balance",
    "collate",
    "describe_mix",
    "describe_segments",
    "describe_step",
    "expand_document",
    "explain_order",
    "io_report",
    "load_test",
    "make_batch",
    "read_segments",
    "scan",
    "storage_need",
]
