"""PyTorch conventions: any number of workers, any world size, resume in mid-epoch, the same global batches."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from expedition.data.loading import Decision, Loader, StatefulLoader, add_segment
from expedition.errors import InputError, UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace

STEPS = 7


def rows_of_step(micro_batches) -> dict[int, bytes]:
    """Sample id → its tokens and positions, fillers left out."""
    found = {}
    for batch in micro_batches:
        for row, sample in enumerate(np.asarray(batch["sample_ids"]).tolist()):
            if sample >= 0:
                found[sample] = np.asarray(batch["tokens_BS"][row]).tobytes()
    return found


@pytest.fixture(scope="module")
def whole(data: Workspace, programme: Programme) -> list[dict[int, bytes]]:
    """Every step's global batch, from the plain loader."""
    batches = [Loader(data, programme, "main").batch(step) for step in range(STEPS)]
    return [{int(i): batch.tokens_BS[row].tobytes() for row, i in enumerate(batch.sample_ids)} for batch in batches]


def read(data, programme, state, world: int, workers: int, stop: int = STEPS) -> list[dict[int, bytes]]:
    """Global batches from `state` on, by real worker processes of every rank."""
    steps: list[dict[int, bytes]] = []
    for rank in range(world):
        source = StatefulLoader(data.place, rank=rank, world=world, stop=stop, programme=programme)
        if state is not None:
            source.load_state_dict(state)
        loader = DataLoader(source.torch_dataset(), batch_size=None, num_workers=workers)
        for number, micro_batches in enumerate(loader):
            if number == len(steps):
                steps.append({})
            rows = rows_of_step(micro_batches)
            assert not rows.keys() & steps[number].keys()
            steps[number].update(rows)
    return steps


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 2), (3, 1)])
def test_dataloader_workers_and_world_size_change_no_global_batch(data, programme, whole, world, workers) -> None:
    assert read(data, programme, None, world, workers) == whole


def test_resume_in_mid_epoch_at_another_world_size(data, programme, whole) -> None:
    """Stop two ranks with two workers each after three steps; go on with three ranks and one worker each."""
    first = StatefulLoader(data.place, world=2, programme=programme)
    begun = read(data, programme, None, 2, 2, stop=3)
    state = pickle.loads(pickle.dumps(first.state_at(3)))
    assert begun + read(data, programme, state, 3, 1) == whole


def test_state_follows_what_was_given_out(data, programme, whole) -> None:
    source = StatefulLoader(data.place, stop=STEPS, programme=programme)
    batches = iter(source)
    for _ in range(4):
        next(batches)
    batches.close()
    state = source.state_dict()
    assert state["step"] == 4 and len(source) == STEPS - 4
    fresh = StatefulLoader(data.place, stop=STEPS, programme=programme)
    fresh.load_state_dict(state)
    rest = [batch.sample_ids.tolist() for (batch,) in fresh]
    assert [sorted(ids) for ids in rest] == [sorted(step) for step in whole[4:]]


def test_worker_states_go_on_with_the_same_number_of_workers_only(data, programme) -> None:
    source = StatefulLoader(data.place, stop=STEPS, programme=programme)
    state = {**source.state_at(2), "worker_of": 5}
    source.load_state_dict(state)
    loader = DataLoader(source.torch_dataset(), batch_size=None, num_workers=2)
    with pytest.raises(UsageError, match="one of 5 workers"):
        next(iter(loader))


def test_state_of_other_data_is_refused_unless_the_decision_is_later(fresh: Workspace, programme) -> None:
    source = StatefulLoader(fresh.place, programme=programme)
    state = source.state_at(22)
    with pytest.raises(InputError, match="not what the checkpoint was trained on"):
        source.load_state_dict({**state, "fingerprint": "0" * 64})
    with pytest.raises(InputError, match="not a state of run 'main'"):
        source.load_state_dict({**state, "run": "other"})
    add_segment(fresh, programme, "main", Decision("v0.1", 24, "annealing", "someone", mix={"code": 1.0}))
    later = StatefulLoader(fresh.place, programme=programme)
    later.load_state_dict(state)
    assert later.step == 22


def test_stateful_dataloader_of_torchdata_resumes_with_workers(data, programme, whole) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def loader():
        source = StatefulLoader(data.place, stop=STEPS, programme=programme)
        return stateful.StatefulDataLoader(source.torch_dataset(), batch_size=None, num_workers=1)

    running = loader()
    steps = iter(running)
    seen = [rows_of_step(next(steps)) for _ in range(3)]
    state = running.state_dict()
    assert len(list(steps)) == STEPS - 3
    resumed = loader()
    resumed.load_state_dict(state)
    assert seen + [rows_of_step(step) for step in resumed] == whole
