"""The cap on synthetic tokens: in a version, in the plan and in what a run reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from expedition.data.engine import Limits
from expedition.data.engine.tables import write_batches
from expedition.data.records import DOCUMENT_SCHEMA, document_batch
from expedition.data.versions.assemble import Prepared
from expedition.data.versions.mixture import Cell, scaled
from expedition.data.versions.synthetic_share import allowed_tokens, hold_share
from expedition.errors import CheckFailed
from expedition.plan import load_programme
from expedition.plan.data import DataMix, MixShare

from .worldlet import document, tokenizer


def prepared(folder: Path, sources: dict[str, int]) -> list[Prepared]:
    """A file a source, of that many documents of about ten tokens each."""
    made = []
    for source, count in sources.items():
        path = folder / f"{source}.arrow"
        texts = [document(n, source, "web", f"Page {n} about a ship that sails. {n}") for n in range(count)]
        write_batches(path, DOCUMENT_SCHEMA, [document_batch(texts)])
        made.append(Prepared(source, path, frozenset(), source=source))
    return made


def held(folder: Path, sources: dict[str, int], share: float) -> dict[str, int]:
    """Documents that stay, by source; "made…" are synthetic."""
    folder.mkdir(exist_ok=True)
    tokenizer().save(folder / "tokenizer")
    kinds = {name: "synthetic" if name.startswith("made") else "web" for name in sources}
    items = hold_share(
        prepared(folder, sources), kinds, share, folder / "work", Limits(workers=0), folder / "tokenizer"
    )
    return {
        item.source: sum(item.keeps(document(n, item.source, "web", "").id) for n in range(sources[item.source]))
        for item in items
    }


def test_synthetic_sources_are_cut_to_the_share_together(tmp_path: Path) -> None:
    kept = held(tmp_path / "a", {"pages": 300, "made": 200, "made_too": 100}, 0.25)
    assert kept["pages"] == 300
    assert 0.22 < (kept["made"] + kept["made_too"]) / sum(kept.values()) <= 0.26
    assert 1.6 < kept["made"] / kept["made_too"] < 2.4
    assert held(tmp_path / "b", {"pages": 300, "made": 20}, 0.25) == {"pages": 300, "made": 20}


def test_a_version_of_synthetic_text_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="every token is synthetic"):
        held(tmp_path / "a", {"made": 20}, 0.25)


@given(st.integers(0, 10**12), st.floats(0.001, 0.999))
def test_allowed_tokens_are_the_share_of_all(others: int, share: float) -> None:
    most = allowed_tokens(others, share)
    assert most <= share * (most + others) + 1e-3 * others + 1
    assert most + 1 >= share * (most + 1 + others) - 1e-3 * others - 1


def test_a_mix_that_plans_more_than_its_cap_is_no_mix() -> None:
    shares = (MixShare(kind="web", tokens=60), MixShare(kind="synthetic", tokens=40))
    with pytest.raises(ValidationError, match=r"max_synthetic_share is 0\.1"):
        DataMix(version="x", total_tokens=100, shares=shares, max_synthetic_share=0.1)


def test_what_other_kinds_lack_is_not_made_up_for_by_synthetic_text() -> None:
    plan = load_programme("rehearsal", ["data.mix.max_synthetic_share=0.25"]).data
    cells = [Cell("web", "a", "en", 1000), Cell("synthetic", "s", "en", 10**6)]
    mixed = scaled(
        plan.model_copy(update={"mix": plan.mix.model_copy(update={"max_epochs": 1.0})}),
        {"web": 0.8, "synthetic": 0.2},
        cells,
        100_000,
    )
    given_tokens = {row.cell.kind: row.tokens for row in mixed.cells}
    assert given_tokens["synthetic"] == pytest.approx(25_000)
    assert any("synthetic" in line or "too many" in line for line in mixed.impossible)
