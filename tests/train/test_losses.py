"""Terms of the loss against their definitions."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from expedition.data.records import KINDS
from expedition.errors import ProgrammeError
from expedition.kernels.router_sums import router_sums
from expedition.parallel.mesh import Ranks
from expedition.plan import load_programme
from expedition.plan.data import Kind
from expedition.train.batches import to_tensors
from expedition.train.losses import (
    LinearHead,
    Soft,
    Targets,
    balance_loss,
    divergence,
    expert_counts,
    router_z_loss,
    token_losses,
    top_share,
)
from expedition.train.objective import Sums, forward_backward
from expedition.train.objective import targets as targets_of
from expedition.train.setup import build
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


def targets() -> tuple[torch.Tensor, torch.Tensor, Targets]:
    generator = torch.Generator().manual_seed(3)
    hidden_BSH = torch.randn(2, 9, 4, generator=generator)
    weight_VH = torch.randn(11, 4, generator=generator)
    labels_BS = torch.randint(0, 11, (2, 9), generator=generator)
    labels_BS[0, :3] = -100
    kind_BS = torch.tensor([[0] * 9, [2] * 5 + [-1] * 4])
    labels_BS[1, 5:] = -100
    return hidden_BSH, weight_VH, Targets(labels_BS, kind_BS, torch.tensor([1.0, 1.0, 0.5]))


def test_chunks_change_neither_the_loss_nor_its_gradient() -> None:
    hidden_BSH, weight_VH, target = targets()
    results = []
    for chunk in (1, 4, 1000):
        hidden, weight = hidden_BSH.clone().requires_grad_(), weight_VH.clone().requires_grad_()
        losses = token_losses(lambda h, w=weight: F.linear(h, w), hidden, target, chunk)
        losses.objective.backward()
        results.append((losses.objective.detach(), hidden.grad, weight.grad))
    for result in results[1:]:
        for ours, first in zip(result, results[0], strict=True):
            torch.testing.assert_close(ours, first, atol=1e-5, rtol=1e-5)


def test_losses_by_kind_add_up_and_weights_count() -> None:
    hidden_BSH, weight_VH, target = targets()
    losses = token_losses(lambda hidden: F.linear(hidden, weight_VH), hidden_BSH, target, 1000)
    logits = F.linear(hidden_BSH, weight_VH)
    whole = F.cross_entropy(logits.flatten(0, 1), target.labels_BS.flatten(), ignore_index=-100, reduction="sum")
    torch.testing.assert_close(losses.sum_K.sum(), whole)
    assert losses.count_K.tolist() == [6.0, 0.0, 5.0]
    torch.testing.assert_close(losses.objective, losses.sum_K[0] + 0.5 * losses.sum_K[2])


def test_a_teacher_that_agrees_adds_nothing() -> None:
    hidden_BSH, weight_VH, target = targets()
    head = lambda hidden: F.linear(hidden, weight_VH)  # noqa: E731
    taught = replace(target, soft_share=1.0)
    assert abs(float(token_losses(head, hidden_BSH, taught, 4, Soft(head, hidden_BSH, 2.0)).objective)) < 1e-5
    assert float(token_losses(head, hidden_BSH, taught, 4, Soft(head, -hidden_BSH, 2.0)).objective) > 1.0
    half = token_losses(head, hidden_BSH, replace(target, soft_share=0.5), 4, Soft(head, hidden_BSH, 2.0))
    plain = token_losses(head, hidden_BSH, target, 4)
    torch.testing.assert_close(half.objective, 0.5 * plain.objective)


def test_divergence_is_the_kl_of_the_softened_distributions() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 3.0]])
    p, q = (teacher / 2).softmax(-1), (student / 2).softmax(-1)
    torch.testing.assert_close(divergence(student, teacher, 2.0), 4 * (p * (p / q).log()).sum(-1))


def test_balanced_routing_has_balance_loss_one_and_one_expert_has_e() -> None:
    experts, tokens = 8, 64
    real_T = torch.ones(tokens, dtype=torch.bool)
    flat = torch.zeros(tokens, experts)
    even = torch.arange(tokens)[:, None] % experts
    counts = expert_counts([even], real_T, experts)
    probability, _ = router_sums([flat], real_T)
    torch.testing.assert_close(balance_loss(probability, counts, torch.tensor(float(tokens))), torch.tensor(1.0))
    peaked = torch.zeros(tokens, experts)
    peaked[:, 3] = 50.0
    counts = expert_counts([torch.full((tokens, 1), 3)], real_T, experts)
    loss = balance_loss(router_sums([peaked], real_T)[0], counts, torch.tensor(float(tokens)))
    torch.testing.assert_close(loss, torch.tensor(float(experts)))
    assert float(top_share(counts)) == 1.0


def test_padding_is_not_counted() -> None:
    real_T = torch.tensor([True, True, False])
    counts = expert_counts([torch.tensor([[0, 1], [1, 2], [3, 3]])], real_T, 4)
    assert counts.tolist() == [[1.0, 2.0, 1.0, 0.0]]
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [100.0, 100.0]])
    z = router_z_loss(router_sums([logits], real_T)[1], torch.tensor(2.0))
    torch.testing.assert_close(z, torch.tensor(math.log(2.0) ** 2))


def gradients_of(micro_batches: int, **loss: Any) -> tuple[dict[str, torch.Tensor], Sums]:
    """Gradients and sums of one step of 4 rows in so many micro-batches."""
    run = tiny_run(micro_batches=micro_batches, loss=loss)
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    batches = [to_tensors(batch, CPU, torch.float32) for batch in CountingSource(run).rank_batch(0, 0, 1)]
    sums = forward_backward(built.parts, batches)
    named = built.state.optimizer.parameters
    return {name: value.grad for name, value in named.items() if value.grad is not None}, sums


def test_micro_batches_have_the_gradient_of_the_whole_batch() -> None:
    loss = {"balance": 0.5, "balance_counts": "exact", "z_loss": 1e-3, "head_z_loss": 1e-3}
    weights = {"web": 0.5, "image-text": 2.0}
    whole, whole_sums = gradients_of(1, kind_weights=weights, **loss)
    for micro_batches in (2, 4):
        parts, sums = gradients_of(micro_batches, kind_weights=weights, **loss)
        assert torch.equal(sums.counts_LE, whole_sums.counts_LE)
        torch.testing.assert_close(sums.balance, whole_sums.balance, atol=0, rtol=1e-6)
        assert parts.keys() == whole.keys()
        for name, gradient in whole.items():
            # Sums of some thousand fp32 terms in another order: relative error about 1e-6 of the largest term.
            torch.testing.assert_close(parts[name], gradient, atol=2e-6, rtol=1e-4, msg=name)


def test_running_counts_of_the_last_micro_batch_are_those_of_the_step() -> None:
    _, exact = gradients_of(4, balance_counts="exact")
    _, running = gradients_of(4, balance_counts="running")
    _, whole = gradients_of(1, balance_counts="running")
    assert torch.equal(running.counts_LE, exact.counts_LE)
    assert float(whole.balance) == pytest.approx(float(exact.balance), rel=1e-6)
    # What the plan's default leaves: early micro-batches are weighed by part of the batch.
    assert float(running.balance) > float(exact.balance) * 1.001


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=2, max_size=6), st.data())
def test_any_split_with_unequal_labels_has_the_sums_and_gradients_of_one_batch(
    labelled: list[list[bool]], data: st.DataObject
) -> None:
    """Rows with any labels at all, in any micro-batches: the shares divide by what the whole batch counts."""
    rows, length = len(labelled), 6
    assume(any(any(row) for row in labelled))
    generator = torch.Generator().manual_seed(rows)
    hidden_BSH = torch.randn(rows, length, 4, generator=generator)
    weight_VH = torch.randn(11, 4, generator=generator)
    labels_BS = torch.randint(0, 11, (rows, length), generator=generator)
    labels_BS[~torch.tensor(labelled)] = -100
    kind_BS = torch.randint(0, 3, (rows, length), generator=generator)
    weights_K = torch.tensor([1.0, 0.25, 2.0])
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1))))
    total = weights_K[kind_BS[labels_BS != -100]].sum()

    def gradient(bounds: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden, weight = hidden_BSH.clone().requires_grad_(), weight_VH.clone().requires_grad_()
        value = torch.zeros(())
        for first, end in pairwise([0, *bounds, rows]):
            target = Targets(labels_BS[first:end], kind_BS[first:end], weights_K, z_loss=1e-2)
            share = token_losses(LinearHead(weight), hidden[first:end], target, 4).objective / total
            share.backward()
            value += share.detach()
        assert hidden.grad is not None
        assert weight.grad is not None
        return value, hidden.grad, weight.grad

    for split, whole in zip(gradient(cuts), gradient([]), strict=True):
        # At most 36 terms of size one, each with a few roundings of 2⁻²⁴, in another order. A mean of micro-batches'
        # means is off by tens of per cent where their label counts differ.
        torch.testing.assert_close(split, whole, atol=1e-5, rtol=1e-5)


def test_the_heads_z_loss_is_the_weighted_square_of_the_log_normaliser() -> None:
    hidden_BSH, weight_VH, target = targets()
    weight = weight_VH.clone().requires_grad_()

    def objective(z_loss: float) -> torch.Tensor:
        return token_losses(LinearHead(weight), hidden_BSH, replace(target, z_loss=z_loss), 4).objective

    z = (objective(2.0) - objective(0.0)) / 2.0
    z.backward()
    reference = weight_VH.clone().requires_grad_()
    labelled = target.labels_BS != -100
    norm = F.linear(hidden_BSH[labelled], reference).logsumexp(-1)
    expected = (norm.square() * target.weights_K[target.kind_BS[labelled]]).sum()
    expected.backward()
    torch.testing.assert_close(z, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(weight.grad, reference.grad, atol=1e-5, rtol=1e-5)


def test_places_that_the_host_knows_change_nothing() -> None:
    hidden_BSH, weight_VH, target = targets()
    known = replace(target, places_N=(target.labels_BS.flatten() != -100).nonzero().squeeze(1))
    found = [token_losses(LinearHead(weight_VH), hidden_BSH, one, 4) for one in (target, known)]
    assert torch.equal(found[0].objective, found[1].objective)
    assert torch.equal(found[0].sum_K, found[1].sum_K)


def test_a_weight_for_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ProgrammeError, match=r"no kind 'vidoe-text'; known: web, .*video-text") as caught:
        load_programme("rehearsal", ["runs.main.loss.kind_weights={vidoe-text: 2}"])
    assert "runs.main.loss" in (caught.value.where or "")
    assert get_args(Kind) == KINDS


@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
def test_a_head_that_the_policy_names_multiplies_in_fp8_with_scales_of_rows(recipe: str) -> None:
    precision = {"fp8": {"modules": ["lm_head"], "exclude": [], "recipe": recipe}}
    found = []
    for run in (tiny_run(precision=precision), tiny_run()):
        built = build(tiny_config(), run, Ranks(0, 1), CPU)
        batch = to_tensors(CountingSource(run).rank_batch(0, 0, 1)[0], CPU, torch.float32)
        output, head = built.parts.forward(batch)
        losses = token_losses(head, output.hidden_BSH, targets_of(built.parts, batch), 1000)
        losses.objective.backward()
        found.append((head, losses.sum_K.sum(), built.state.optimizer.parameters["model.norm.weight"].grad))
    low, plain = found
    assert plain[0].fp8 is None
    assert low[0].fp8 is not None and low[0].fp8.copies.granularity == "rowwise"
    assert low[0].fp8.recipe.emulated
    for one, other in zip(low[1:], plain[1:], strict=True):
        error = float((one - other).norm() / other.norm())
        # E4M3 keeps 2⁻⁴ of each factor, E5M2 2⁻³ of a gradient; the errors are random and products sum them.
        assert 0 < error < 0.1
