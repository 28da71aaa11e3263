"""Attention, norms and rotary turn against the libraries, one process, in turn: python -m benchmarks.train.attention [OUT.json]

Attention's rate counts the pairs of query and key that are seen: 4·N·D FLOPs a pair forward, 10·N·D backward, so a way that
multiplies what is masked loses. Every share is of the largest bf16 product, or the copy, that was measured just before.

Shapes: B batch, S sequence, P packed positions, N query heads, K key/value heads, D head size, T tokens, H hidden.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.train.device import describe_device, driver, versions
from benchmarks.train.peaks import copy_bytes_per_s, products, seconds_of
from expedition.kernels import (
    add_rms_norm,
    document_attention,
    plan_documents,
    plan_segments,
    qk_norm_rope,
    rms_norm,
    rotary_table,
    segment_attention,
)
from expedition.kernels.qk_norm_rope import qk_norm_rope_reference
from expedition.kernels.rms_norm import rms_norm_reference

B, S, N, K, D, H = 4, 4096, 32, 4, 128, 2048
"""Four sequences of the `10b` preset."""
ROWS = {
    "whole rows": [[S]] * B,
    "packed rows": [
        [1200, 800, 500, 300, 96, 1200],
        [2500, 1500, 80],
        [40, 60, 700, 900, 1000, 300, 900, 150],
        [3000, 1000],
    ],
}
"""Lengths of the documents of each row; what is left of a row is padding."""
SEGMENTS = {
    "vision, 10b": (16, 72, [1024] * 8 + [576] * 16 + [300] * 20),
    "vision, 1b": (12, 64, [1024] * 8 + [576] * 16 + [300] * 20),
    "audio, 10b": (20, 64, [104] * 100 + [50] * 20),
}
"""Heads, head size, and lengths of frames or windows."""
LONG = 4
"""The small operations get so many times the sequences: else the host, not the device, is what is timed."""
EPS = 1e-6

Way = Callable[..., Any]
Line = dict[str, Any]


def documents_of(rows: Sequence[Sequence[int]]) -> Tensor:
    """Numbers 1.. of each row's documents [B, S]."""
    document_BS = torch.zeros(len(rows), S, dtype=torch.int32)
    for line, lengths in enumerate(rows):
        numbers = torch.arange(1, len(lengths) + 1, dtype=torch.int32).repeat_interleave(torch.tensor(lengths))
        document_BS[line, : len(numbers)] = numbers
    return document_BS.cuda()


def times(way: Way, inputs: Sequence[Tensor], grad: Any) -> tuple[float, float]:
    """Seconds of the forward and of the backward pass."""
    forward_s = seconds_of(lambda: way(*inputs))
    out = way(*inputs)
    backward_s = seconds_of(lambda: torch.autograd.grad(out, inputs, grad, retain_graph=True))
    return forward_s, backward_s


def same_bits(way: Way, inputs: Sequence[Tensor], grad: Any) -> bool:
    """Whether two backward passes of the same input agree bit by bit."""
    out = way(*inputs)
    first, again = (torch.autograd.grad(out, inputs, grad, retain_graph=True) for _ in range(2))
    return all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def attempt(measure: Callable[[], Line], **what: Any) -> Line:
    """The line, or why this way has none here."""
    try:
        return {**what, **measure()}
    except Exception as error:
        return {**what, "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"}


def attention_line(way: Way, inputs: Sequence[Tensor], grad: Tensor, forward_flops: float, peak: float) -> Line:
    forward_s, backward_s = times(way, inputs, grad)
    rates = forward_flops / forward_s / 1e12, 2.5 * forward_flops / backward_s / 1e12
    return {
        "forward_ms": round(forward_s * 1e3, 3),
        "backward_ms": round(backward_s * 1e3, 3),
        "forward_tflops": round(rates[0], 1),
        "backward_tflops": round(rates[1], 1),
        "forward_share": round(rates[0] / peak, 3),
        "backward_share": round(rates[1] / peak, 3),
        "same_bits": same_bits(way, inputs, grad),
    }


def sdpa(backend: str) -> Way:
    """torch's own attention of whole causal rows by one backend."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def way(q_BSND: Tensor, k_BSKD: Tensor, v_BSKD: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q_BSND, k_BSKD, v_BSKD))
        with sdpa_kernel(getattr(SDPBackend, backend)):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)

    return way


def flash_varlen(lengths: Sequence[int], causal: bool) -> Way:
    """torch's flash attention over rows laid end to end."""
    ends_M = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32).cuda()
    longest = max(lengths)

    def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = [x if x.dim() == 3 else x.flatten(0, 1) for x in (q, k, v)]
        attention = torch.ops.aten._flash_attention_forward
        out: Tensor = attention(*flat, ends_M, ends_M, longest, longest, 0.0, causal, False)[0]
        return out.view_as(q)

    return way


def flex(document_BS: Tensor) -> Way:
    """torch's compiled attention with a mask of blocks."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def seen(b: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (document_BS[b, query] == document_BS[b, key])

    mask = torch.compile(create_block_mask)(seen, len(document_BS), None, S, S, device="cuda")
    compiled = torch.compile(flex_attention)

    def way(q_BSND: Tensor, k_BSKD: Tensor, v_BSKD: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q_BSND, k_BSKD, v_BSKD))
        out: Tensor = compiled(q, k, v, block_mask=mask, enable_gqa=True)
        return out.transpose(1, 2)

    return way


def decoder_lines(peak: float) -> Iterator[Line]:
    """Causal attention of whole and of packed rows by every way."""
    torch.manual_seed(0)
    heads = (N, K, K, N)
    *inputs, grad = (torch.randn(B, S, n, D, device="cuda", dtype=torch.bfloat16).requires_grad_() for n in heads)
    for name, rows in ROWS.items():
        document_BS = documents_of(rows)
        flops = 4.0 * N * D * sum(length * (length + 1) // 2 for row in rows for length in row)
        laid = [length for row in rows for length in (*row, S - sum(row)) if length]
        whole = all(len(row) == 1 for row in rows)
        ways: dict[str, Callable[[], Way]] = {
            "expedition": lambda d=document_BS: partial(_documents, plan_documents(d)),  # type: ignore[misc]
            "torch flash, varlen": lambda laid=laid: flash_varlen(laid, causal=True),  # type: ignore[misc]
            "torch flex, block mask": lambda d=document_BS: flex(d),  # type: ignore[misc]
        }
        if whole:
            plan = plan_documents(document_BS, whole_rows=True)
            ways["expedition, rows known to be whole"] = lambda plan=plan: partial(_documents, plan)  # type: ignore[misc]
            ways["torch cuDNN"] = lambda: sdpa("CUDNN_ATTENTION")
            ways["torch flash"] = lambda: sdpa("FLASH_ATTENTION")
        for way, make in ways.items():
            yield attempt(
                lambda make=make, flops=flops: attention_line(make(), inputs, grad, flops, peak),  # type: ignore[misc]
                case=name, way=way,
            )  # fmt: skip


def _documents(plan: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return document_attention(q, k, v, plan)


def encoder_lines(peak: float) -> Iterator[Line]:
    """Full attention inside frames and windows."""
    device = torch.device("cuda")
    for name, (heads, size, lengths) in SEGMENTS.items():
        shape = (sum(lengths), heads, size)
        *inputs, grad = (torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for _ in range(4))
        flops = 4.0 * heads * size * sum(length**2 for length in lengths)
        spans = plan_segments(lengths, device, torch.bfloat16)
        buckets = plan_segments(lengths, device, torch.float32)
        ways: dict[str, Way] = {
            "expedition": partial(_segments, spans),
            "padded buckets, torch": partial(_segments, buckets),
            "torch flash, varlen": flash_varlen(lengths, causal=False),
        }
        for way, call in ways.items():
            yield attempt(
                lambda call=call, i=inputs, g=grad, f=flops: attention_line(call, i, g, f, peak),  # type: ignore[misc]
                case=name, way=way,
            )  # fmt: skip


def _segments(plan: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return segment_attention(q, k, v, plan)


def bytes_line(
    way: Way, inputs: Sequence[Tensor], grads: Sequence[Tensor], moved: tuple[int, int], peak: float
) -> Line:
    forward_s, backward_s = times(way, inputs, grads)
    return {
        "forward_ms": round(forward_s * 1e3, 4),
        "backward_ms": round(backward_s * 1e3, 4),
        "forward_share": round(moved[0] / forward_s / peak, 3),
        "backward_share": round(moved[1] / backward_s / peak, 3),
        "same_bits": same_bits(way, inputs, grads),
    }


def norm_lines(peak: float) -> Iterator[Line]:
    """RMS norm over the hidden size, alone and after the residual addition; least bytes: each operand once."""
    shape = (LONG * B * S, H)
    x, update, grad, grad_total = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    weight = torch.ones(H, device="cuda", dtype=torch.bfloat16)
    alone = [tensor.requires_grad_() for tensor in (x, weight)]
    both = [tensor.requires_grad_() for tensor in (x, update, weight)]
    size = x.numel() * x.element_size()

    def added(x: Tensor, update: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + update
        return total, rms_norm_reference(total, weight, EPS)

    def liger() -> Way:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction

        return lambda x, w: LigerRMSNormFunction.apply(x, w, EPS, 0.0, "llama", False)

    def liger_added() -> Way:
        from liger_kernel.ops.fused_add_rms_norm import LigerFusedAddRMSNormFunction

        return lambda x, u, w: tuple(reversed(LigerFusedAddRMSNormFunction.apply(x, u, w, EPS, 0.0, "llama", False)))

    alone_ways: dict[str, Callable[[], Way]] = {
        "expedition": lambda: lambda x, w: rms_norm(x, w, EPS),
        "torch": lambda: lambda x, w: F.rms_norm(x, (H,), w, EPS),
        "torch compiled": lambda: torch.compile(lambda x, w: rms_norm_reference(x, w, EPS)),
        "liger-kernel": liger,
    }
    for way, make in alone_ways.items():
        call = lambda make=make: bytes_line(make(), alone, [grad], (2 * size, 3 * size), peak)  # type: ignore[misc]  # noqa: E731
        yield attempt(call, case="RMS norm", way=way)
    both_ways: dict[str, Callable[[], Way]] = {
        "expedition": lambda: lambda x, u, w: add_rms_norm(x, u, w, EPS),
        "torch compiled": lambda: torch.compile(added),
        "liger-kernel": liger_added,
    }
    for way, make in both_ways.items():
        grads = [grad_total, grad]
        call = lambda make=make, g=grads: bytes_line(make(), both, g, (4 * size, 4 * size), peak)  # type: ignore[misc]  # noqa: E731
        yield attempt(call, case="add and RMS norm", way=way)


def turn_lines(peak: float) -> Iterator[Line]:
    """Norm of each head and rotary turn, queries and keys."""
    q, k, q_grad, k_grad = (
        torch.randn(LONG * B, S, n, D, device="cuda", dtype=torch.bfloat16).requires_grad_() for n in (N, K, N, K)
    )
    weights = [torch.ones(D, device="cuda", dtype=torch.bfloat16).requires_grad_() for _ in range(2)]
    angle = torch.arange(S, device="cuda")[None, :, None] * 1e6 ** -torch.linspace(0, 1, D // 2, device="cuda")
    cos, sin = (table.expand(LONG * B, S, 1, D).bfloat16().contiguous() for table in rotary_table(angle))
    size = (q.numel() + k.numel()) * q.element_size()

    def liger() -> Way:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from liger_kernel.ops.rope import LigerRopeFunction

        def way(q: Tensor, k: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            normed = [LigerRMSNormFunction.apply(x, w, EPS, 0.0, "llama", False) for x, w in ((q, a), (k, b))]
            turned = LigerRopeFunction.apply(*(x.transpose(1, 2) for x in normed), cos[:, :, 0], sin[:, :, 0])
            return turned[0].transpose(1, 2), turned[1].transpose(1, 2)

        return way

    ways: dict[str, Callable[[], Way]] = {
        "expedition": lambda: lambda *x: qk_norm_rope(*x, (cos, sin), EPS),
        "torch": lambda: lambda *x: qk_norm_rope_reference(*x, (cos, sin), EPS),
        "torch compiled": lambda: torch.compile(lambda *x: qk_norm_rope_reference(*x, (cos, sin), EPS)),
        "liger-kernel, two kernels": liger,
    }
    inputs, grads, moved = [q, k, *weights], [q_grad, k_grad], (2 * size, 3 * size)
    for way, make in ways.items():
        call = lambda make=make: bytes_line(make(), inputs, grads, moved, peak)  # type: ignore[misc]  # noqa: E731
        yield attempt(call, case="head norm and rotary turn", way=way)


def shown(line: Line) -> str:
    head = f"{line['case']:26s} {line['way']:36s}"
    if "failed" in line:
        return f"{head} {line['failed']}"
    rates = (
        f"  {line['forward_tflops']:.0f} / {line['backward_tflops']:.0f} TFLOP/s" if "forward_tflops" in line else ""
    )
    shares = f"{line['forward_share']:.0%} / {line['backward_share']:.0%} of the peak"
    bits = "" if line["same_bits"] else ", other bits each time"
    return f"{head} {line['forward_ms']:8.3f} / {line['backward_ms']:8.3f} ms{rates}  {shares}{bits}"


def main(arguments: Sequence[str]) -> int:
    """2 without a CUDA device."""
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here\n")
        return 2
    flops_peak, copy_peak = max(products("bf16").values()), copy_bytes_per_s()
    conditions = {**describe_device(), "driver_clock_power": driver(), "versions": versions()}
    conditions |= {"best_bf16_tflops": flops_peak, "copy_bytes_per_s": copy_peak, "shape": [B, S, N, K, D, H]}
    sys.stdout.write(f"{conditions}\n")
    lines = []
    parts = (decoder_lines(flops_peak), encoder_lines(flops_peak), norm_lines(copy_peak), turn_lines(copy_peak))
    for part in parts:
        for line in part:
            lines.append(line)
            sys.stdout.write(f"{shown(line)}\n")
            sys.stdout.flush()
            if arguments:  # a run that is cut short leaves what it has
                Path(arguments[0]).write_text(json.dumps({"conditions": conditions, "lines": lines}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
