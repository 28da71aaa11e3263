"""The ledger and its gate: chained, never dated back, and no use without a decision before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.compliance import (
    Statement,
    append,
    audit,
    handling,
    keeps,
    parse_time,
    read,
    require_approval,
    require_use,
)
from expedition.data.compliance.approval import approval_at
from expedition.data.compliance.ledger import ENTRIES, Entry
from expedition.errors import CheckFailed, ComplianceRefused, UsageError
from expedition.workspace import Workspace, layout

MAY = "2031-05-01T00:00:00.000000Z"
JUNE = "2031-06-01T00:00:00.000000Z"
JULY = "2031-07-01T00:00:00.000000Z"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def approve(source: str = "pages", **fields: str) -> Statement:
    return Statement("approve", source, "Ada", "licence read", **fields)  # type: ignore[arg-type]


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
    assert (line["hash"], line["schema"], line["decision"]) == (entry.hash, "compliance.entry/1", "approve")
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
    assert handling(append(ws, approve(policy="minimal-use", policy_detail="0.25"))).share == 0.25
    with pytest.raises(UsageError, match="no share"):
        handling(append(ws, approve(policy="minimal-use", policy_detail="some")))


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
        Entry(str(n), what, "s", "w", f"{when:02d}", "y", None, "any", "full", None, None, "", "")  # type: ignore[arg-type]
        for n, (what, when) in enumerate(ordered)
    ]
    spoken = [what for what, when in ordered if when <= at]
    assert (approval_at(entries, "s", "any", f"{at:02d}") is not None) == (bool(spoken) and spoken[-1] == "approve")
