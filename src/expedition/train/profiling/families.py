"""Which part of the work an operation or kernel belongs to: by its name, by what launched it, by the module around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from expedition.train.profiling.kernel_names import kernel_families

FAMILIES: Final = (
    "attention",
    "expert_products",
    "dense_products",
    "head",
    "norm_rotary",
    "gather_sum",
    "quantise",
    "optimizer",
    "copies",
    "other",
)
"""attention: scores and weighted values; expert_products, dense_products: matrix products of experts and of everything
else; head: its product and the loss; norm_rotary: norms, rotary turns; gather_sum: router, sort, gather, SwiGLU and sum
of experts' rows; quantise: to FP8; optimizer: norm, verdict, update; copies; other: what is none of these."""

PART: Final = "part:"
"""Prefix of the ranges that name the module around an operation: norm, attention, experts, head, embedding."""
SPAN: Final = "span:"
"""Prefix of the ranges that name a stretch of the step: data, forward_backward, optimizer, callbacks, checkpoint."""

_PRODUCTS = re.compile(
    r"(^|::)_?(mm|addmm|bmm|baddbmm|linear|matmul|convolution\w*|conv\dd|dot|mv|addmv|scaled_mm|scaled_mm_v2|"
    r"mkldnn_\w+|slow_conv\w+|thnn_conv\w+|convolution_backward)$"
)
_PRODUCT_KERNELS = re.compile(
    r"gemm|cutlass|nvjet|xmma|cublas|gemv|splitk|wgrad|dgrad|implicit_convolve|_mm_kernel", re.I
)
_COPIES = re.compile(
    r"(^|::)(copy_|_to_copy|to|clone|contiguous|cat|stack|_pin_memory|pin_memory|narrow_copy)$|memcpy|memset|"
    r"direct_copy|CatArray|copy_kernel|bfloat16tofloat|floattobfloat16|fill_|FillFunctor",
    re.I,
)

_NODE = re.compile(r"^autograd::engine::evaluate_function: |Backward\d*$")
"""What a backward node's name has beyond that of its function."""

_BY_NAME: Final = (
    ("optimizer", re.compile(r"adamw|muon|lamb_|multi_tensor_apply|newton|global_norm|foreach_norm", re.I)),
    (
        "expert_products",
        re.compile(r"grouped_mm|grouped_gemm|group_gemm|groupproblemshape|GroupedProblem|expert_product", re.I),
    ),
    (
        "head",
        re.compile(r"cross_entropy|crossentropy|nll_loss|log_softmax|logsoftmax|logits|vocab|linear_loss", re.I),
    ),
    ("norm_rotary", re.compile(r"rms_?norm|layer_?norm|rotary|rope|qk_?norm|rotate|norm_rope|add_norm", re.I)),
    (
        "attention",
        re.compile(
            r"scaled_dot_product|flash|fmha|sdpa|attn|attention|flex_|segment_attention|softmax_warp|cudnn_generated",
            re.I,
        ),
    ),
    ("gather_sum", re.compile(r"swiglu|silu|sum_rows|expert_rows|route|router|balance_loss|z_loss", re.I)),
    ("quantise", re.compile(r"quanti[sz]e|quant_|amax|to_fp8|cast_fp8|float8|_q_kernel|scales?_kernel", re.I)),
)
"""By names of kernels and operations, the first that fits."""

_MOVES_ROWS = re.compile(
    r"gather|scatter|sort|topk|histogram|permut|radix|index_(add|select|put|copy)|dispatch|combine", re.I
)
_OF_PART: Final = {
    "attention": "attention", "norm": "norm_rotary", "head": "head", "experts": "gather_sum", "router": "gather_sum",
}  # fmt: skip
"""Whose work it is to move rows, by the innermost module."""

_BY_PART: Final = {
    "norm": "norm_rotary",
    "attention": "norm_rotary",
    "experts": "gather_sum",
    "head": "head",
    "router": "gather_sum",
}
"""Elementwise work by the innermost module around it."""


def is_product(context: Sequence[str]) -> bool:
    """Whether an operation or kernel is a matrix product, by its own name or that of what calls it."""
    return any(_PRODUCTS.search(entry) for entry in context[:4]) or bool(_PRODUCT_KERNELS.search(context[0]))


@lru_cache(maxsize=1 << 16)
def family_of(context: tuple[str, ...], *, is_head: bool = False) -> str:
    """The family of an operation or kernel from its context: its own name, then what encloses it, outwards.

    `is_head`: a matrix product with the vocabulary as one of its sizes.
    """
    name = context[0]
    if f"{SPAN}optimizer" in context:
        return "optimizer"
    if name.startswith(("Memcpy", "Memset")):
        return "copies"
    part = next((entry.removeprefix(PART) for entry in context if entry.startswith(PART)), None)
    named = list(_by_names(context))
    if is_product(context):
        return _product_family(named, part, is_head)
    if named:
        return named[0]
    if any(_MOVES_ROWS.search(entry) for entry in _inside(context)):
        return _OF_PART.get(part or "", "other")
    if part in _BY_PART:
        return _BY_PART[part]
    return "copies" if _COPIES.search(name) else "other"


def _product_family(named: Sequence[str], part: str | None, is_head: bool) -> str:
    """A product's name says only that it is one, unless it is grouped: whose it is, what encloses it says."""
    if named and named[0] == "expert_products":
        return "expert_products"
    if is_head or "head" in named:
        return "head"
    if "attention" in named:
        return "attention"
    if part == "router":
        return "gather_sum"
    return "expert_products" if part == "experts" or "expert_products" in named else "dense_products"


def _by_names(context: Sequence[str]) -> Iterator[str]:
    """Families by the names from the inside to the first module or stretch: a module's name says less."""
    known = kernel_families()
    undecided: frozenset[str] = frozenset()
    for entry in _inside(context):
        own = known.get(_NODE.sub("", entry), frozenset())
        found = next(iter(own)) if len(own) == 1 else _by_pattern(entry)
        if len(own) > 1:
            undecided = own
        elif undecided:
            if found in undecided:
                yield str(found)
                undecided = frozenset()
        elif found is not None:
            yield found
    if undecided:
        yield min(undecided)


def _inside(context: Sequence[str]) -> Sequence[str]:
    """The context up to the first module or stretch."""
    ends = (number for number, entry in enumerate(context) if entry.startswith((PART, SPAN)))
    return context[: next(ends, len(context))]


def _by_pattern(entry: str) -> str | None:
    return next((family for family, pattern in _BY_NAME if pattern.search(entry)), None)
