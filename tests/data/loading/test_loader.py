"""What a step trains on depends on the segments on record and the step alone."""

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.data.loading import Batch, Decision, Loader, LoadingConfig, add_segment
from expedition.data.loading.expand import IGNORED
from expedition.data.records import KINDS
from expedition.errors import ComplianceRefused, InputError, UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace

from .made_version import byte_tokenizer

RUN = "main"


@pytest.fixture(scope="module")
def loader(data: Workspace, programme: Programme) -> Loader:
    return Loader(data, programme, RUN)


def assert_same(first: Batch, second: Batch) -> None:
    for field in fields(Batch):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def row_of(batch: Batch, row: int) -> tuple[bytes, ...]:
    """Everything of one row that does not depend on its neighbours, and its media's patches and frames."""
    return tuple(
        np.ascontiguousarray(part).tobytes()
        for part in (
            batch.tokens_BS[row],
            batch.labels_BS[row],
            batch.positions_3BS[:, row],
            batch.document_BS[row],
            batch.kind_BS[row],
        )
    )


def media_by_row(batch: Batch, ids: tuple[int, int, int], merge: int = 2) -> list[tuple[bytes, bytes]]:
    """Patches and mel frames of each row, cut from the batch by the row's pad tokens."""
    found, patch, frame, sound = [], 0, 0, 0
    audio_start = byte_tokenizer().special("<|audio_start|>")
    for row in batch.tokens_BS:
        patches = int(np.isin(row, ids[:2]).sum()) * merge**2
        sounds = int((row == audio_start).sum())
        frames = int(batch.mel_lengths_A[sound : sound + sounds].sum())
        mel = np.ascontiguousarray(batch.mel_MF[:, frame : frame + frames])
        found.append((batch.patches_PC[patch : patch + patches].tobytes(), mel.tobytes()))
        patch, frame, sound = patch + patches, frame + frames, sound + sounds
    assert patch == len(batch.patches_PC) and frame == batch.mel_MF.shape[1]
    return found


PADS = tuple(byte_tokenizer().special(name) for name in ("<|image_pad|>", "<|video_pad|>", "<|audio_pad|>"))


@given(step=st.integers(0, 40), world=st.integers(1, 20), micro=st.integers(1, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranks_together_are_the_global_batch(loader: Loader, step: int, world: int, micro: int) -> None:
    whole = loader.batch(step)
    media = media_by_row(whole, PADS)
    expected = {int(sample): (row_of(whole, row), media[row]) for row, sample in enumerate(whole.sample_ids)}
    found: dict[int, object] = {}
    for rank in range(world):
        parts = loader.rank_batch(step, rank, world, micro)
        assert len(parts) == micro
        for part in parts:
            assert part.tokens_BS.shape[0] >= 1, "every rank takes part in every micro-batch"
            part_media = media_by_row(part, PADS)
            for row, sample in enumerate(part.sample_ids.tolist()):
                if sample == -1:
                    assert (part.labels_BS[row] == IGNORED).all() and (part.document_BS[row] == 0).all()
                    continue
                assert sample not in found
                found[sample] = (row_of(part, row), part_media[row])
    assert found == expected


def test_resume_is_a_number(data: Workspace, programme: Programme, loader: Loader) -> None:
    straight = list(loader.batches(0, 24))
    resumed = Loader(data, programme, RUN)
    for step in (17, 23, 5):
        assert_same(straight[step], resumed.batch(step))


@pytest.mark.parametrize(
    "config",
    [
        LoadingConfig(decoded_bytes=0),
        LoadingConfig(decoded_bytes=50_000, workers=4, prefetch_batches=6),
        LoadingConfig(whole_shards=False),
        LoadingConfig(prefetch_batches=0),
        LoadingConfig(processes=2),
    ],
)
def test_caches_and_workers_change_nothing(
    data: Workspace, programme: Programme, loader: Loader, config: LoadingConfig
) -> None:
    other = Loader(data, programme, RUN, config)
    for step, batch in enumerate(other.batches(0, 6)):
        assert_same(batch, loader.batch(step))


def test_indices_follow_the_batch_ramp_without_gap(loader: Loader) -> None:
    sizes = [len(loader.global_batch_ids(step)) for step in range(7)]
    assert sizes == [8, 8, 8, 8, 16, 16, 16]
    indices = np.concatenate([loader.global_batch_ids(step) for step in range(7)])
    assert indices.tolist() == list(range(sum(sizes)))
    assert loader.batch(5).tokens_BS.shape == (16, 256)
    assert loader.batch(5).sample_ids.tolist() == loader.global_batch_ids(5).tolist()


def test_shares_of_kinds_are_those_of_the_mix(loader: Loader) -> None:
    mix = loader.segments[0].mix
    there = {kind: weight for kind, weight in mix.items() if kind not in ("books", "synthetic")}
    total = sum(there.values())
    counts = dict.fromkeys(there, 0)
    for index in range(loader.segments[1].first_index):
        counts[loader.sample(index).kind] += 1
        for kind, weight in there.items():
            assert abs(counts[kind] - weight / total * (index + 1)) < 1 + 1e-6


def test_an_epoch_holds_every_token_once(loader: Loader, data: Workspace) -> None:
    """Per kind: packed + truncated + dropped = all expanded tokens, and an epoch visits each packed piece once."""
    loader.batch(0)
    version = loader._open[0].version
    expanded = np.concatenate([part.expansion(loader._rule).tokens for part in version.index.parts()])
    for kind in version.pack.kinds():
        documents = np.flatnonzero(np.asarray(version.index.kind) == KINDS.index(kind))
        counts = version.pack.counts[kind]
        total = counts.packed_tokens + counts.dropped_tokens
        assert total == int(expanded[documents].sum())
        assert counts.documents == len(documents)
    seen: dict[str, list[tuple[int, int, int]]] = {}
    for index in itertools.count():
        sample = loader.sample(index)
        if sample.segment != 0 or sample.epoch > 0:
            break
        seen.setdefault(sample.kind, []).extend((p.document, p.start, p.end) for p in sample.pieces)
    for pieces in seen.values():
        assert len(pieces) == len(set(pieces))
    by_document: dict[int, list[tuple[int, int]]] = {}
    for document, start, end in seen["web"]:
        by_document.setdefault(document, []).append((start, end))
    for spans in by_document.values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(sorted(spans)))


def test_batch_tokens_are_the_stored_documents(loader: Loader) -> None:
    """Positions that are not padding are, document by document, the stored tokens with expanded media."""
    batch = loader.batch(6)
    for row, index in enumerate(batch.sample_ids.tolist()):
        sample = loader.sample(index)
        assert int((batch.document_BS[row] > 0).sum()) == sample.tokens
        for number, piece in enumerate(sample.pieces, start=1):
            tokens = batch.tokens_BS[row][batch.document_BS[row] == number]
            stored = loader._open[sample.segment].version.reader.tokens(piece.document)[piece.start : piece.end]
            text = tokens[tokens < 256]
            assert text.tolist() == stored[stored < 256].tolist()
            assert len(tokens) == piece.tokens
    assert batch.real_tokens == int((batch.document_BS > 0).sum())


def test_no_document_reaches_into_another(loader: Loader) -> None:
    batch = loader.batch(7)
    for row in range(16):
        numbers = batch.document_BS[row]
        real = numbers[numbers > 0]
        assert (np.diff(real) >= 0).all() and set(real.tolist()) == set(range(1, int(real.max()) + 1))
        assert (numbers[len(real) :] == 0).all(), "padding is at the end"
        for number in range(1, int(real.max()) + 1):
            own = np.flatnonzero(numbers == number)
            assert batch.positions_3BS[:, row, own[0]].tolist() == [0, 0, 0]
            assert batch.labels_BS[row, own[-1]] == IGNORED
            inner = own[:-1]
            follows = batch.tokens_BS[row, inner + 1]
            labels = batch.labels_BS[row, inner]
            assert ((labels == follows) | (labels == IGNORED)).all()
            ignored = inner[labels == IGNORED]
            near_pad = np.isin(batch.tokens_BS[row, ignored], PADS) | np.isin(batch.tokens_BS[row, ignored + 1], PADS)
            assert near_pad.all(), "only media pads are not trained on"
        assert (batch.labels_BS[row][numbers == 0] == IGNORED).all()
        assert (batch.kind_BS[row][numbers == 0] == -1).all()


def test_media_match_their_pad_tokens(loader: Loader) -> None:
    for step in range(4, 10):
        batch = loader.batch(step)
        image_pad, video_pad, audio_pad = PADS
        merged = batch.grid_G3.prod(axis=1) // 4
        assert int((batch.tokens_BS == image_pad).sum()) == int(merged[~batch.is_video_G].sum())
        assert int((batch.tokens_BS == video_pad).sum()) == int(merged[batch.is_video_G].sum())
        assert int(batch.grid_G3.prod(axis=1).sum()) == len(batch.patches_PC)
        sounds = sum(loader._rule.audio_tokens(int(frames)) for frames in batch.mel_lengths_A)
        assert int((batch.tokens_BS == audio_pad).sum()) == sounds
        assert int(batch.mel_lengths_A.sum()) == batch.mel_MF.shape[1]
        assert batch.patches_PC.dtype == batch.mel_MF.dtype == np.float32


def test_new_data_joins_in_the_middle(loader: Loader) -> None:
    joins = loader.plan.sequences_before(20)
    assert [segment.first_index for segment in loader.segments] == [0, joins]
    assert {loader.sample(index).version for index in range(joins - 20, joins)} == {"v0.1"}
    assert {loader.sample(index).version for index in range(joins, joins + 20)} == {"v0.2"}
    loader.batch(20)


def test_a_later_segment_leaves_the_past_as_it_was(fresh: Workspace, programme: Programme) -> None:
    before = Loader(fresh, programme, RUN)
    kept = {step: before.batch(step) for step in (3, 19, 22)}
    mark = before.fingerprint_at(24)
    decision = Decision("v0.1", 24, "annealing", "someone", mix={"code": 1.0}, trained_steps=24)
    add_segment(fresh, programme, RUN, decision)
    after = Loader(fresh, programme, RUN)
    for step, batch in kept.items():
        assert_same(batch, after.batch(step))
    after.require_same(24, mark)
    assert after.fingerprint != before.fingerprint
    assert set(after.batch(24).kind_BS[after.batch(24).kind_BS >= 0].tolist()) == {KINDS.index("code")}


def test_resume_on_other_data_is_refused(fresh: Workspace, programme: Programme) -> None:
    loader = Loader(fresh, programme, RUN)
    with pytest.raises(InputError, match="before step 5 is not what the checkpoint was trained on"):
        loader.require_same(5, "0" * 64)


def test_other_data_is_refused(fresh: Workspace, programme: Programme) -> None:
    Loader(fresh, programme, RUN).batch(0)
    key = "data/dataset/v0.1/manifest.json"
    manifest = fresh.read_json(key)
    fresh.write_json(key, {**manifest, "content_hash": "f" * 64}, schema="data.manifest/1")
    with pytest.raises(InputError, match="the run was recorded with"):
        Loader(fresh, programme, RUN).batch(0)


def test_shard_of_another_length_is_refused(fresh: Workspace, programme: Programme) -> None:
    key = "data/dataset/v0.1/shards/web-00000.tar"
    fresh.store.write(key, fresh.store.read(key)[:-512])
    with pytest.raises(InputError, match=r"web-00000\.tar"):
        Loader(fresh, programme, RUN).batch(0)


def test_damaged_tokens_are_an_input_error_that_names_the_document(fresh: Workspace, programme: Programme) -> None:
    for key in list(fresh.store.list("data/dataset/v0.1/shards")):
        fresh.store.write(key, bytes(fresh.store.size(key)))
    with pytest.raises(InputError, match=r"shards/.*document [0-9a-f]{32}"):
        Loader(fresh, programme, RUN).batch(0)


def test_version_that_the_programme_plans_must_be_there_when_it_is_reached(
    fresh: Workspace, programme: Programme
) -> None:
    for key in list(fresh.store.list("data/dataset/v0.2")):
        fresh.store.delete(key)
    loader = Loader(fresh, programme, RUN)
    loader.batch(19)
    with pytest.raises(InputError, match=r"v0\.2 at step 20"):
        loader.batch(20)


def test_missing_first_version_says_how_to_build_it(tmp_path, programme: Programme) -> None:
    with pytest.raises(InputError, match="expedition data build"):
        Loader(Workspace.open(tmp_path / "empty", create=True), programme, RUN)


def test_unknown_run_names_the_known_ones(data: Workspace, programme: Programme) -> None:
    with pytest.raises(UsageError, match="main"):
        Loader(data, programme, "mian")


def test_refusal_reaches_the_loader(fresh: Workspace, programme: Programme) -> None:
    from expedition.data.compliance import Statement, append

    approved = append(fresh, statement(Statement, "approve"))
    key = "data/dataset/v0.1/manifest.json"
    source = {"name": "sample-web", "kind": "web", "approval_id": approved.id}
    fresh.write_json(key, {**fresh.read_json(key), "sources": [source]}, schema="data.manifest/1")
    Loader(fresh, programme, RUN).batch(0)
    append(fresh, statement(Statement, "revoke"))
    with pytest.raises(ComplianceRefused, match="sample-web"):
        Loader(fresh, programme, RUN).batch(0)


def statement(cls, decision: str):
    return cls(
        decision=decision,
        source="sample-web",
        who="someone",
        why="test of the gate",
        document="letter.txt",
        scope="training",
        policy="full",
        expires=None,
    )


def test_excluded_source_is_not_read(fresh: Workspace, programme: Programme) -> None:
    Loader(fresh, programme, RUN)
    decision = Decision("v0.1", 21, "revoked", "someone", excluded=("sample-web",), trained_steps=20)
    add_segment(fresh, programme, RUN, decision)
    loader = Loader(fresh, programme, RUN)
    kinds = {loader.sample(index).kind for index in loader.global_batch_ids(22).tolist()}
    assert "web" not in kinds and len(kinds) > 2
    loader.batch(22)


def test_local_tier_counts_hits(data: Workspace, programme: Programme) -> None:
    loader = Loader(data, programme, RUN, LoadingConfig(decoded_bytes=0))
    for step in range(4):
        loader.batch(step)
    counts = loader.statistics()["shards"]
    assert counts["misses"] <= len(list(data.store.list("data/dataset/v0.1/shards")))
    assert counts["hit_rate"] > 0.8
    assert counts["read_bytes"] > 0


def test_error_of_a_worker_comes_out_in_its_place(data: Workspace, programme: Programme) -> None:
    from expedition.data.loading.prefetch import ahead

    def make(number: int) -> int:
        if number == 2:
            raise InputError("number two")
        return number

    results = ahead(make, range(5), 3, 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="number two"):
        next(results)
