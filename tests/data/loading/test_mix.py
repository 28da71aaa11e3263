"""The mix scaled to what is there: weights, caps, temperature, and what the order makes of them."""

import json
import math
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading import Decision, Loader, add_segment, describe_mix, read_segments
from expedition.data.loading.segments import open_segments
from expedition.data.versions.mixture import Cell, cells_of, filled, scaled
from expedition.errors import ProgrammeError
from expedition.plan import load_programme
from expedition.plan.data import DataPlan
from expedition.plan.models import Programme
from expedition.workspace import Workspace

from .made_version import Made, generated, write_version

RUN = "main"


def programme_with(*sets: str) -> Programme:
    base = [
        "runs.main.sequence_length=256",
        "runs.main.batch_sequences=16",
        "runs.main.length=50 steps",
        "runs.main.segments=[{from_step: 0, version: v0.1}]",
        "runs.main.mix={web: 0.7, code: 0.1, image-text: 0.2}",
    ]
    return load_programme("rehearsal", [*base, *sets])


def plan_with(*sets: str) -> DataPlan:
    return programme_with(*sets).data


CELLS = [
    Cell("web", "crawl", "en", 8000),
    Cell("web", "crawl", "is", 100),
    Cell("web", "forum", "en", 1000),
    Cell("code", "github", "und", 500),
]


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.floats(0.01, 100), st.floats(0.01, 1000)), min_size=1),
    st.floats(0.1, 2000),
)
@settings(max_examples=100, deadline=None)
def test_vessels_fill_to_one_level(vessels: dict[str, tuple[float, float]], total: float) -> None:
    demand = {name: pair[0] for name, pair in vessels.items()}
    limit = {name: pair[1] for name, pair in vessels.items()}
    given_ = filled(demand, limit, total)
    assert sum(given_.values()) == pytest.approx(min(total, sum(limit.values())))
    open_rates = {given_[name] / demand[name] for name in demand if given_[name] < limit[name] * (1 - 1e-9)}
    assert not open_rates or max(open_rates) == pytest.approx(min(open_rates))
    for name in demand:
        assert given_[name] <= limit[name] * (1 + 1e-12)
        if open_rates and given_[name] >= limit[name] * (1 - 1e-9):
            assert given_[name] / demand[name] <= min(open_rates) * (1 + 1e-6)


def test_nothing_asked_for_leaves_every_weight_at_one() -> None:
    found = scaled(plan_with(), {"web": 0.7, "code": 0.3}, CELLS, 1000)
    assert found.weights == {} and found.shares == pytest.approx({"code": 0.3, "web": 0.7})
    assert found.impossible == () and found.short_tokens == 0


@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.3])
def test_temperature_gives_languages_their_shares(temperature: float) -> None:
    found = scaled(plan_with(f"data.mix.temperature={temperature}"), {"web": 1.0}, CELLS, 10_000)
    read: Counter[str] = Counter()
    for row in found.cells:
        read[row.cell.language] += row.tokens
    expected = {"en": 9000 ** (1 / temperature), "is": 100 ** (1 / temperature)}
    for language, size in expected.items():
        assert read[language] / 10_000 == pytest.approx(size / sum(expected.values()))


def test_a_cap_moves_tokens_to_the_other_kinds_and_is_said() -> None:
    plan = plan_with("data.mix.max_epochs=4")
    found = scaled(plan, {"web": 0.5, "code": 0.5}, CELLS, 10_000)
    assert found.shares == pytest.approx({"code": 0.2, "web": 0.8})
    assert len(found.impossible) == 1 and "code: planned 5000 tokens" in found.impossible[0]
    assert "its caps allow 2000" in found.impossible[0]
    assert all(row.epochs <= 4 * (1 + 1e-9) for row in found.cells)


def test_caps_that_do_not_reach_are_said_with_the_number() -> None:
    found = scaled(plan_with("data.mix.max_epochs=1"), {"web": 0.5, "code": 0.5}, CELLS, 20_000)
    assert found.short_tokens == pytest.approx(20_000 - 9600)
    assert "1.04e+04 are too many" in found.impossible[-1]


def test_a_weight_of_a_source_is_passes_over_it_and_zero_leaves_it_out() -> None:
    plan = plan_with("data.sources={forum: {kind: web, weight: 3}, github: {kind: code, weight: 0}}")
    found = scaled(plan, {"web": 0.5, "code": 0.5}, CELLS, 1000)
    assert found.weights == {"web/forum/en": 3.0}
    assert found.shares == {"web": 1.0}
    assert any(line.startswith("code: planned") for line in found.impossible)
    with pytest.raises(ValueError, match="no kind of the mix"):
        scaled(plan, {"code": 1.0}, CELLS, 1000)


def test_weights_far_apart_thin_out_instead_of_making_endless_copies() -> None:
    plan = plan_with("data.sources={forum: {kind: web, weight: 1000}}")
    found = scaled(plan, {"web": 1.0}, CELLS, 1000)
    weights = {row.cell.name: row.weight for row in found.cells}
    assert max(weights.values()) == 64 and 0 < min(weights.values()) < 1


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """v0.1 with web text of a large and a small language, whose documents say which they are."""
    ws = Workspace.open(tmp_path_factory.mktemp("languages"), create=True)
    made = [item for item in generated(1, 2) if item.kind in ("web", "code", "image-text")]
    small = [Made("web", f"jæja {number} " * 6, language="is") for number in range(24)]
    write_version(ws, "v0.1", made + small)
    return ws


def counts_of(ws: Workspace, programme: Programme) -> tuple[Counter[tuple[str, str]], Counter[tuple[int, int]], int]:
    """Over the whole run: tokens read of each (kind, language), and how often each piece is read."""
    loader = Loader(ws, programme, RUN)
    tokens: Counter[tuple[str, str]] = Counter()
    pieces: Counter[tuple[int, int]] = Counter()
    index = loader.open_segment(0)[0].index
    for number in range(loader.plan.sequences_before(loader.plan.total_steps)):
        sample = loader.sample(number)
        for piece in sample.pieces:
            tokens[sample.kind, index.language(piece.document)] += piece.tokens
            pieces[piece.document, piece.start] += 1
    return tokens, pieces, sum(tokens.values())


def test_the_order_achieves_the_scaled_shares(languages: Workspace, tmp_path) -> None:
    ws = copy_of(languages, tmp_path)
    programme = programme_with("data.mix.temperature=2")
    found = describe_mix(ws, programme, "v0.1", RUN)
    assert found["problems"] == []
    tokens, _, total = counts_of(ws, programme)
    assert read_segments(ws, RUN)[0].weights == found["weights"] != {}
    for row in found["cells"]:
        share = tokens[row["kind"], row["language"]] / total
        assert share == pytest.approx(row["achieved"], abs=0.01)
        assert share == pytest.approx(row["scaled"], abs=0.02)


def test_caps_are_honoured_by_the_order(languages: Workspace, tmp_path) -> None:
    """Web has to be read 9 times for its share; a cap of 5 gives the rest to the other kinds."""
    ws = copy_of(languages, tmp_path)
    plan = "data.mix.shares"
    base = programme_with()
    shares = [share.model_dump(exclude_none=True) for share in base.data.mix.shares]
    for share in shares:
        if share["kind"] == "web":
            share["max_epochs"] = 5.0
    programme = programme_with(f"{plan}={json.dumps(shares)}", "runs.main.length=80 steps")
    uncapped, *_ = counts_of(copy_of(languages, tmp_path / "other"), programme_with("runs.main.length=80 steps"))
    tokens, pieces, _ = counts_of(ws, programme)
    there = {
        row["language"]: row["tokens"]
        for row in describe_mix(ws, programme, "v0.1", RUN)["cells"]
        if row["kind"] == "web"
    }
    epochs = {language: tokens["web", language] / there[language] for language in there}
    before = {language: uncapped["web", language] / there[language] for language in there}
    assert all(value > 6 for value in before.values())
    assert all(value <= 5 * 1.02 for value in epochs.values())
    index = Loader(ws, programme, RUN).open_segment(0)[0].index
    assert max(count for (document, _), count in pieces.items() if index.source(document) == "sample-web") <= 6


def test_without_caps_and_weights_the_planned_mix_is_recorded(languages: Workspace, tmp_path) -> None:
    ws, programme = copy_of(languages, tmp_path), programme_with()
    segment = open_segments(ws, programme, RUN)[0]
    assert segment.weights == {} and segment.mix == {"web": 0.7, "code": 0.1, "image-text": 0.2}


def test_a_decision_keeps_the_mix_in_force(languages: Workspace, tmp_path) -> None:
    ws, programme = copy_of(languages, tmp_path), programme_with("data.mix.temperature=2")
    open_segments(ws, programme, RUN)
    add_segment(ws, programme, RUN, Decision(None, 10, "annealing", "someone", mix={"code": 1.0}))
    quarantine = Decision(None, 20, "odd loss", "someone", excluded=("shards/code-00000.tar",))
    add_segment(ws, programme, RUN, quarantine)
    first, annealing, after = read_segments(ws, RUN)
    assert after.mix == annealing.mix == {"code": 1.0}
    assert after.version == first.version and after.excluded == ("shards/code-00000.tar",)
    loader = Loader(ws, programme, RUN)
    assert {loader.sample(index).kind for index in loader.global_batch_ids(25).tolist()} == {"code"}


def test_annealing_can_be_planned(languages: Workspace, tmp_path) -> None:
    ws = copy_of(languages, tmp_path)
    programme = programme_with(
        "runs.main.segments=[{from_step: 0, version: v0.1}, {from_step: 30, version: v0.1, mix: {code: 1.0}}]"
    )
    loader = Loader(ws, programme, RUN)
    assert [segment.first_index for segment in loader.segments] == [0, 480]
    assert {loader.sample(index).kind for index in range(480, 500)} == {"code"}
    assert {loader.sample(index).kind for index in range(440, 480)} > {"code"}


def test_licences_and_unknown_sources_are_problems(languages: Workspace) -> None:
    programme = programme_with(
        "data.sources={sample-web: {kind: web, licences: [permissive]}, missing: {kind: web, weight: 2}}"
    )
    problems = describe_mix(languages, programme, "v0.1", RUN)["problems"]
    assert any("missing" in line for line in problems)
    assert any(line.startswith("sample-web (web)") and "unknown" in line for line in problems)
    stated = programme_with("data.sources={sample-web: {kind: web, licence: MIT, licences: [permissive]}}")
    assert describe_mix(languages, stated, "v0.1", RUN)["problems"] == []


def test_a_mix_with_nothing_there_is_a_programme_error(languages: Workspace) -> None:
    programme = programme_with("runs.main.mix={books: 1}", "data.mix.temperature=2")
    with pytest.raises(ProgrammeError, match="no kind of the mix"):
        describe_mix(languages, programme, "v0.1", RUN)


def test_sums_by_modality_and_language_agree_with_the_cells(languages: Workspace) -> None:
    found = describe_mix(languages, programme_with("data.mix.temperature=2"), "v0.1", RUN)
    for part in ("by_kind", "by_source", "by_language", "by_modality"):
        for name in ("planned", "scaled", "achieved"):
            assert math.isclose(sum(row[name] for row in found[part]), 1, abs_tol=1e-6)
    rows = pq.read_table(languages.store.local("data/dataset/v0.1/statistics.parquet")).to_pylist()
    assert sum(cell.tokens for cell in cells_of(rows)) == sum(row["tokens"] for row in found["by_modality"])
    assert {row["name"] for row in found["by_language"]} == {"en", "is"}


def copy_of(ws: Workspace, place) -> Workspace:
    other = Workspace.open(place / "voyage", create=True)
    for key in ws.store.list("data"):
        other.store.write(key, ws.store.read(key))
    return other


def test_explained_steps_lead_to_the_sample(languages: Workspace, tmp_path) -> None:
    from expedition.data.loading import explain_order

    ws, programme = copy_of(languages, tmp_path), programme_with("data.mix.temperature=2")
    loader = Loader(ws, programme, RUN)
    for step, position in ((0, 0), (7, 3), (41, 15)):
        answer = explain_order(ws, programme, RUN, step=step, index=position)
        sample = loader.sample(int(loader.global_batch_ids(step)[position]))
        assert answer["index"] == sample.index and answer["mixture"]["kind"] == sample.kind
        assert [row["id"] for row in answer["documents"]] == list(sample.document_ids)
        assert answer["epoch"] == sample.epoch and answer["sequence"]["tokens"] == sample.tokens
        assert answer["sequence"]["shard"] in answer["window"]["shards"]
        assert explain_order(ws, programme, RUN, index=sample.index) == answer
        assert "decided by programme" in answer["words"][1]
        json.dumps(answer)
