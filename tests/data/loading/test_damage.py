"""A damaged sample is replaced by the same sequence everywhere, recorded once, and too many are refused."""

import numpy as np
import pytest

from expedition.data.loading import Loader, LoadingConfig
from expedition.data.loading.damage import EVENT, MAX_TRIES, substitutes
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace

FRESH = LoadingConfig(decoded_bytes=0)


def damage(ws: Workspace, programme: Programme, step: int, kind: str) -> tuple[int, str]:
    """Flip bytes inside a payload of the step's first sequence of `kind`; its index and the document's id."""
    loader = Loader(ws, programme, "main", FRESH)
    index = next(int(i) for i in loader.global_batch_ids(step) if loader.sample(int(i)).kind == kind)
    sample = loader.sample(index)
    version = loader._open[sample.segment].version
    document = sample.pieces[0].document
    if kind == "web":
        offset, length = int(version.index.columns["tokens_offset"][document]) + 128, 4
    else:
        span = version.index.media(document)[0]
        offset, length = span.offset, min(400, span.bytes)
    key = version.reader.shard_key(document)
    data = bytearray(ws.store.read(key))
    data[offset : offset + length] = bytes(byte ^ 0xFF for byte in data[offset : offset + length])
    ws.store.write(key, bytes(data))
    return index, version.index.ids[document]


@pytest.mark.parametrize("kind", ["web", "image-text", "audio-text", "video-text"])
def test_damaged_sample_has_one_substitute_at_every_world_size(
    fresh: Workspace, programme: Programme, kind: str
) -> None:
    healthy = Loader(fresh, programme, "main", FRESH).batch(5)
    index, document = damage(fresh, programme, 5, kind)
    loader = Loader(fresh, programme, "main", FRESH)
    whole = loader.batch(5)
    row = whole.sample_ids.tolist().index(index)
    assert not np.array_equal(whole.tokens_BS[row], healthy.tokens_BS[row])
    others = [other for other in range(len(whole.sample_ids)) if other != row]
    assert sum(np.array_equal(whole.tokens_BS[o], healthy.tokens_BS[o]) for o in others) >= len(others) - 1
    for world in (2, 3):
        config = LoadingConfig(decoded_bytes=0, processes=2 if (world, kind) == (2, "web") else 0)
        ranked = Loader(fresh, programme, "main", config)
        parts = [part for rank in range(world) for part in next(ranked.rank_batches(5, 6, rank, world))]
        rows = {int(s): part.tokens_BS[r] for part in parts for r, s in enumerate(part.sample_ids) if s >= 0}
        np.testing.assert_array_equal(rows[index], whole.tokens_BS[row])
    loader.batch(5)
    events = [event for event in fresh.events_all(EVENT) if event.fields["document"] == document]
    assert events and {event.fields["replaced_by"] for event in events} == {events[0].fields["replaced_by"]}
    assert events[0].fields["reason"] and events[0].fields["kind"] == kind
    assert len([r for r in loader.statistics()["replaced"] if r["document"] == document]) == 1


def test_too_many_damaged_samples_are_refused(fresh: Workspace, programme: Programme) -> None:
    damage(fresh, programme, 5, "web")
    with pytest.raises(InputError, match="at most 0 may be replaced"):
        Loader(fresh, programme, "main", LoadingConfig(damaged_sequences=0)).batch(5)


def test_substitutes_are_of_the_same_kind_and_never_the_sequence_itself() -> None:
    for sequence in range(40, 60):
        found = list(substitutes(sequence, 40, 20, 7, "web"))
        assert all(40 <= other < 60 and other != sequence for other in found)
        assert found == list(substitutes(sequence, 40, 20, 7, "web")) and len(found) > MAX_TRIES // 2
    firsts = {next(iter(substitutes(sequence, 0, 1000, 7, "web"))) for sequence in range(1000)}
    assert len(firsts) > 990, "neighbours do not crowd on one substitute"
