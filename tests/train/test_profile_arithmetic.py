"""The pure parts of a profile: time divided, work named, FLOPs and bytes from sizes, the verdict's rules."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from expedition.model.counts import encoder_flops, flops_per_token
from expedition.plan.runs import OptimizerPlan
from expedition.train.profiling.families import FAMILIES, family_of
from expedition.train.profiling.kept_trace import bounded_trace
from expedition.train.profiling.model_work import model_flops, optimizer_bytes
from expedition.train.profiling.recorder import BEGIN, END
from expedition.train.profiling.roofline import Amount, amount_of, best_seconds, bound_of
from expedition.train.profiling.split import owner_of, split
from expedition.train.profiling.timeline import Interval, covered, divide
from expedition.train.profiling.trace import Event, read_trace, trace_of
from expedition.train.profiling.verdict import Shares, judge
from tests.train.tiny import tiny_config

KERNELS = Path(__file__).resolve().parents[2] / "src" / "expedition" / "kernels"

intervals = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 30), st.sampled_from("abc")).map(
        lambda made: Interval(made[0], made[0] + made[1], made[2])
    ),
    max_size=12,
)


@given(st.lists(intervals, max_size=4), st.integers(0, 50), st.integers(0, 60))
def test_every_moment_counts_once_and_the_parts_add_up(levels: list[list[Interval]], start: int, length: int) -> None:
    found = divide(start, start + length, levels, "rest")
    assert sum(found.values()) == length
    by_hand = dict.fromkeys(found, 0)
    for moment in range(start, start + length):
        by_hand[_owner(levels, moment)] = by_hand.get(_owner(levels, moment), 0) + 1
    assert {k: v for k, v in by_hand.items() if v} == {k: v for k, v in found.items() if v}


def _owner(levels: list[list[Interval]], moment: int) -> str:
    for level in levels:
        there = [one for one in sorted(level, key=lambda i: i.start) if one.start <= moment < one.end]
        # Of those that began first the one that sorting leaves first, as long as it lasts.
        if there:
            return _first_to_last(level, moment)
    return "rest"


def _first_to_last(level: list[Interval], moment: int) -> str:
    reached = float("-inf")
    for one in sorted(level, key=lambda i: i.start):
        if max(one.start, reached) <= moment < one.end:
            return one.label
        reached = max(reached, one.end)
    raise AssertionError


@given(intervals)
def test_communication_under_way_counts_overlaps_once(made: list[Interval]) -> None:
    found = covered(10, 60, made)
    for label in {one.label for one in made}:
        moments = sum(any(i.start <= t < i.end and i.label == label for i in made) for t in range(10, 60))
        assert found[label] == moments


@pytest.mark.parametrize(
    ("context", "family"),
    [
        (("void cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma", "CudnnBackward"), "attention"),
        (("aten::_scaled_dot_product_flash_attention_for_cpu", "part:attention"), "attention"),
        (("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_TNT", "aten::mm", "part:attention"), "dense_products"),
        (("nvjet_tst_256x128_64x4", "aten::mm", "MmBackward0", "aten::mm", "part:experts"), "expert_products"),
        (("void cutlass::device_kernel<GemmUniversal<GroupProblemShape>>", "aten::_grouped_mm"), "expert_products"),
        (("aten::mm", "_ExpertLoop", "part:experts"), "expert_products"),
        (("aten::silu", "_ExpertLoop", "part:experts"), "gather_sum"),
        (("aten::topk", "part:router", "part:experts"), "gather_sum"),
        (("aten::index_select", "_Rows", "part:experts"), "gather_sum"),
        (("aten::scatter_add_", "aten::index_add_", "IndexSelectBackward0", "part:attention"), "attention"),
        (("aten::pow", "part:norm", "part:attention"), "norm_rotary"),
        (("aten::mul", "part:attention"), "norm_rotary"),
        (("rms_norm_backward_kernel", "cuLaunchKernelEx"), "norm_rotary"),
        (("_cross_entropy_kernel", "cuLaunchKernelEx", "aten::mm"), "head"),
        (("aten::copy_", "span:optimizer"), "optimizer"),
        (("nvjet_tst_mm", "aten::mm", "span:optimizer"), "optimizer"),
        (("Memcpy HtoD (Pinned -> Device)", "aten::copy_"), "copies"),
        (("quantize_rows_kernel", "cuLaunchKernelEx", "part:attention"), "quantise"),
        (("aten::add", "span:forward_backward 0"), "other"),
    ],
)
def test_work_is_named_by_its_kernel_its_operation_or_its_module(context: tuple[str, ...], family: str) -> None:
    assert family_of(context) == family


def test_a_product_with_the_vocabulary_is_the_heads() -> None:
    assert family_of(("aten::mm", "aten::linear"), is_head=True) == "head"
    assert family_of(("aten::mm", "aten::linear")) == "dense_products"


def test_every_kernel_and_function_of_the_kernels_room_belongs_to_a_family() -> None:
    """Triton kernels are launched without an operator around them that says what they are: name and file must."""
    names = {
        node.name
        for path in KERNELS.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if (isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(one) for one in node.decorator_list))
        or (isinstance(node, ast.ClassDef) and "torch.autograd.Function" in [ast.unparse(one) for one in node.bases])
    }
    assert names, "the kernels room has kernels"
    assert {name for name in names if family_of((name, "cuLaunchKernelEx")) == "other"} == set()


def test_a_name_that_two_files_use_is_told_by_what_launched_it(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {
        "_rows_kernel": frozenset({"head", "quantise"}),
        "_Loss": frozenset({"head"}),
        "_Q": frozenset({"quantise"}),
    }
    monkeypatch.setattr("expedition.train.profiling.families.kernel_families", lambda: both)
    family_of.cache_clear()
    assert family_of(("_rows_kernel", "cuLaunchKernelEx", "_Loss")) == "head"
    assert (
        family_of(("_rows_kernel", "cuLaunchKernelEx", "autograd::engine::evaluate_function: _QBackward")) == "quantise"
    )


def recorded(work: Callable[[], Any], path: Path) -> list[Event]:
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as one:
        work()
    one.export_chrome_trace(str(path))
    return list(read_trace(path).host)


def flops_of(events: list[Event]) -> float:
    owners = {id(owner): owner for event in events if (owner := owner_of(event)) is not None}
    return sum(amount.flops for owner in owners.values() if (amount := amount_of(owner)) is not None)


def test_flops_from_recorded_sizes_equal_torchs_own_count(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)

    def made(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator, requires_grad=True)

    weight, bias, x, a, b = made(24, 16), made(24), made(40, 16), made(4, 8, 16), made(4, 16, 6)
    picture, kernel = made(2, 3, 16, 16), made(8, 3, 3, 3)

    def products() -> None:
        (F.linear(x, weight, bias).sum() + torch.bmm(a, b).sum()).backward()

    def convolution() -> None:
        with torch.no_grad():
            F.conv2d(picture, kernel, stride=2, padding=1)

    for work in (products, convolution):
        with FlopCounterMode(display=False) as counter:
            work()
        found = flops_of(recorded(work, tmp_path / "trace.json"))
        assert found == pytest.approx(counter.get_total_flops(), rel=1e-6) and found > 0


def test_attention_counts_two_products_forward_and_five_backward_and_half_where_it_is_causal(tmp_path: Path) -> None:
    q = torch.randn(2, 3, 32, 8, requires_grad=True)
    two = 2 * 2.0 * 2 * 3 * 32 * 32 * 8
    for causal in (False, True):
        work = partial(F.scaled_dot_product_attention, q, q, q, is_causal=causal)
        found = flops_of(recorded(lambda work=work: work().sum().backward(), tmp_path / "trace.json"))
        assert found == (two + 2.5 * two) * (0.5 if causal else 1.0)


def test_bytes_are_those_of_operands_and_result(tmp_path: Path) -> None:
    a, b = torch.zeros(64, 32, dtype=torch.bfloat16), torch.zeros(32, 16, dtype=torch.bfloat16)
    events = recorded(lambda: (a @ b, a.add(a)), tmp_path / "trace.json")
    amounts = {event.name: amount_of(event) for event in events}
    assert amounts["aten::mm"] == Amount(2.0 * 64 * 32 * 16, 2.0 * (64 * 32 + 32 * 16 + 64 * 16))
    assert amounts["aten::add"] == Amount(0.0, 2.0 * 3 * 64 * 32)
    assert bound_of(Amount(1e9, 1.0), 1e12, 1e9) == "compute" and bound_of(Amount(1.0, 1e9), 1e12, 1e9) == "memory"
    assert best_seconds(Amount(1e12, 1e6), 1e12, 1e9) == 1.0


def test_a_backward_operation_has_the_module_of_its_forward_one(tmp_path: Path) -> None:
    x = torch.randn(8, 8, requires_grad=True)

    def work() -> None:
        with torch.autograd.profiler.record_function("part:norm"):
            y = x.exp()
        y.sum().backward()

    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as one:
        work()
    one.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = read_trace(tmp_path / "trace.json")
    inside = next(event for event in trace.host if event.name == "ExpBackward0")
    assert "part:norm" in trace.context(inside)
    assert "part:norm" not in trace.context(next(event for event in trace.host if event.name == "SumBackward0"))


def event(name: str, category: str, start: float, length: float, **args: Any) -> dict[str, Any]:
    """One of Chrome's trace events."""
    thread = f"stream {args.pop('stream', 7)}" if category == "kernel" else 1
    return {"ph": "X", "name": name, "cat": category, "tid": thread, "ts": start, "dur": length, "args": args}


def test_a_moment_of_an_accelerator_belongs_to_its_kernel_then_to_the_network_then_to_the_host() -> None:
    group = {"Process Group Name": "5"}
    trace = trace_of(
        [
            event(BEGIN, "user_annotation", -5, 5),
            event("span:optimizer", "user_annotation", 1, 8),
            event("cudaLaunchKernel", "cuda_runtime", 2, 1, correlation=1),
            event("cudaLaunchKernel", "cuda_runtime", 12, 1, correlation=2),
            event("span:data", "user_annotation", 55, 25),
            event("span:checkpoint", "user_annotation", 80, 5),
            event(END, "user_annotation", 100, 1),
            event("some_elementwise", "kernel", 10, 10, correlation=1),
            event("nvjet_gemm", "kernel", 15, 25, correlation=2, stream=9),
            event("ncclDevKernel_AllGather_RING_LL", "kernel", 30, 30, stream=20, **group),
            event("ncclDevKernel_ReduceScatter", "kernel", 90, 4, stream=20, **{"Process Group Name": "77"}),
        ]
    )
    found = split(trace, (1000, 10), {"5": "dp_shard"})
    assert found.parts == {
        "compute/optimizer": 10.0,
        "compute/dense_products": 20.0,
        "communication/dp_shard": 20.0,
        "communication/other groups": 4.0,
        "data_wait": 20.0,
        "checkpoint": 5.0,
        "host": 21.0,
    }
    assert found.window_us == 100.0 == sum(found.parts.values())
    assert found.communication_us == {"dp_shard": 30.0, "other groups": 4.0}


def test_a_kernel_belongs_to_what_launched_it() -> None:
    trace = trace_of(
        [
            event("part:experts", "user_annotation", 0, 50),
            event("aten::_grouped_mm", "cpu_op", 10, 30),
            event("cudaLaunchKernelExC", "cuda_runtime", 20, 5, correlation=9),
            event("some_kernel", "kernel", 500, 100, correlation=9),
        ]
    )
    assert trace.context(trace.device[0]) == (
        "some_kernel", "cudaLaunchKernelExC", "aten::_grouped_mm", "part:experts",
    )  # fmt: skip
    assert family_of(trace.context(trace.device[0])) == "expert_products"


def test_a_trace_that_is_too_large_loses_its_least_useful_events(tmp_path: Path) -> None:
    kinds = ("cpu_op", "cuda_runtime", "kernel")
    events = [{"cat": kinds[n % 3], "name": f"e{n * 7919 % 4001}", "ts": n, "dur": 1} for n in range(6000)]
    (tmp_path / "t.json").write_text(json.dumps({"traceEvents": events}))
    whole = bounded_trace(tmp_path / "t.json", 1 << 20)
    assert whole.left_out == () and len(json.loads(gzip.decompress(whole.body))["traceEvents"]) == 6000
    cut = bounded_trace(tmp_path / "t.json", len(whole.body) // 2)
    assert len(cut.body) <= len(whole.body) // 2
    assert {e["cat"] for e in json.loads(gzip.decompress(cut.body))["traceEvents"]} == {"kernel"}


def test_the_models_flops_by_family_are_its_flops_per_token() -> None:
    config = tiny_config()
    whole = model_flops(config, 4 * 48.0, [48] * 4, ())
    assert sum(whole.values()) == pytest.approx(3 * 4 * 48 * flops_per_token(config, 48).total, rel=1e-3)
    packed = model_flops(config, 4 * 48.0, [24] * 8, ())
    assert packed["attention"] == pytest.approx(whole["attention"] / 2, rel=1e-3)
    seen = model_flops(config, 0.0, (), [([(1, 4, 4)], [100])])
    media = encoder_flops(config, [(1, 4, 4)], [100])
    assert seen == {"dense_products": 3.0 * (media.vision + media.audio)}


def test_an_update_moves_its_gradient_once_and_its_states_twice() -> None:
    assert optimizer_bytes({"w": 10}, OptimizerPlan()) == 10 * (4 + 8 + 16)
    assert optimizer_bytes({"w": 10}, OptimizerPlan(moments="bf16")) == 10 * (4 + 8 + 8)
    assert optimizer_bytes({"w": 10}, OptimizerPlan(), frozenset({"w"})) == 10 * (4 + 8 + 8)


PLAIN = Shares(0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_largest_of_the_causes_that_hold_decides(data: float, communication: float, host: float) -> None:
    found = judge(Shares(data, communication, host, 0.0, 0.5, 0.1, 0.1))
    causes = {"IO": data if data >= 0.1 else -1, "network": communication if communication >= 0.2 else -1,
              "CPU": host if host >= 0.2 else -1}  # fmt: skip
    if max(causes.values()) < 0:
        assert found.bottleneck == "compute"
    else:
        assert causes[found.bottleneck] == max(causes.values())
    assert len([line for line in found.evidence if line.startswith("also")]) == max(
        0, sum(share >= 0 for share in causes.values()) - 1
    )


def test_a_wait_for_data_is_the_processors_where_the_workers_are_busy() -> None:
    assert judge(Shares(0.3, 0, 0, 0, 0.7, 0.9, 0.0)).bottleneck == "CPU"
    assert judge(Shares(0.3, 0, 0, 0, 0.7, 0.1, 0.0)).bottleneck == "IO"
    assert "not known" in judge(Shares(0.3, 0, 0, 0, 0.7, None, 0.0)).sentence
    assert judge(Shares(0, 0, 0, 0, 1.0, 0.0, 0.6)).bottleneck == "memory"
    assert judge(PLAIN).bottleneck == "compute"


def test_the_families_are_those_of_the_page() -> None:
    from expedition.train.profiling.page import WORDS

    assert set(FAMILIES) <= set(WORDS)
