"""What steps have read, by arithmetic: the same as what their batches hold."""

from __future__ import annotations

from collections import Counter

import pytest

from expedition.data.loading import Loader, LoadingConfig
from expedition.data.loading import account as accounting
from expedition.data.records import KINDS
from expedition.workspace import Workspace
from tests.data.loading.made_version import generated, write_version
from tests.train.programme import programme_with
from tests.train.tiny import tiny_run


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """A loader over two segments and a batch ramp."""
    ws = Workspace.open(tmp_path_factory.mktemp("account") / "w", create=True)
    write_version(ws, "v0.1", generated(1))
    write_version(ws, "v0.2", generated(1) + generated(2))
    run = tiny_run(
        length="20 steps",
        sequence_length=256,
        batch_sequences=[{"from_step": 0, "sequences": 4}, {"from_step": 6, "sequences": 8}],
        segments=[{"from_step": 0, "version": "v0.1"}, {"from_step": 9, "version": "v0.2"}],
    )
    return Loader(ws, programme_with(main=run), "main", LoadingConfig(ask_ledger=False))


@pytest.mark.parametrize("stretches", [[(0, 20)], [(0, 7), (9, 12), (15, 20)], [(4, 5)], []])
def test_the_account_is_what_the_batches_hold(loader: Loader, stretches: list[tuple[int, int]]) -> None:
    tokens: Counter[str] = Counter()
    for first, end in stretches:
        for batch in loader.batches(first, end):
            for kind, document in zip(batch.kind_BS, batch.document_BS, strict=True):
                tokens[KINDS[int(kind[0])]] += int((document > 0).sum())
    found = loader.account(stretches)
    assert found["tokens"] == tokens.total()
    assert {kind: cell["tokens"] for kind, cell in found["by_kind"].items() if cell["tokens"]} == dict(tokens)
    assert sum(cell["tokens"] for cell in found["by_source"].values()) == tokens.total()
    assert sum(cell["sequences"] for cell in found["by_kind"].values()) == sum(
        loader.plan.sequences_before(end) - loader.plan.sequences_before(first) for first, end in stretches
    )


@pytest.mark.parametrize("stretches", [[(0, 20)], [(0, 3), (5, 9), (11, 20)], [(2, 17)]])
def test_every_kind_is_within_the_stated_error_of_the_mix(loader: Loader, stretches: list[tuple[int, int]]) -> None:
    found = loader.account(stretches)
    assert found["error_sequences"] < found["bound_sequences"]
    planned = sum(cell["planned_sequences"] for cell in found["by_kind"].values())
    assert planned == pytest.approx(sum(cell["sequences"] for cell in found["by_kind"].values()))


def test_a_long_run_is_estimated_close_to_what_it_reads(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = loader.account([(0, 20)])
    monkeypatch.setattr(accounting, "EXACT_SEQUENCES", 10)
    found = loader.account([(0, 20)])
    assert (exact["tokens_are"], found["tokens_are"]) == ("counted", "estimated from the pack plan")
    assert found["tokens"] == pytest.approx(exact["tokens"], rel=0.15)
    assert {k: c["sequences"] for k, c in found["by_kind"].items()} == {
        k: c["sequences"] for k, c in exact["by_kind"].items()
    }
