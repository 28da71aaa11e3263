"""FLOPs and bytes of operations, from the sizes that the profiler recorded, beside what the device reaches.

Bytes are those of the operands and the result, each moved once: what the operation cannot do without. A product's result
and an elementwise operation's are derived from its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from expedition.train.profiling.trace import Event

ITEM_BYTES: Final = {
    "float": 4,
    "double": 8,
    "c10::BFloat16": 2,
    "c10::Half": 2,
    "c10::Float8_e4m3fn": 1,
    "c10::Float8_e5m2": 1,
    "unsigned char": 1,
    "signed char": 1,
    "bool": 1,
    "short": 2,
    "int": 4,
    "long int": 8,
    "long": 8,
}


@dataclass(frozen=True, slots=True)
class Amount:
    """Of one operation or of several."""

    flops: float
    """Of matrix products and attention; elementwise work counts none."""
    bytes: float

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.flops + other.flops, self.bytes + other.bytes)


NONE = Amount(0.0, 0.0)
TRANSFERS: Final = frozenset({"gpu_memcpy", "gpu_memset"})


def amount_of(event: Event) -> Amount | None:
    """FLOPs and bytes of an operation; None where its name or sizes say nothing."""
    if event.category in TRANSFERS:
        # A copy within the device reads and writes its memory; one from or to the host does one of both.
        moved = float(event.args.get("bytes", 0))
        return Amount(0.0, moved * (2 if "DtoD" in event.name else 1))
    name = event.name.rpartition("::")[2]
    if not event.dims:
        return None
    try:
        formula = _PRODUCTS.get(name)
        if formula is not None:
            return formula(event)
        if "scaled_dot_product" in name and name != "scaled_dot_product_attention":
            return _attention(event, backward="backward" in name)
        return _elementwise(event) if name in _MOVES else None
    except (IndexError, TypeError, ValueError):
        return None  # an overload with other inputs


def bound_of(amount: Amount, product_flops_per_s: float, copy_bytes_per_s: float) -> str:
    """What bounds this work where both run at full speed: "compute" or "memory"."""
    return "compute" if amount.flops * copy_bytes_per_s >= amount.bytes * product_flops_per_s else "memory"


def best_seconds(amount: Amount, product_flops_per_s: float, copy_bytes_per_s: float) -> float:
    """The roofline: the longer of the two, each at full speed."""
    return max(amount.flops / product_flops_per_s, amount.bytes / copy_bytes_per_s)


def total(amounts: Iterable[Amount]) -> Amount:
    """Their sum."""
    found = NONE
    for one in amounts:
        found = found + one
    return found


def _bytes(event: Event, number: int) -> float:
    size = event.dims[number]
    return float(math.prod(size) * ITEM_BYTES.get(event.types[number], 4)) if size else 0.0


def _product(event: Event, first: int, second: int) -> Amount:
    """[…, m, k] by [k, n] or […, k, n]."""
    left, right = event.dims[first], event.dims[second]
    rows, inner, columns = math.prod(left[:-1]), left[-1], right[-1]
    item = ITEM_BYTES.get(event.types[first], 4)
    out = rows * columns * (item if item > 1 else 2)
    return Amount(2.0 * rows * inner * columns, _bytes(event, first) + _bytes(event, second) + out)


def _grouped(event: Event) -> Amount:
    """Rows of all groups by each group's matrix, or, of two matrices, the sum over each group's rows."""
    left, right = event.dims[0], event.dims[1]
    groups = next((size[0] for size in event.dims[2:] if size), 1)
    item = ITEM_BYTES.get(event.types[0], 4)
    operands, out_item = _bytes(event, 0) + _bytes(event, 1), item if item > 1 else 2
    if len(left) == 2 and len(right) == 2:
        flops, out = 2.0 * left[0] * left[1] * right[1], groups * left[0] * right[1]
    else:
        flops, out = 2.0 * math.prod(left) * right[-1], math.prod(left[:-1]) * right[-1]
    return Amount(flops, operands + out * out_item)


def _convolution(event: Event) -> Amount:
    """From input and weight, for kernels that keep or halve the picture by their stride."""
    picture, weight = event.dims[0], event.dims[1]
    strides = _numbers(event.args.get("Concrete Inputs", []), 3) or [1] * (len(picture) - 2)
    places = math.prod(max(1, -(-size // stride)) for size, stride in zip(picture[2:], strides, strict=False))
    out = picture[0] * weight[0] * places
    item = ITEM_BYTES.get(event.types[0], 4)
    return Amount(2.0 * out * math.prod(weight[1:]), _bytes(event, 0) + _bytes(event, 1) + out * item)


def _attention(event: Event, *, backward: bool) -> Amount:
    """[batch, heads, queries, size] by [batch, heads, keys, size]; a causal one computes half, a mask saves nothing.
    The backward pass has five products where the forward pass has two."""
    shift = 1 if backward else 0
    query, key = event.dims[shift], event.dims[shift + 1]
    pairs = math.prod(query[:2]) * query[2] * key[2]
    causal = "True" in [str(value) for value in event.args.get("Concrete Inputs", [])]
    flops = 4.0 * pairs * query[3] * (0.5 if causal else 1.0) * (2.5 if backward else 1.0)
    inputs = sum(_bytes(event, number) for number in range(shift, shift + 3))
    outputs = 2 * _bytes(event, shift) + (inputs if backward else 0.0)
    return Amount(flops, inputs + outputs)


def _elementwise(event: Event) -> Amount | None:
    """Every input, and a result as large as the largest of them; lists of tensors are recorded without their type."""
    sizes = [_bytes(event, number) for number, size in enumerate(event.dims) if size and isinstance(size[0], int)]
    return Amount(0.0, sum(sizes) + max(sizes)) if sizes else None


def _numbers(concrete: Sequence[Any], place: int) -> list[int]:
    text = str(concrete[place]).strip("[]") if place < len(concrete) else ""
    return [int(part) for part in text.split(",") if part.strip()]


_PRODUCTS: Final[dict[str, Callable[[Event], Amount]]] = {
    "mm": lambda event: _product(event, 0, 1),
    "bmm": lambda event: _product(event, 0, 1),
    "addmm": lambda event: _product(event, 1, 2),
    "baddbmm": lambda event: _product(event, 1, 2),
    "_scaled_mm": lambda event: _product(event, 0, 1),
    "_grouped_mm": _grouped,
    "_scaled_grouped_mm": _grouped,
    "convolution": _convolution,
}
_MOVES: Final = frozenset({
    "copy_", "add", "add_", "mul", "mul_", "sub", "sub_", "div",
    "div_", "sum", "mean", "pow", "rsqrt", "sqrt", "silu", "silu_backward",
    "gelu", "gelu_backward", "neg", "where", "lerp", "lerp_", "addcmul_", "addcdiv_",
    "square", "exp", "log", "softmax", "_softmax", "_softmax_backward_data", "native_layer_norm", "native_layer_norm_backward",
    "_fused_rms_norm", "index_select", "gather", "cat", "sigmoid", "clamp", "isfinite", "linalg_vector_norm",
    "zero_", "fill_", "bitwise_and", "rsub", "logsumexp", "abs",
})  # fmt: skip
