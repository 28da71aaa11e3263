"""data.versions: clean documents into an immutable, content-hashed version, and every question about one answered.

Why a room: a version is a function of its documents, tokenizer and seed; shards, index and hashes are the same bytes
whatever the machine, and nothing in a finished version is ever written again.
Verbs (all that other rooms may call):
    assemble(prepared, work, workdir, limits) -> outcomes     tokenise and write shards; restartable
    seal(ws, lease, build, plan, outcomes, workdir)           publish; writes data/<dataset>/<version>/, manifest last
    plan_shards(bytes_by_kind, …) -> ShardPlan                which shard a document goes to
    read_manifest(ws, version), versions(ws), verify(ws, version)   what is there; hash it all again
    of_token, of_document, of_source                          lineage, from a token back to its item
    difference(ws, old, new), shares(mix, manifest)           versions compared; planned against achieved
    list_issues, open_issue, change_issue, record_findings    known flaws and the version that fixes each
    Build, Prepared, Provenance, ShardPlan, Tokenise          the nouns
    HELDOUT                                                   the data set that training never sees
Imports: errors, workspace, plan, the other rooms of data but loading.  Imported by: data.build, cli.
Reads / writes in the workspace: data/<dataset>/<version>/, reports/data-issues.json.
Invariants: offsets in the index lead to the payloads [test_index_offsets_lead_to_the_payloads]; bytes do not depend on
    workers [test_bytes_do_not_depend_on_workers_or_input_files]; a changed byte is noticed
    [test_verify_notices_one_changed_byte].
Read in this order:
    approved.py                          sources, approvals, acquisition
    prepare.py, clean.py, tally.py       decode and clean; code.py names the code that did it
    repeats.py, vocabulary.py            copies over all documents; the tokenizer
    plan.py, rows.py                     document → shard, document → tokens
    tar.py, shards.py, assemble.py       deterministic ustar, its members, tokenise → exchange → publish
    index.py, manifest.py, seal.py       tables, what a version is made of, the manifest last
    lineage.py, difference.py, mixture.py, issues.py, judge.py
Try: expedition data show; pytest tests/data/versions
"""

from expedition.data.versions.assemble import Prepared, Tokenise, assemble
from expedition.data.versions.difference import difference
from expedition.data.versions.index import Provenance
from expedition.data.versions.issues import change_issue, list_issues, open_issue, record_findings
from expedition.data.versions.lineage import of_document, of_source, of_token
from expedition.data.versions.manifest import read_manifest, verify, versions
from expedition.data.versions.mixture import shares
from expedition.data.versions.plan import HELDOUT, ShardPlan, plan_shards
from expedition.data.versions.seal import Build, seal

__all__ = [
    "HELDOUT",
    "Build",
    "Prepared",
    "Provenance",
    "ShardPlan",
    "Tokenise",
    "assemble",
    "change_issue",
    "difference",
    "list_issues",
    "of_document",
    "of_source",
    "of_token",
    "open_issue",
    "plan_shards",
    "read_manifest",
    "record_findings",
    "seal",
    "shares",
    "verify",
    "versions",
]
