"""data.compliance: written decisions about sources, and the gate that nothing passes without one.

Why a room: "use first, review later" is impossible here: acquisition, build and loading each ask this room, and an
approval never reaches back to what was acquired before it. It decides nothing itself; people do.
Verbs (all that other rooms may call):
    append(ws, statement) -> Entry                        one decision, durable, chained; writes the ledger
    read(ws) -> entries                                   the verified chain; CheckFailed if it is damaged
    require_approval(ws, source, at, scope) -> Entry      ComplianceRefused (exit 5), saying what to type
    require_use(ws, source, acquired_at, at, scope)       also asks about the moment of acquisition
    acquire(ws, offer, scope) -> Acquired                 register files; writes data/acquired/; idempotent
    acquired(ws, source), list_acquisitions(ws)           when files came in, and under which approval
    require_acquired_use(ws, acquired, scope) -> Entry    require_use for every time at which files came in
    handling(entry), keeps(document_id, share)            what the entry's policy asks of the data
    audit(ws, scope) -> report                            everything built against everything decided
    Acquired, Entry, Offer, Statement, parse_time, timestamp   the nouns
Imports: errors, workspace.  Imported by: data.build, data.loading, cli.
Reads / writes in the workspace: compliance/ledger/<n>.json (the truth), compliance/ledger.jsonl (a view of it),
    data/acquired/<source>/.
Invariants: an edit, a cut or a swap of entries is noticed [test_changed_entry_is_noticed]; two writers never share a
    number [test_two_writers_chain_onto_each_other]; an approval never reaches back
    [test_item_acquired_before_its_approval_is_refused_for_ever].
Read in this order:
    ledger.py      entries and their chain
    approval.py    what holds when, and the gate
    policy.py      full, minimal-use, anonymise
    acquisition.py when files came in
    audit.py       what was used against what was decided
Try: expedition compliance --help; pytest tests/data/compliance
"""

from expedition.data.compliance.acquisition import (
    Acquired,
    Offer,
    acquire,
    acquired,
    list_acquisitions,
    require_acquired_use,
)
from expedition.data.compliance.approval import require_approval, require_use
from expedition.data.compliance.audit import audit
from expedition.data.compliance.ledger import Entry, Statement, append, parse_time, read, timestamp
from expedition.data.compliance.policy import handling, keeps

__all__ = [
    "Acquired",
    "Entry",
    "Offer",
    "Statement",
    "acquire",
    "acquired",
    "append",
    "audit",
    "handling",
    "keeps",
    "list_acquisitions",
    "parse_time",
    "read",
    "require_acquired_use",
    "require_approval",
    "require_use",
    "timestamp",
]
