"""A model that is cut into stages takes the step of one process, by every schedule, alone and with other axes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from expedition.errors import ProgrammeError
from expedition.parallel.pipeline import require_stages, stage_layers
from expedition.plan.runs import ParallelPlan
from tests.parallel.cases import Case, alone, differences, run_cases
from tests.train.tiny import tiny_run, tiny_shape

BOUND = 1e-4
"""As in test_ranks: fp32 sums in another order; a micro-batch that is lost, counted twice or scaled is off by per cents."""

FOUR = {"layers": 4, "tied_embeddings": False}
TIED = {"layers": 4, "tied_embeddings": True}
DENSE = {"layers": 5, "dense_layers": (1, 4), "dense_inner": 48, "tied_embeddings": True}
RUN = {"batch_sequences": 8, "micro_batches": 4}
GROWING = {**RUN, "batch_sequences": [{"from_step": 0, "sequences": 8}, {"from_step": 1, "sequences": 12}]}
INTERLEAVED = {"pp": 2, "schedule": "interleaved", "stages_per_rank": 2}
ZERO_BUBBLE = {"pp": 2, "schedule": "zero_bubble", "stages_per_rank": 2}

CASES = [
    Case("1f1b", {"pp": 2}, FOUR, RUN),
    Case("1f1b tied", {"pp": 2}, TIED, RUN),
    Case("dense layers between", {"pp": 2}, DENSE, RUN),
    Case("interleaved", INTERLEAVED, TIED, RUN),
    Case("interleaved, layers recomputed", {**INTERLEAVED, "recompute": "layers"}, FOUR, RUN),
    Case("zero bubble", ZERO_BUBBLE, FOUR, RUN),
    Case("zero bubble tied", ZERO_BUBBLE, TIED, RUN),
    Case("zero bubble, layers recomputed", {**ZERO_BUBBLE, "recompute": "layers"}, TIED, RUN),
    Case("a batch that grows", {"pp": 2}, TIED, GROWING),
    Case("four ranks, tied", {"pp": 4}, TIED, RUN),
    Case("with FSDP", {"pp": 2, "dp_shard": 2}, TIED, RUN),
    Case("interleaved with replicas", {**INTERLEAVED, "dp_replicate": 2}, TIED, RUN),
    Case("zero bubble with FSDP", {**ZERO_BUBBLE, "dp_shard": 2}, TIED, RUN),
    Case("with tp", {"pp": 2, "tp": 2}, DENSE, RUN),
    Case("with cp", {"pp": 2, "cp": 2}, FOUR, RUN),
    Case("with ep", {"pp": 2, "dp_shard": 2, "ep": 2}, FOUR, RUN),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("pipelines")
    found: dict[str, dict[str, Tensor]] = {}
    for world in (2, 4):
        found |= run_cases(folder, world, [case for case in CASES if ParallelPlan(**case.parallel).world == world])
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stages_take_the_step_of_one_process(results: dict[str, dict[str, Tensor]], case: Case) -> None:
    one = alone(case)
    assert float(one["gradient.visual.patch_embed.proj.weight"].norm()) > 0
    assert differences(results[case.name], one, BOUND) == []


@given(st.integers(1, 64), st.data())
def test_stages_hold_each_layer_once_and_equally_many(layers: int, data: st.DataObject) -> None:
    spans = stage_layers(layers, data.draw(st.integers(1, layers)))
    assert [layer for span in spans for layer in span] == list(range(layers))
    sizes = [len(span) for span in spans]
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] <= max(sizes[1:-1], default=sizes[0])


def test_what_cannot_be_cut_is_refused_with_the_rule() -> None:
    with pytest.raises(ProgrammeError, match="8 pipeline stages for 4 layers"):
        require_stages(ParallelPlan(pp=8), tiny_shape(layers=4))
    deep = tiny_shape(layers=4, vision={**tiny_shape().vision.model_dump(), "layers": 2, "deepstack_layers": (0, 1)})
    with pytest.raises(ProgrammeError, match="vision adds to the first 2"):
        require_stages(ParallelPlan(pp=4), deep)
    with pytest.raises(ValueError, match="multiple of pp"):
        tiny_run(parallel={"pp": 2}, micro_batches=1)
    with pytest.raises(ValueError, match="stages_per_rank"):
        ParallelPlan(pp=2, stages_per_rank=2)
