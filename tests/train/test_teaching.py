"""Distillation from stored probabilities: equal to the whole teacher at k = V, bounded below it, and safe on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import InputError, UsageError
from expedition.plan.runs import RunPlan
from expedition.train.losses import divergence
from expedition.train.run import Inputs, train_run
from expedition.train.teacher_parts import teach
from expedition.train.top_k import PART_SEQUENCES, Part, folder_of, largest, part_key, top_k_divergence
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import VOCABULARY, CountingSource, tiny_config, tiny_run

TEACHER = {"run": "main", "weight": 0.7, "temperature": 2.0}


def logits(rows: int, seed: int, scale: float = 3.0, vocabulary: int = 40) -> torch.Tensor:
    return scale * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 40), temperature=st.sampled_from([0.7, 1.0, 3.0]))
def test_the_coarser_divergence_is_never_larger(seed: int, k: int, temperature: float) -> None:
    """And what it leaves out is exactly the rest's probability times the divergence within the rest."""
    teacher, student = logits(6, seed), logits(6, seed + 1)
    whole = divergence(student, teacher, temperature)
    ids, log_p, log_rest = largest(teacher, k, temperature)
    coarse = top_k_divergence(student, ids, log_p, log_rest, temperature)
    assert torch.all(coarse <= whole * (1 + 1e-5) + 1e-5) and torch.all(coarse >= -1e-5)
    if k == 40:
        torch.testing.assert_close(coarse, whole, rtol=1e-5, atol=1e-6)
        return
    others_p = (teacher / temperature).log_softmax(-1).scatter(-1, ids, -math.inf).log_softmax(-1)
    others_q = (student / temperature).log_softmax(-1).scatter(-1, ids, -math.inf).log_softmax(-1)
    within = (others_p.exp() * (others_p - others_q).nan_to_num(0.0)).sum(-1) * temperature**2
    torch.testing.assert_close(whole - coarse, log_rest.exp() * within, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_gradients_are_finite_and_those_of_the_formula(k: int) -> None:
    """By central differences in float64 of the same formula; also where the teacher is sure of one token."""
    sure = torch.full((1, 40), -60.0)
    sure[0, 3] = 60.0
    for teacher in (logits(3, 1), sure):
        student = logits(len(teacher), 2).requires_grad_()
        ids, log_p, log_rest = largest(teacher, k, 1.5)
        top_k_divergence(student, ids, log_p, log_rest, 1.5).sum().backward()
        assert student.grad is not None and torch.isfinite(student.grad).all()
        whole = logits(len(teacher), 2).requires_grad_()
        divergence(whole, teacher, 1.5).sum().backward()
        assert whole.grad is not None
        if k == 40:
            torch.testing.assert_close(student.grad, whole.grad, rtol=1e-4, atol=1e-6)
        assert student.grad.sum(-1).abs().max() < 1e-4, "a shift of all logits changes nothing"


def student(**teacher: Any) -> RunPlan:
    return tiny_run(length="4 steps", seed=9, teacher={**TEACHER, **teacher}, micro_batches=2)


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a trained teacher."""
    torch.set_num_threads(1)
    ws = Workspace.open(tmp_path_factory.mktemp("taught") / "w", create=True)
    train(ws, {"main": tiny_run(length="6 steps")}, "main")
    return ws


def train(ws: Workspace, runs: dict[str, RunPlan], name: str) -> list[float]:
    run = runs[name]
    train_run(ws, programme_with(**runs), name, inputs=Inputs(CountingSource(run), tiny_config()))
    return [float(loss) for loss in read_metrics(ws, name, ["loss"])["loss"]]


def write_down(ws: Workspace, runs: dict[str, RunPlan], name: str, config: Any = None) -> dict[str, Any]:
    inputs = Inputs(CountingSource(runs[name]), config or tiny_config())
    return teach(ws, programme_with(**runs), name, inputs=inputs)


def runs(name: str, **teacher: Any) -> dict[str, RunPlan]:
    return {"main": tiny_run(length="6 steps"), name: student(**teacher)}


def test_all_of_the_vocabulary_stored_gives_the_losses_of_the_teacher_beside(ws: Workspace) -> None:
    beside = train(ws, runs("beside"), "beside")
    stored = runs("stored", top_k=VOCABULARY)
    manifest = write_down(ws, stored, "stored")
    assert manifest["complete"] and manifest["settings"]["teacher"]["run"] == "main"
    assert train(ws, stored, "stored") == pytest.approx(beside, rel=1e-5)
    alone = train(ws, {"alone": student().model_copy(update={"teacher": None})}, "alone")
    assert abs(alone[-1] - beside[-1]) > 1e-4, "the teacher changes what is learnt"


def test_a_few_stored_stay_close_to_the_teacher_beside(ws: Workspace) -> None:
    """Half precision and 8 of 48: the losses of the first steps differ by less than the teacher's whole influence."""
    few = runs("few", top_k=8, stored="fp16")
    write_down(ws, few, "few")
    beside, alone = (
        train(ws, runs("beside"), "beside"),
        train(ws, {"alone": student().model_copy(update={"teacher": None})}, "alone"),
    )
    found = train(ws, few, "few")
    assert abs(found[-1] - beside[-1]) < 0.5 * abs(alone[-1] - beside[-1])


def test_writing_down_goes_on_after_a_kill_to_the_same_bytes(ws: Workspace, tmp_path: Path) -> None:
    long = {
        "main": tiny_run(length="6 steps"),
        "long": student(top_k=4).model_copy(update={"length": tiny_run(length="40 steps").length}),
    }
    whole = write_down(ws, long, "long")
    assert len(whole["parts"]) == -(-40 * 4 // PART_SEQUENCES) == 3
    for key in (part_key("long", 1), f"{folder_of('long')}/manifest.json"):
        ws.path(key).chmod(0o644)
        ws.store.delete(key)
    assert write_down(ws, long, "long")["parts"] == whole["parts"]
    part = Part.from_bytes(ws.store.read(part_key("long", 2)))
    assert len(part.first_N) == PART_SEQUENCES + 1
    assert np.all(np.exp(part.log_p_PK).sum(-1) + np.exp(part.log_rest_P) == pytest.approx(1, abs=1e-4))


def test_what_is_stored_must_be_what_the_plan_says(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="expedition train teach --run nothing"):
        train(ws, runs("nothing", top_k=4), "nothing")
    with pytest.raises(UsageError, match="stores no teacher"):
        write_down(ws, runs("plain"), "plain")
    write_down(ws, runs("four", top_k=4), "four")
    for changed, message in (({"top_k": 5}, "top_k = 4"), ({"top_k": 4, "temperature": 1.0}, "temperature = 2.0")):
        with pytest.raises(UsageError, match=message):
            train(ws, runs("four", **changed), "four")
        with pytest.raises(UsageError, match=message):
            write_down(ws, runs("four", **changed), "four")
    key = part_key("four", 0)
    data = bytearray(ws.store.read(key))
    data[-1] ^= 1
    ws.path(key).chmod(0o644)
    ws.path(key).write_bytes(bytes(data))
    with pytest.raises(InputError, match="does not match its hash"):
        train(ws, runs("four", top_k=4), "four")


def test_a_teacher_that_cannot_teach_is_refused(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="'nobody' has no complete checkpoint"):
        train(ws, runs("a", run="nobody"), "a")
    with pytest.raises(UsageError, match="no complete checkpoint 'checkpoint_7_tokens'"):
        train(ws, runs("b", checkpoint="checkpoint_7_tokens"), "b")
    from dataclasses import replace

    with pytest.raises(UsageError, match="a vocabulary of 48 rows and the student one of 64"):
        write_down(ws, runs("c", top_k=2), "c", replace(tiny_config(), vocabulary=64))
    with pytest.raises(UsageError, match="is taught by main"):
        train(ws, {**runs("beside", run="other"), "other": tiny_run()}, "beside")
