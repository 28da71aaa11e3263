"""What a person may get wrong: one sentence that names it, where, and what to do; an exit code; nothing lost."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading import Loader, LoadingConfig
from expedition.data.loading.batch import Batch
from expedition.errors import ExpeditionError, InputError, ProgrammeError, UsageError
from expedition.parallel.apply import require_layout
from expedition.plan.runs import ParallelPlan, RunPlan
from expedition.train.checkpoint import checkpoints
from expedition.train.out_of_memory import USABLE, is_out_of_memory, memory_need, plan_that_fits
from expedition.train.run import Inputs, train_run
from expedition.train.setup import model_config
from expedition.workspace import Workspace, layout
from tests.data.loading.made_version import generated, write_version
from tests.train.programme import programme_with
from tests.train.tiny import IDS, CountingSource, tiny_config, tiny_run, tiny_shape


class Spoiling(CountingSource):
    """The counting source whose batches from step 3 on are spoilt by `how`."""

    def __init__(self, run: RunPlan, how: str) -> None:
        super().__init__(run)
        self.how = how

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[list[Batch], None, None]:
        for step in range(start, stop):
            batches = self.rank_batch(step, rank, world)
            yield [self._spoilt(batch) for batch in batches] if step >= 3 else batches

    def _spoilt(self, batch: Batch) -> Batch:
        if self.how == "memory":
            torch.empty(1 << 55)
        tokens = batch.tokens_BS.copy()
        if self.how == "no placeholder":
            tokens[tokens == IDS.image_pad] = 20
        elif self.how == "more placeholders":
            tokens[:, 30] = IDS.image_pad
        elif self.how == "no pictures at all":
            return replace(
                batch, patches_PC=batch.patches_PC[:0], grid_G3=batch.grid_G3[:0], is_video_G=batch.is_video_G[:0]
            )
        return replace(batch, tokens_BS=tokens)


SPOILT: dict[str, tuple[type[ExpeditionError], str]] = {
    "no placeholder": (InputError, "0 image and video pad tokens stand for 3 image and video features"),
    "more placeholders": (InputError, "7 image and video pad tokens stand for 3"),
    "no pictures at all": (InputError, "3 image and video pad tokens stand for 0"),
    "memory": (ProgrammeError, "rank 0 of 1 is out of memory"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_step_that_cannot_be_done_is_named_and_nothing_is_lost(how: str, tmp_path: Path) -> None:
    """The run ends with exit code 2; the checkpoint before it is complete, and a mended run goes on from it."""
    torch.set_num_threads(1)
    error, message = SPOILT[how]
    run = tiny_run(length="6 steps")
    ws, programme = Workspace.open(tmp_path / "w", create=True), programme_with(main=run)
    with pytest.raises(error, match=message) as caught:
        train_run(ws, programme, "main", inputs=Inputs(Spoiling(run, how), tiny_config()))
    assert caught.value.exit_code == 2 and caught.value.fix
    assert [info.step for info in checkpoints(ws, "main")] == [2]
    assert train_run(ws, programme, "main", inputs=Inputs(CountingSource(run), tiny_config()))["finished"]


def test_out_of_memory_says_what_would_fit(tmp_path: Path) -> None:
    run = tiny_run(length="6 steps", batch_sequences=8, micro_batches=2)
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(ProgrammeError) as caught:
        train_run(ws, programme_with(main=run), "main", inputs=Inputs(Spoiling(run, "memory"), tiny_config()))
    told = str(caught.value)
    for part in ("GiB on cpu", "a micro-batch is 4 × 48 positions", "states", "activations", "logits"):
        assert part in told
    assert "--set runs.main.micro_batches=4" in told


LARGE = replace(tiny_config(), vocabulary=152_064)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([1, 4, 12, 64]),
    length=st.sampled_from([512, 4096, 32768]),
    gib=st.floats(0.01, 40),
    recompute=st.sampled_from(["none", "layers", "selective"]),
)
def test_a_proposed_plan_fits_by_the_same_estimate(rows: int, length: int, gib: float, recompute: str) -> None:
    run = tiny_run(sequence_length=length, batch_sequences=rows, parallel={"recompute": recompute})
    memory = int(gib * (1 << 30))
    now = memory_need(LARGE, run, 1, recompute)
    changes = plan_that_fits(LARGE, run, memory)
    if changes is None:
        smallest = min(memory_need(LARGE, run, rows, how).total for how in (recompute, "layers"))
        assert smallest > USABLE * memory or smallest >= now.total
        return
    told = dict(change.split("=") for change in changes)
    micro_batches, how = int(told.get("micro_batches", 1)), told.get("parallel.recompute", recompute)
    changed = memory_need(LARGE, run, micro_batches, how)
    assert rows % micro_batches == 0
    assert changed.total <= USABLE * memory and changed.total < now.total


def test_only_failed_allocations_are_taken_for_them() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value) and is_out_of_memory(torch.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


LAYOUTS: dict[str, tuple[dict[str, int], str]] = {
    "heads that tensor ranks do not divide": ({"tp": 3}, "tp = 3"),
    "experts that ranks do not divide": ({"dp_shard": 3, "ep": 3}, "ep = 3 does not divide the model's 8 experts"),
    "more stages than layers": ({"pp": 4}, "4 pipeline stages for 2 layers"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_shape_that_cannot_be_laid_out_is_refused_with_the_rule(case: str) -> None:
    degrees, message = LAYOUTS[case]
    with pytest.raises(ProgrammeError, match=message) as caught:
        require_layout(tiny_shape(), ParallelPlan(**degrees))
    assert caught.value.exit_code == 2


def test_another_number_of_processes_than_planned_is_refused(tmp_path: Path) -> None:
    run = tiny_run(parallel={"dp_shard": 2})
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(UsageError, match="the plan has 2 ranks and 1 processes were started") as caught:
        train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()))
    assert "torchrun --nproc-per-node 2" in (caught.value.fix or "")


def real(ws: Workspace, **changes: Any) -> Inputs:
    """The real loader on a made dataset."""
    base = {"length": "6 steps", "sequence_length": 256, "batch_sequences": 6}
    programme = programme_with(main=tiny_run(**{**base, **changes}))
    config = LoadingConfig(ask_ledger=False)
    return Inputs(Loader(ws, programme, "main", config), model_config(ws, programme, programme.runs["main"]))


def test_a_dataset_whose_version_changed_is_refused(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    manifest = write_version(ws, "v0.1", generated(1))
    programme = programme_with(main=tiny_run(length="6 steps", sequence_length=256, batch_sequences=6))
    train_run(ws, programme, "main", inputs=real(ws))
    changed = {**manifest, "content_hash": "f" * 64}
    ws.write_json(layout.manifest("v0.1"), changed, schema="data.manifest/1")
    longer = programme_with(main=tiny_run(length="8 steps", sequence_length=256, batch_sequences=6))
    with pytest.raises(InputError, match="the run was recorded with") as caught:
        train_run(ws, longer, "main", inputs=real(ws, length="8 steps"))
    assert caught.value.exit_code == 2 and len(checkpoints(ws, "main")) > 0


def test_a_version_with_another_tokenizer_cannot_join(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    write_version(ws, "v0.1", generated(1))
    manifest = write_version(ws, "v0.2", generated(2))
    other = {**manifest, "tokenizer_fingerprint": "0" * 64}
    ws.write_json(layout.manifest("v0.2"), other, schema="data.manifest/1")
    segments = [{"from_step": 0, "version": "v0.1"}, {"from_step": 3, "version": "v0.2"}]
    source = real(ws, segments=segments).source
    with pytest.raises(InputError, match=r"v0\.2 has another tokenizer than v0\.1"):
        source.rank_batch(3, 0, 1)


def test_a_vocabulary_that_is_too_small_is_refused() -> None:
    with pytest.raises(ProgrammeError, match="a vocabulary of 8 rows has no row for token id 9") as caught:
        replace(tiny_config(), vocabulary=8)
    assert "at least 10 rows" in (caught.value.fix or "")


def test_sequences_longer_than_the_model_reaches_are_refused(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    write_version(ws, "v0.1", generated(1))
    with pytest.raises(ProgrammeError, match="8192 tokens are longer than the model's max_positions 4096"):
        real(ws, sequence_length=8192)
