"""The ledger and its gate: chained, never dated back, and no use without a decision before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.compliance import (
    Caps,
    Statement,
    append,
    audit,
    decide,
    handling,
    keeps,
    parse_caps,
    parse_time,
    read,
    require_approval,
    require_use,
)
from expedition.data.compliance.approval import approval_at
from expedition.data.compliance.ledger import ENTRIES, Entry
from expedition.data.compliance.policy import looser
from expedition.errors import CheckFailed, ComplianceRefused, InputError, UsageError
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_json

MAY = "2031-05-01T00:00:00.000000Z"
JUNE = "2031-06-01T00:00:00.000000Z"
JULY = "2031-07-01T00:00:00.000000Z"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def approve(source: str = "pages", **fields: Any) -> Statement:
    return Statement("approve", source, "Ada", "licence read", **fields)


def test_source_without_decision_is_refused_with_the_command(ws: Workspace) -> None:
    with pytest.raises(ComplianceRefused, match="no decision") as caught:
        require_approval(ws, "pages")
    assert caught.value.exit_code == 5
    assert "expedition compliance approve pages" in (caught.value.fix or "")


def test_decisions_hold_until_the_next_one_or_their_end(ws: Workspace) -> None:
    append(ws, approve(expires=JULY), when=MAY)
    assert require_approval(ws, "pages", at=JUNE).id == "L000001"
    with pytest.raises(ComplianceRefused, match="expired"):
        require_approval(ws, "pages", at=JULY)
    append(ws, Statement("revoke", "pages", "Grace", "owner asked"), when=JUNE)
    with pytest.raises(ComplianceRefused, match="revoked by Grace"):
        require_approval(ws, "pages", at=JUNE)


def test_scope_is_part_of_the_decision(ws: Workspace) -> None:
    append(ws, approve(scope="rehearsal"), when=MAY)
    require_approval(ws, "pages", at=JUNE, scope="rehearsal")
    with pytest.raises(ComplianceRefused, match="scope 'training'"):
        require_approval(ws, "pages", at=JUNE, scope="training")


def test_item_acquired_before_its_approval_is_refused_for_ever(ws: Workspace) -> None:
    append(ws, approve(), when=JUNE)
    with pytest.raises(ComplianceRefused, match="acquired on"):
        require_use(ws, "pages", acquired_at=MAY, at=JULY)
    assert require_use(ws, "pages", acquired_at=JUNE, at=JULY).id == "L000001"
    append(ws, approve(), when=JULY)
    with pytest.raises(ComplianceRefused, match="acquired on"):
        require_use(ws, "pages", acquired_at=MAY, at=JULY)


def test_ledger_cannot_be_dated_back(ws: Workspace) -> None:
    append(ws, approve(), when=JUNE)
    with pytest.raises(UsageError, match="before the newest"):
        append(ws, approve("books"), when=MAY)


def test_view_repeats_the_entries_and_is_made_again(ws: Workspace) -> None:
    entry = append(ws, approve())
    line = json.loads(ws.store.read(layout.LEDGER))
    assert (line["hash"], line["schema"], line["decision"]) == (entry.hash, "compliance.entry/2", "approve")
    ws.store.write(layout.LEDGER, b"")
    assert not audit(ws)["ok"]
    read(ws)
    assert json.loads(ws.store.read(layout.LEDGER))["hash"] == entry.hash


@pytest.mark.parametrize("damage", ["edit", "delete", "swap", "garbage"])
def test_changed_entry_is_noticed(ws: Workspace, damage: str) -> None:
    for source in ("pages", "books", "clips"):
        append(ws, approve(source))
    keys = list(ws.store.list(ENTRIES))
    first, second = ws.store.read(keys[0]), ws.store.read(keys[1])
    if damage == "edit":
        ws.store.write(keys[1], second.replace(b"Ada", b"Eve"))
    elif damage == "delete":
        ws.store.delete(keys[1])
    elif damage == "swap":
        ws.store.write(keys[0], second)
        ws.store.write(keys[1], first)
    else:
        ws.store.write(keys[1], b"\xff not json")
    with pytest.raises(CheckFailed, match="damaged"):
        require_approval(ws, "pages")
    assert not audit(ws)["ok"]


def test_two_writers_chain_onto_each_other(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writer reads, then the first one commits: the second must take the next number, not the same."""
    create, other = ws.store.create, Workspace.open(ws.place)
    raced = []

    def create_after_the_other(key: str, data: bytes) -> None:
        if not raced and key.startswith(ENTRIES):
            raced.append(append(other, approve("books")))
        create(key, data)

    monkeypatch.setattr(ws.store, "create", create_after_the_other)
    entry = append(ws, approve())
    assert (raced[0].id, entry.id, entry.previous) == ("L000001", "L000002", raced[0].hash)
    assert len(ws.store.read(layout.LEDGER).splitlines()) == 2


@pytest.mark.parametrize("fields", [{"who": " "}, {"why": ""}, {"policy": "some"}, {"decision": "perhaps"}])
def test_incomplete_decision_is_refused(ws: Workspace, fields: dict[str, str]) -> None:
    whole = {"decision": "approve", "source": "pages", "who": "Ada", "why": "licence"}
    with pytest.raises(UsageError):
        append(ws, Statement(**{**whole, **fields}))  # type: ignore[arg-type]


def test_times_that_people_type() -> None:
    assert parse_time("2031-05-01", "expiry") == MAY
    assert parse_time("2031-05-01T02:00:00+02:00", "expiry") == MAY
    with pytest.raises(UsageError, match="not a date"):
        parse_time("soon", "expiry")


def test_policies_say_what_the_build_does(ws: Workspace) -> None:
    assert not handling(append(ws, approve())).redact_pii
    assert handling(append(ws, approve(policy="anonymise"))).redact_pii
    assert handling(append(ws, approve(policy="anonymise"))).stages == ("pii",)
    assert handling(append(ws, approve(policy="minimal-use", caps=parse_caps(["share=0.25"])))).share == 0.25
    with pytest.raises(UsageError, match="no cap"):
        append(ws, approve(policy="minimal-use"))


@pytest.mark.parametrize("cap", ["share=0", "share=2", "share=some", "tokens=0.5", "weight=3", "documents"])
def test_caps_that_bound_nothing_are_refused(cap: str) -> None:
    with pytest.raises(UsageError):
        parse_caps([cap])


@given(share=st.floats(0.05, 1.0))
def test_share_is_kept_by_id_alone(share: float) -> None:
    ids = [f"{(number * 2654435761) % 2**32:08x}" for number in range(2000)]
    assert abs(sum(keeps(item, share) for item in ids) / 2000 - share) < 0.02


@given(
    decisions=st.lists(st.tuples(st.sampled_from(["approve", "refuse", "revoke"]), st.integers(1, 9)), max_size=6),
    at=st.integers(0, 10),
)
def test_the_last_word_before_the_moment_counts(decisions: list[tuple[str, int]], at: int) -> None:
    ordered = sorted(decisions, key=lambda item: item[1])
    entries = [
        Entry(str(n), what, "s", "w", f"{when:02d}", "y", None, None, "any", "full", Caps(), (), None, "", "")  # type: ignore[arg-type]
        for n, (what, when) in enumerate(ordered)
    ]
    spoken = [what for what, when in ordered if when <= at]
    assert (approval_at(entries, "s", "any", f"{at:02d}") is not None) == (bool(spoken) and spoken[-1] == "approve")


def test_ledger_that_was_forged_with_fitting_hashes_is_noticed(ws: Workspace) -> None:
    """Someone who can compute hashes writes the whole chain anew: the event log has seen the true one."""
    other = Workspace.open(Path(ws.place).with_name("forger"), create=True)
    append(ws, Statement("refuse", "pages", "Ada", "no licence"), when=MAY)
    append(ws, approve("books"), when=JUNE)
    append(other, approve("pages"), when=MAY)
    append(other, approve("books"), when=JUNE)
    for key in ws.store.list(ENTRIES):
        ws.store.write(key, other.store.read(key))
    with pytest.raises(CheckFailed, match="entry L000001 is not the one that the event log saw"):
        require_approval(ws, "pages")
    assert not audit(ws)["ok"]


def test_ledger_that_was_cut_at_its_end_is_noticed(ws: Workspace) -> None:
    append(ws, approve())
    append(ws, Statement("revoke", "pages", "Ada", "the owner asked"))
    ws.store.delete(list(ws.store.list(ENTRIES))[-1])
    with pytest.raises(CheckFailed, match="entry L000002 is gone"):
        require_approval(ws, "pages")


def test_event_that_was_rewritten_to_fit_a_forged_entry_is_noticed(ws: Workspace) -> None:
    append(ws, approve())
    key = next(key for key in ws.store.list("events") if key.startswith("events/compliance-"))
    ws.store.write(key, ws.store.read(key).replace(b"L000001", b"L000009"))
    with pytest.raises(CheckFailed, match="event 0 was changed"):
        read(ws)


def test_event_log_without_the_decisions_is_noticed(ws: Workspace) -> None:
    """Forged entries and no events at all: only the newest entry may have none."""
    append(ws, approve())
    append(ws, approve("books"))
    ws.anchor_events()
    for key in list(ws.store.list("events")):
        if key.startswith("events/compliance-"):
            ws.store.delete(key)
    with pytest.raises(CheckFailed, match="entry L000001 has no event"):
        read(ws)
    assert any("no longer holds the event that was anchored" in row["what"] for row in audit(ws)["findings"])


def test_ledger_is_the_same_in_a_folder_and_in_an_object_store(place: str) -> None:
    ws = Workspace.open(place, create=True)
    append(ws, approve(), when=MAY)
    append(ws, approve("books"), when=JUNE)
    assert [entry.id for entry in read(Workspace.open(place))] == ["L000001", "L000002"]
    assert list(ws.store.folders("compliance")) == ["ledger"]
    assert audit(ws)["ok"]
    ws.store.delete(list(ws.store.list(ENTRIES))[-1])
    with pytest.raises(CheckFailed, match="entry L000002 is gone"):
        require_approval(ws, "pages")


def test_entry_that_a_kill_left_without_its_event_gets_one(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("expedition.data.compliance.ledger._anchor", lambda *_: None)
        append(ws, approve())
    assert require_approval(ws, "pages").id == "L000001"
    append(ws, approve("books"))
    decided = [event.fields["entry"] for event in ws.events_all("compliance.decided")]
    assert decided == ["L000001", "L000002"]


def test_clock_that_was_set_back_brings_no_revoked_source_back(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = "expedition.data.compliance.ledger"
    append(ws, approve(), when=MAY)
    append(ws, Statement("revoke", "pages", "Ada", "the owner asked"), when=JULY)
    with monkeypatch.context() as clock:
        clock.setattr(f"{ledger}.timestamp", lambda moment=None: JUNE)
        with pytest.raises(ComplianceRefused, match="revoked"):
            require_approval(ws, "pages")
        assert append(ws, approve("books")).when == JULY


def test_document_is_kept_with_its_hash(ws: Workspace, tmp_path: Path) -> None:
    paper = tmp_path / "Agreement.PDF"
    paper.write_bytes(b"%PDF-1.7 signed")
    entry = decide(ws, approve(document=str(paper), expires="2031-05-01"))
    assert entry.document == f"compliance/documents/{entry.document_sha256}.pdf" and entry.expires == MAY
    assert ws.store.read(entry.document) == paper.read_bytes()
    assert audit(ws)["ok"]
    ws.store.write(entry.document, b"%PDF-1.7 signed by another")
    assert [row["what"] for row in audit(ws)["findings"]] == [f"the document of L000001 was changed: {entry.document}"]
    assert decide(ws, approve("books", document="https://example.org/licence")).document_sha256 is None
    assert decide(ws, approve("clips", document="ab" * 32)).document == f"sha256:{'ab' * 32}"
    with pytest.raises(InputError, match="no file, URL or SHA-256"):
        decide(ws, approve("drives", document="a drawer"))
    with pytest.raises(UsageError, match="is no stage"):
        decide(ws, approve("drives", policy="anonymise", stages=("anonimize",)))


def test_entries_of_the_first_schema_are_read(ws: Workspace) -> None:
    """Ledgers written before caps and stages had fields of their own keep their hashes and their meaning."""
    fields = {
        "id": "L000001", "decision": "approve", "source": "pages", "who": "Ada", "when": MAY, "why": "licence",
        "document": None, "scope": "any", "policy": "minimal-use", "policy_detail": "0.25", "expires": None,
        "previous": "0" * 64, "schema": "compliance.entry/1",
    }  # fmt: skip
    ws.store.create(f"{ENTRIES}/00000001.json", canonical_json({**fields, "hash": sha256_json(fields)}) + b"\n")
    assert require_approval(ws, "pages").caps == Caps(share=0.25)
    append(ws, approve("books"))
    assert [entry.id for entry in read(ws)] == ["L000001", "L000002"]


@given(used=st.sampled_from([None, 0.1, 0.5, 1.0]), allowed=st.sampled_from([None, 0.1, 0.5, 1.0]))
def test_use_beyond_a_narrower_approval_is_told(used: float | None, allowed: float | None) -> None:
    entries = [
        Entry(
            "L1", "approve", "s", "w", MAY, "y", None, None, "any", "minimal-use", Caps(share=share), (), None, "", ""
        )
        for share in (used, allowed)
    ]
    assert bool(looser(*entries)) == (allowed is not None and (used is None or used > allowed))
