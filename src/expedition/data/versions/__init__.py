"""data.versions: clean documents into an immutable, content-hashed version, and every question about one answered.

Why a room: a version is a function of its documents, tokenizer and seed; shards, index and hashes are the same bytes
whatever the machine, and nothing in a finished version is ever written again.
Verbs (all that other rooms may call):
    assemble(prepared, work, workdir, limits) -> outcomes     tokenise and write shards; restartable
    seal(ws, lease, build, plan, outcomes, workdir)           publish; writes data/<dataset>/<version>/, manifest last
    plan_shards(bytes_by_kind, …) -> ShardPlan                which shard a document goes to
    read_manifest(ws, version), versions(ws)                  what is there
    verify(ws, version), examine_version(version, ws, at)     hash it all again, here or in a copy; all faults listed
    push_version(ws, version, place), pull_version(…)         copies that are seen whole or not at all; resumable
    export_version(ws, version, folder, format)               TFRecord, WebDataset, Parquet; resumable
    of_token, of_documents, of_source                         lineage, from a token back to its item
    difference(ws, old, new, mix), shares(mix, manifest)      versions compared; planned against achieved
    add_issue, plan_issue, close_issue, list_issues, record_findings   known flaws, and the version that fixes each
    Build, Prepared, Provenance, ShardPlan, Tokenise          the nouns
    HELDOUT                                                   the data set that training never sees
Imports: errors, workspace, plan, the other rooms of data but loading.  Imported by: data.builder, cli.
Reads / writes in the workspace: data/<dataset>/<version>/, data/signatures/, keys/, reports/data-issues.json,
    reports/decontamination.json.
Invariants: offsets in the index lead to the payloads [test_index_offsets_lead_to_the_payloads]; bytes do not depend on
    workers [test_bytes_do_not_depend_on_workers_or_input_files]; a changed byte is noticed
    [test_verify_notices_one_changed_byte]; a reader of a push sees all or nothing [test_killed_push_goes_on].
Read in this order:
    approved.py                          sources, approvals, acquisition
    prepare.py, clean.py, tally.py       decode and clean; code.py names the code that did it
    decisions.py                         what each stage changed in a document
    prints.py, repeats.py, copies.py     fingerprints by file; which documents are copies; where that stands
    pairs.py, compare.py, compare_media.py, components.py    the same by exchange: pairs of copies, what they join
    site_lines.py                        lines that repeat over a site
    caps.py, synthetic_share.py, vocabulary.py    caps of approvals and of the mix; the tokenizer
    plan.py, rows.py                     document → shard, document → tokens
    tar.py, shards.py, assemble.py       deterministic ustar, its members, tokenise → exchange → publish
    index.py, dropped.py                 tables of what is in and of what is not, by parts
    manifest.py, seal.py                 what a version is made of, the manifest last
    sign.py, verification.py             who vouches for it; everything hashed again
    push.py                              to another place and back
    tfrecord.py, export.py, croissant.py what other people's tools read
    lineage.py, difference.py, mixture.py, issues.py, judge.py, leaks.py
Try: expedition data show; pytest tests/data/versions
"""

from expedition.data.versions.assemble import Prepared, Tokenise, assemble
from expedition.data.versions.difference import difference
from expedition.data.versions.export import export_version
from expedition.data.versions.index import Provenance
from expedition.data.versions.issues import add_issue, close_issue, list_issues, plan_issue, record_findings
from expedition.data.versions.lineage import of_documents, of_source, of_token
from expedition.data.versions.manifest import read_manifest, versions
from expedition.data.versions.mixture import shares
from expedition.data.versions.plan import HELDOUT, ShardPlan, plan_shards
from expedition.data.versions.push import pull_version, push_version
from expedition.data.versions.seal import Build, seal
from expedition.data.versions.verification import examine_version, verify

__all__ = [
    "HELDOUT",
    "Build",
    "Prepared",
    "Provenance",
    "ShardPlan",
    "Tokenise",
    "add_issue",
    "assemble",
    "close_issue",
    "difference",
    "examine_version",
    "export_version",
    "list_issues",
    "of_documents",
    "of_source",
    "of_token",
    "plan_issue",
    "plan_shards",
    "pull_version",
    "push_version",
    "read_manifest",
    "record_findings",
    "seal",
    "shares",
    "verify",
    "versions",
]
