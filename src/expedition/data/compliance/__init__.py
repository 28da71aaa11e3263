"""data.compliance: written decisions about sources, and the gate that nothing passes without one.

Why a room: "use first, review later" is impossible here: acquisition, build and loading each ask this room, and an
approval never reaches back to what was acquired before it. It decides nothing itself; people do.
Verbs (all that other rooms may call):
    decide(ws, statement) -> Entry                        a person's decision; keeps its document; writes the ledger
    append(ws, statement) -> Entry                        one decision, durable, chained, on the event chain too
    read(ws) -> entries                                   the verified chain; CheckFailed if it is damaged
    require_approval(ws, source, at, scope) -> Entry      ComplianceRefused (exit 5), saying what to type
    require_use(ws, source, acquired_at, at, scope)       also asks about the moment of acquisition
    state_at(entries, source, scope, at) -> state         approved, expired, refused, revoked or undecided
    acquire(ws, offer, scope) -> Acquired                 register files; writes data/acquired/; idempotent
    acquired(ws, source), list_acquisitions(ws), listed(ws, source)   when files came in, under which approval
    require_acquired_use(ws, acquired, scope) -> Entry    require_use for every time at which files came in
    handling(entry), keeps(document_id, share), missing_stages, parse_caps   what the entry's policy asks of the data
    uses_of(ws, source) -> Uses                           versions, shards, segments, checkpoints with the source
    record_revocation(ws, entry) -> report                the same, put on record; writes reports/revocation-<n>.json
    audit(ws, scope) -> report                            everything built against everything decided
    write_report(ws, scope) -> report                     writes reports/compliance.json and .md
    Acquired, Caps, Entry, Handling, Listed, Offer, Statement, Uses, now, parse_time, statement_fields, timestamp
Imports: errors, workspace.  Imported by: data.builder, data.loading, cli.
Reads / writes in the workspace: compliance/ledger/<n>.json (the truth), compliance/ledger.jsonl (a view of it),
    compliance/documents/, data/acquired/<source>/, reports/; reads data/*/*/, runs/*/ for what contains a source.
Invariants: an edit, a cut, a swap or a forged chain is noticed [test_changed_entry_is_noticed,
    test_ledger_that_was_forged_with_fitting_hashes_is_noticed]; two writers never share a number
    [test_two_writers_chain_onto_each_other]; an approval never reaches back
    [test_item_acquired_before_its_approval_is_refused_for_ever], whatever the content is called now
    [test_content_that_came_in_early_is_refused_under_any_name].
Read in this order:
    ledger.py      entries, their chain and its anchors
    policy.py      full, minimal-use with caps, anonymise with stages
    approval.py    what holds when, and the gate
    decide.py      a decision and the paper it rests on
    acquisition.py when files came in
    uses.py        where a source is
    revocation.py  what a revocation reaches
    audit.py       what was used against what was decided
    report.py      all of it on a page
Try: expedition compliance --help; pytest tests/data/compliance
"""

from expedition.data.compliance.acquisition import (
    Acquired,
    Listed,
    Offer,
    acquire,
    acquired,
    list_acquisitions,
    listed,
    require_acquired_use,
)
from expedition.data.compliance.approval import require_approval, require_use, state_at
from expedition.data.compliance.audit import audit
from expedition.data.compliance.decide import decide
from expedition.data.compliance.ledger import (
    Entry,
    Statement,
    append,
    now,
    parse_time,
    read,
    statement_fields,
    timestamp,
)
from expedition.data.compliance.policy import Caps, Handling, handling, keeps, missing_stages, parse_caps
from expedition.data.compliance.report import write_report
from expedition.data.compliance.revocation import record_revocation
from expedition.data.compliance.uses import Uses, uses_of

__all__ = [
    "Acquired",
    "Caps",
    "Entry",
    "Handling",
    "Listed",
    "Offer",
    "Statement",
    "Uses",
    "acquire",
    "acquired",
    "append",
    "audit",
    "decide",
    "handling",
    "keeps",
    "list_acquisitions",
    "listed",
    "missing_stages",
    "now",
    "parse_caps",
    "parse_time",
    "read",
    "record_revocation",
    "require_acquired_use",
    "require_approval",
    "require_use",
    "state_at",
    "statement_fields",
    "timestamp",
    "uses_of",
    "write_report",
]
