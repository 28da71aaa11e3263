"""Terms of the loss against their definitions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from expedition.parallel.mesh import Ranks
from expedition.train.batches import to_tensors
from expedition.train.losses import (
    Soft,
    Targets,
    balance_loss,
    divergence,
    expert_counts,
    router_z_loss,
    token_losses,
    top_share,
)
from expedition.train.objective import forward_backward
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
        losses.weighted_sum.backward()
        results.append((losses.weighted_sum.detach(), hidden.grad, weight.grad))
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
    torch.testing.assert_close(losses.weighted_sum, losses.sum_K[0] + 0.5 * losses.sum_K[2])


def test_a_teacher_that_agrees_adds_nothing() -> None:
    hidden_BSH, weight_VH, target = targets()
    head = lambda hidden: F.linear(hidden, weight_VH)  # noqa: E731
    same = token_losses(head, hidden_BSH, target, 4, Soft(head, hidden_BSH, 2.0))
    assert abs(float(same.soft_sum)) < 1e-5
    other = token_losses(head, hidden_BSH, target, 4, Soft(head, -hidden_BSH, 2.0))
    assert float(other.soft_sum) > 1.0


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
    torch.testing.assert_close(balance_loss([flat], real_T, counts, torch.tensor(float(tokens))), torch.tensor(1.0))
    peaked = torch.zeros(tokens, experts)
    peaked[:, 3] = 50.0
    counts = expert_counts([torch.full((tokens, 1), 3)], real_T, experts)
    loss = balance_loss([peaked], real_T, counts, torch.tensor(float(tokens)))
    torch.testing.assert_close(loss, torch.tensor(float(experts)))
    assert float(top_share(counts)) == 1.0


def test_padding_is_not_counted() -> None:
    real_T = torch.tensor([True, True, False])
    counts = expert_counts([torch.tensor([[0, 1], [1, 2], [3, 3]])], real_T, 4)
    assert counts.tolist() == [[1.0, 2.0, 1.0, 0.0]]
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [100.0, 100.0]])
    z = router_z_loss([logits], real_T, torch.tensor(2.0))
    torch.testing.assert_close(z, torch.tensor(math.log(2.0) ** 2))


def test_micro_batches_have_the_gradient_of_the_whole_batch() -> None:
    gradients, counts = [], []
    for parts in (1, 2):
        run = tiny_run(micro_batches=parts, loss={"balance": 0.0, "z_loss": 1e-3, "kind_weights": {"web": 0.5}})
        built = build(tiny_config(), run, Ranks(0, 1, None), CPU)
        source = CountingSource(run, media=("",))
        batches = [to_tensors(batch, CPU, torch.float32) for batch in source.rank_batch(0, 0, 1)]
        sums = forward_backward(built.parts, batches)
        named = built.state.optimizer.parameters
        gradients.append({name: value.grad for name, value in named.items() if value.grad is not None})
        counts.append(sums.counts_LE)
    assert torch.equal(counts[0], counts[1])
    for name, gradient in gradients[0].items():
        # Sums of some thousand fp32 terms in another order: relative error about 1e-6 of the largest term.
        torch.testing.assert_close(gradients[1][name], gradient, atol=2e-6, rtol=1e-4, msg=name)
