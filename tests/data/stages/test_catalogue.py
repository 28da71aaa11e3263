"""The list of stages, and what holds for every stage in it."""

import json
import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import PLACEHOLDER, Document, Insert, document_batch, documents_of
from expedition.data.stages import STAGES, BenchmarkIndex, standard_stages
from expedition.data.stages.catalogue import stage_order
from expedition.data.stages.document_map import Outcome, map_documents
from expedition.errors import ProgrammeError
from expedition.plan import load_programme
from tests.data.stages.documents import batch_of, picture, picture_document

MIXED = document_batch(
    [
        Document("a", "s", "web", "a.html", "The boats of the village bring fish to the market. Mail joe@example.com!"),
        Document("b", "s", "web", "b.html", "x"),
        Document("c", "s", "code", "c.py", "print('hello world, this is code')\n", licence="MIT"),
        picture_document("d", picture(1), "two red rings"),
        Document("e", "s", "books", "e.txt", "All immigrants are vermin and should be exterminated."),
    ]
)


def rehearsal_stages() -> list:
    return standard_stages(load_programme("rehearsal", []).data, BenchmarkIndex.from_items(()))


def test_standard_list_follows_every_kinds_order() -> None:
    plan = load_programme("rehearsal", []).data
    names = [stage.name for stage in standard_stages(plan)]
    for kind, wanted in plan.stages.items():
        assert [name for name in names if name in wanted] == list(wanted), kind


def test_names_of_stages_are_the_catalogues() -> None:
    plan = load_programme("rehearsal", []).data
    for stage in standard_stages(plan):
        assert stage.name in STAGES
        assert stage.kinds


def test_unknown_and_contradicting_lists_are_refused() -> None:
    with pytest.raises(ProgrammeError, match="'qualtiy' is no stage"):
        stage_order({"web": ("qualtiy",)})
    with pytest.raises(ProgrammeError, match="opposite"):
        stage_order({"web": ("pii", "quality"), "books": ("quality", "pii")})


def test_stages_are_pure() -> None:
    before = MIXED.to_pylist()
    for stage in rehearsal_stages():
        first, second = stage(MIXED), pickle.loads(pickle.dumps(stage))(MIXED)
        assert first.batch.equals(second.batch), stage.name
        assert (first.dropped, first.changed, first.counts) == (second.dropped, second.changed, second.counts)
        assert first.batch.schema.equals(MIXED.schema)
        assert first.batch.num_rows + len(first.dropped) == MIXED.num_rows
    assert MIXED.to_pylist() == before


def test_documents_of_other_kinds_pass_unchanged() -> None:
    for stage in rehearsal_stages():
        wanted = [row for row in MIXED.to_pylist() if row["kind"] not in stage.kinds]
        assert [row for row in stage(MIXED).batch.to_pylist() if row["kind"] not in stage.kinds] == wanted, stage.name


def test_empty_batches_pass() -> None:
    for stage in rehearsal_stages():
        assert stage(MIXED.slice(0, 0)).batch.num_rows == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_inserts_are_kept_or_the_document_dropped(parts: list[str]) -> None:
    text = PLACEHOLDER.join(part.replace(PLACEHOLDER, "") for part in parts)
    specials = tuple(Insert("special", "<|ipa_phoneme|>") for _ in range(len(parts) - 1))
    batch: pa.RecordBatch = document_batch([Document("a", "s", "web", "a", text, specials)])
    for stage in rehearsal_stages():
        batch = stage(batch).batch
    for document in documents_of(batch):
        assert document.text.count(PLACEHOLDER) == len(document.inserts)


def test_a_rule_that_eats_inserts_loses_the_document() -> None:
    result = map_documents(
        batch_of("a plain text"), frozenset({"web"}), lambda row: Outcome(text=row.text + PLACEHOLDER)
    )
    assert result.batch.num_rows == 0
    assert "number of inserts" in result.dropped[0].reason


def test_meta_is_merged() -> None:
    batch = batch_of("a plain text", meta={"title": "T"})
    result = map_documents(batch, frozenset({"web"}), lambda row: Outcome(meta={"score": 1}))
    assert json.loads(result.batch.column("meta")[0].as_py()) == {"title": "T", "score": 1}
