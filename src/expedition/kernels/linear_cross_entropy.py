"""Cross entropy of a linear head with its gradient made in the forward pass, chunk by chunk.

Shapes: T positions, C positions of a chunk, H hidden, V vocabulary.

A chunk's logits become their own gradient in place, and the two products with it follow at once: three products in all
and one buffer of logits, where keeping or recomputing logits costs all of them or a fourth product. The idea is that of
liger-kernel's fused linear cross entropy (arXiv:2410.10989). What differs: weights by position and the z-loss are inside,
positions without a label leave no trace, and nothing waits for the device.

With FP8 factors the logits and the hidden states' gradient are FP8 products with scales of rows; the kernel that turns
logits into their gradient writes it rounded too, with a bound on the row's largest that the norm gives without another
pass. Where the recipe wants FP8 weight gradients too, columns of all positions are kept (V · T bytes) and multiplied once at
the end: FP8 products cannot continue a sum over chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.fp8_linear import LinearRecipe, Watch
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.quantize import FORMATS, Quantized, quantize_rows
from expedition.kernels.scaled_products import ALIGNMENT, scaled_product
from expedition.kernels.triton_jit import jit, launches, tl

__all__ = ["Fp8Factors", "LinearLosses", "linear_cross_entropy", "linear_cross_entropy_reference"]

_ROWS_MULTIPLE = 128
"""Rows of all chunks but the last: what product kernels tile by."""
_FEW_CHUNKS = 8
"""So many are summed in the hidden dtype: a rounding more for each, beside the one that such a gradient has anyway."""
_TILE = 128
_BLOCK, _ROUNDING_BLOCK = 16384, 8192
_WARPS = 16
_LOWEST = -3.4e38
"""Below every logit and finite: a block of -inf gives exp(-inf) = 0, not exp(-inf + inf)."""


class Fp8Factors(NamedTuple):
    """How a head multiplies in FP8: scales of rows, whatever the recipe says of others."""

    copies: WeightCopies
    recipe: LinearRecipe
    watch: Watch | None = None


class LinearLosses(NamedTuple):
    """What a head's labels cost."""

    objective: Tensor
    """float32 scalar with gradient: Σ weight_t · (loss_t + z_loss · norm_t²)."""
    loss_T: Tensor
    """float32, in nats, no gradient; 0 where there is no label."""
    norm_T: Tensor
    """float32 logsumexp of the logits, no gradient; 0 where there is no label."""


def linear_cross_entropy_reference(
    hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor, weight_T: Tensor, z_loss: float = 0.0
) -> LinearLosses:
    """The definition, in float32 (or float64 for float64 inputs)."""
    wide = torch.promote_types(hidden_TH.dtype, torch.float32)
    logits_TV = F.linear(hidden_TH.to(wide), weight_VH.to(wide))
    labelled_T = labels_T >= 0
    norm_T = logits_TV.logsumexp(-1)
    loss_T = norm_T - logits_TV.gather(-1, labels_T.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    loss_T, norm_T = (torch.where(labelled_T, value, 0.0) for value in (loss_T, norm_T))
    objective = (weight_T * (loss_T + z_loss * norm_T.square())).sum()
    return LinearLosses(objective, loss_T.detach(), norm_T.detach())


def linear_cross_entropy(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    labels_T: Tensor,
    weight_T: Tensor,
    z_loss: float = 0.0,
    *,
    chunk_tokens: int = 4096,
    fp8: Fp8Factors | None = None,
) -> LinearLosses:
    """Same values as the reference up to rounding of the logits to the hidden dtype.

    `labels_T` int64, negative: no label; `weight_T` float32. At most `chunk_tokens` rows of logits exist at one time.
    Holds, until the backward pass, the gradients of hidden and of the weight (hidden dtype; sums over more than 8 chunks
    float32). CUDA: no host synchronisation, no atomics.
    """
    tokens = hidden_TH.shape[0]
    if fp8 is not None and (missing := -tokens % ALIGNMENT):  # rows of FP8 products; with no label they count nothing
        hidden_TH = F.pad(hidden_TH, (0, 0, 0, missing))
        labels_T, weight_T = F.pad(labels_T, (0, missing), value=-1), F.pad(weight_T, (0, missing))
    gradient = torch.is_grad_enabled() and (hidden_TH.requires_grad or weight_VH.requires_grad)
    found: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_TH, weight_VH, labels_T, weight_T, z_loss, chunk_tokens, gradient, fp8
    )
    return LinearLosses(found[0], found[1][:tokens], found[2][:tokens])


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_TH: Tensor,
        weight_VH: Tensor,
        labels_T: Tensor,
        weight_T: Tensor,
        z_loss: float,
        chunk_tokens: int,
        gradient: bool,
        fp8: Fp8Factors | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        loss_T = torch.empty(labels_T.shape, dtype=torch.float32, device=labels_T.device)
        norm_T = torch.empty_like(loss_T)
        grad_TH = torch.empty_like(hidden_TH) if gradient else None
        grad_VH: Tensor | None = None
        low = _Columns.of(hidden_TH, weight_VH, fp8) if gradient and fp8 is not None else None
        chunks = _chunks(hidden_TH.shape[0], chunk_tokens, 1 if fp8 is None else ALIGNMENT)
        for rows in chunks:
            hidden_CH = hidden_TH[rows]
            grad_CV = _logits(hidden_CH, weight_VH, fp8)
            chunk = _Chunk(grad_CV, labels_T[rows], weight_T[rows], loss_T[rows], norm_T[rows], z_loss)
            rounded = _losses_(chunk, gradient, fp8.recipe if fp8 is not None else None, plain=low is None)
            if grad_TH is not None:
                _hidden_gradient(grad_CV, rounded, weight_VH, fp8, grad_TH[rows])
                if low is None:
                    grad_VH = _add_product(grad_VH, grad_CV, hidden_CH, wide=len(chunks) > _FEW_CHUNKS)
                elif rounded is not None:
                    low.take(rounded, rows)
        if low is not None and fp8 is not None:
            grad_VH = low.product(hidden_TH, fp8.recipe)
        if gradient:
            ctx.save_for_backward(grad_TH, torch.zeros_like(weight_VH) if grad_VH is None else grad_VH)
            ctx.weight_dtype = weight_VH.dtype
        ctx.mark_non_differentiable(loss_T, norm_T)
        return (weight_T * (loss_T + z_loss * norm_T.square())).sum(), loss_T, norm_T

    @staticmethod
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grad_TH, grad_VH = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        scaled_VH = None
        if needs_weight:
            scaled_VH = torch.empty_like(grad_VH, dtype=ctx.weight_dtype)
            torch.mul(grad_VH, scale, out=scaled_VH)
        return (grad_TH * scale if needs_hidden else None, scaled_VH, *[None] * 6)


def _chunks(rows: int, most: int, step: int) -> list[slice]:
    """Stretches of at most `most` rows (of `step` at least), as few and as equal as can be; all but the last of a multiple
    of `step`."""
    most = max(step, most // step * step)
    count = max(1, -(-rows // most))
    size = -(-rows // count)
    multiple = _ROWS_MULTIPLE if size > _ROWS_MULTIPLE else step
    size = min(most, -(-size // multiple) * multiple)
    return [slice(first, min(rows, first + size)) for first in range(0, rows, size)]


def _add_product(total_VH: Tensor | None, grad_CV: Tensor, hidden_CH: Tensor, *, wide: bool) -> Tensor:
    """`total + gradᵀ · hidden`, `wide`: in float32; the total is changed in place."""
    grad_VC = grad_CV.t()
    if not wide:
        return torch.mm(grad_VC, hidden_CH) if total_VH is None else total_VH.addmm_(grad_VC, hidden_CH)
    if grad_CV.is_cuda and grad_CV.dtype in (torch.bfloat16, torch.float16) and not is_fake(grad_CV):
        if total_VH is None:
            return torch.mm(grad_VC, hidden_CH, out_dtype=torch.float32)
        return torch.addmm(total_VH, grad_VC, hidden_CH, out_dtype=torch.float32, out=total_VH)
    product_VH = grad_VC.float() @ hidden_CH.float()
    return product_VH if total_VH is None else total_VH.add_(product_VH)


class _Chunk(NamedTuple):
    """A chunk's tensors; logits, losses and norms are written."""

    logits_CV: Tensor
    labels_C: Tensor
    weight_C: Tensor
    loss_C: Tensor
    norm_C: Tensor
    z_loss: float


def _logits(hidden_CH: Tensor, weight_VH: Tensor, fp8: Fp8Factors | None) -> Tensor:
    if fp8 is None:
        return F.linear(hidden_CH, weight_VH)
    rounded = quantize_rows(hidden_CH, fp8.recipe.forward, fp8.recipe.power_of_two)
    weight = fp8.copies.forward(weight_VH)
    if fp8.watch is not None:
        fp8.watch("input", rounded)
        fp8.watch("weight", weight)
    return scaled_product(rounded, weight, hidden_CH.dtype, emulated=fp8.recipe.emulated)


def _hidden_gradient(
    grad_CV: Tensor, rounded: Quantized | None, weight_VH: Tensor, fp8: Fp8Factors | None, out_CH: Tensor
) -> None:
    if fp8 is None or rounded is None:
        torch.mm(grad_CV, weight_VH, out=out_CH)
        return
    if fp8.watch is not None:
        fp8.watch("gradient", rounded)
    weight = fp8.copies.backward(weight_VH)
    out_CH.copy_(scaled_product(rounded, weight, out_CH.dtype, emulated=fp8.recipe.emulated))


class _Columns(NamedTuple):
    """The logits' gradient in FP8, transposed, of all positions: a factor of the weight's gradient."""

    values_VT: Tensor
    inverse_T: Tensor
    """What each position's values are to be multiplied by."""

    @classmethod
    def of(cls, hidden_TH: Tensor, weight_VH: Tensor, fp8: Fp8Factors) -> _Columns | None:
        """Empty; None where the recipe wants plain weight gradients."""
        if not fp8.recipe.weight_gradient or not hidden_TH.shape[0]:
            return None
        tokens, device = hidden_TH.shape[0], hidden_TH.device
        values_VT = torch.empty(weight_VH.shape[0], tokens, dtype=FORMATS[fp8.recipe.gradient], device=device)
        return cls(values_VT, torch.empty(tokens, device=device))

    def take(self, rounded_CV: Quantized, rows: slice) -> None:
        """Keep a chunk."""
        self.inverse_T[rows] = rounded_CV.inverse
        values_CV, target_VC = rounded_CV.values.view(torch.uint8), self.values_VT.view(torch.uint8)[:, rows]
        if not launches(values_CV) or is_fake(values_CV):
            target_VC.copy_(values_CV.t())
            return
        tokens, size = values_CV.shape
        grid = (-(-tokens // _TILE), -(-size // _TILE))
        _turn_kernel[grid](values_CV, target_VC, tokens, size, self.values_VT.stride(0), TILE=_TILE, num_warps=8)

    def product(self, hidden_TH: Tensor, recipe: LinearRecipe) -> Tensor:
        """Σ_t grad_t hidden_t [V, H] in the hidden dtype. A position's scale moves to its hidden state, which is then
        rounded with scales of columns."""
        scaled_TH = hidden_TH.float() * self.inverse_T.unsqueeze(1)
        right = quantize_rows(scaled_TH.t().contiguous(), recipe.forward, recipe.power_of_two)
        ones_V = self.inverse_T.new_ones(self.values_VT.shape[0])
        left = Quantized(self.values_VT, ones_V, ones_V)
        return scaled_product(left, right, hidden_TH.dtype, emulated=recipe.emulated)


def _losses_(chunk: _Chunk, gradient: bool, recipe: LinearRecipe | None, plain: bool = True) -> Quantized | None:
    """Write losses and norms, and turn the logits, in place, into the objective's gradient by them.

    With a recipe the gradient comes back in FP8 too, with scales of rows; `plain` False: in FP8 alone, and the logits are
    then anything.
    """
    logits_CV = chunk.logits_CV
    rounds = gradient and recipe is not None
    if not launches(logits_CV) or is_fake(logits_CV):
        _plain_losses_(chunk, gradient)
        return quantize_rows(logits_CV, recipe.gradient, recipe.power_of_two) if rounds and recipe is not None else None
    rows, size = logits_CV.shape
    rounded, scales = logits_CV, logits_CV.new_empty(2, rows, dtype=torch.float32)
    block = _ROUNDING_BLOCK if rounds else _BLOCK
    kind = FORMATS[recipe.gradient] if recipe is not None else torch.float8_e5m2
    if rounds:
        rounded = torch.empty(rows, size, dtype=kind, device=logits_CV.device)
    _rows_kernel[(rows,)](
        logits_CV,
        chunk.labels_C,
        chunk.weight_C,
        chunk.loss_C,
        chunk.norm_C,
        rounded,
        scales[0],
        scales[1],
        logits_CV.stride(0),
        float(chunk.z_loss),
        float(torch.finfo(kind).max),
        COUNT=size,
        BLOCKS=-(-size // block),
        LOWEST=_LOWEST,
        STEEPEST=2.0**126,
        GRADIENT=gradient,
        ROUNDS=rounds,
        PLAIN=plain or not rounds,
        POWER_OF_TWO=recipe is not None and recipe.power_of_two,
        BLOCK=block,
        num_warps=_WARPS,
    )
    return Quantized(rounded, scales[0], scales[1]) if rounds else None


def _plain_losses_(chunk: _Chunk, gradient: bool) -> None:
    labelled_C, label_C1 = chunk.labels_C >= 0, chunk.labels_C.clamp(min=0).unsqueeze(-1)
    values_CV = chunk.logits_CV.float()
    norm = values_CV.logsumexp(-1)
    chunk.loss_C.copy_(torch.where(labelled_C, norm - values_CV.gather(-1, label_C1).squeeze(-1), 0.0))
    chunk.norm_C.copy_(torch.where(labelled_C, norm, 0.0))
    if gradient:
        grad_CV = (values_CV - norm.unsqueeze(-1)).exp_().mul_((1 + 2 * chunk.z_loss * norm).unsqueeze(-1))
        grad_CV.scatter_add_(-1, label_C1, torch.full_like(label_C1, -1, dtype=grad_CV.dtype))
        grad_CV = torch.where(labelled_C.unsqueeze(-1), grad_CV * chunk.weight_C.unsqueeze(-1), 0.0)
        chunk.logits_CV.copy_(grad_CV)


@jit
def _rows_kernel(  # type: ignore[no-untyped-def]
    logits,
    labels,
    weights,
    losses,
    norms,
    rounded,
    scales,
    inverses,
    stride,
    z_loss,
    largest,
    COUNT: tl.constexpr,
    BLOCKS: tl.constexpr,
    LOWEST: tl.constexpr,
    STEEPEST: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROUNDS: tl.constexpr,
    PLAIN: tl.constexpr,
    POWER_OF_TWO: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A row a program: one pass for the norm, one that writes the gradient over the logits."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    rounded += row * COUNT
    label = tl.load(labels + row)
    weight = tl.load(weights + row)
    loss, norm, factor = 0.0, 0.0, 0.0
    # As of a row of zeros in `quantize`: it never decides a scale that positions share.
    scale = STEEPEST
    if label >= 0:
        chosen = tl.load(logits + label).to(tl.float32)
        norm, top = _row_norm(logits, COUNT, LOWEST, BLOCK)
        loss = norm - chosen
        factor = weight * (1.0 + 2.0 * z_loss * norm)
        if ROUNDS:
            # No entry is larger: the label's own, or the most probable one's.
            bound = tl.maximum(tl.abs(factor) * tl.exp(top - norm), tl.abs(tl.exp(chosen - norm) * factor - weight))
            scale = tl.where(bound > 0.0, tl.minimum(largest / bound, STEEPEST), STEEPEST)
            if POWER_OF_TWO:
                scale = (scale.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    tl.store(losses + row, loss)
    tl.store(norms + row, norm)
    if ROUNDS:
        tl.store(scales + row, scale)
        tl.store(inverses + row, 1.0 / scale)
    if GRADIENT:
        for back in range(0, BLOCKS):
            # From the end: what was read last is still in a cache.
            column = (BLOCKS - 1 - back) * BLOCK + tl.arange(0, BLOCK)
            inside = column < COUNT
            grad = tl.zeros((BLOCK,), tl.float32)
            if label >= 0:
                value = tl.load(logits + column, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
                grad = tl.exp(value - norm) * factor
                grad = tl.where(column == label, grad - weight, grad)
            if PLAIN:
                tl.store(logits + column, grad.to(logits.dtype.element_ty), mask=inside, cache_modifier=".cs")
            if ROUNDS:
                tl.store(rounded + column, (grad * scale).to(rounded.dtype.element_ty), mask=inside)


@jit
def _row_norm(logits, COUNT: tl.constexpr, LOWEST: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """(logsumexp, largest) of a row."""
    top = LOWEST
    total = 0.0
    for start in range(0, COUNT, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < COUNT
        value = tl.load(logits + column, mask=inside, other=-float("inf"), eviction_policy="evict_last").to(tl.float32)
        new_top = tl.maximum(top, tl.max(value, 0))
        total = total * tl.exp(top - new_top) + tl.sum(tl.exp(value - new_top), 0)
        top = new_top
    return top + tl.log(total), top


@jit
def _turn_kernel(source, target, rows, columns, stride, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Bytes [rows, columns] → [columns, rows], whose rows begin `stride` apart."""
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    column = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    tile = tl.load(source + row.to(tl.int64)[:, None] * columns + column[None, :], mask=inside)
    place = target + column.to(tl.int64)[:, None] * stride + row[None, :]
    tl.store(place, tl.trans(tile), mask=(column < columns)[:, None] & (row < rows)[None, :])
