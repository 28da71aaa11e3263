"""The arithmetic of `make bench-train`: work, MFU, ratios, the void rule; and that rows, states and batches are what they say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.train.flops import Content, mfu, step_flops
from benchmarks.train.loader_batches import read_layouts, save_layouts
from benchmarks.train.made_batches import content_of, made_batch
from benchmarks.train.rows import ROWS, SEQUENCE, Peer, pairs, preset_10b, preset_10b_8_layers, tiny
from benchmarks.train.scale import LAYOUTS, RECORD, End, Layout, Traffic, estimate, step_seconds, wire_seconds
from benchmarks.train.sharded_states import SlicedOptimizer
from benchmarks.train.sketch import figures_of
from benchmarks.train.step_bench import arguments, built_for, held_config, plan_of, run_row
from benchmarks.train.table import as_page, is_void, line_of
from benchmarks.train.timing import time_steps
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.records import KINDS
from expedition.model.moe import Router
from expedition.plan.runs import OptimizerPlan
from expedition.train.optimizer import Optimizer

CPU = torch.device("cpu")
ONE_STEP = arguments().parse_args(["10b-8", "--steps", "1", "--warmup", "0"])
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _as_it_was() -> Any:
    """Rows fix the process's numerics."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def sketch_flops_per_token(layers: int, experts: int) -> float:
    """The formula of the sketch whose figures are the floor, term by term: hidden 2048, 32 and 4 heads of 128, inner 768,
    top-8, vocabulary 152,064, sequence 4096."""
    hidden, inner, heads, keys, size, top_k, vocabulary = 2048, 768, 32, 4, 128, 8, 152_064
    projections = hidden * (heads + 2 * keys) * size + heads * size * hidden
    active = layers * (projections + experts * hidden + 3 * hidden * inner * top_k) + vocabulary * hidden
    return 6 * active + 3 * layers * 2 * 2 * heads * size * SEQUENCE / 2


@pytest.mark.parametrize(("shape", "layers"), [(preset_10b_8_layers, 8), (preset_10b, 32)])
def test_work_is_counted_as_the_floor_counted_it(shape: Any, layers: int) -> None:
    config = replace(ROWS["10b-8"], shape=shape).config()
    a_sequence = step_flops(config, Content((SEQUENCE,))).causal
    assert a_sequence == pytest.approx(SEQUENCE * sketch_flops_per_token(layers, 64), rel=1e-12)


def test_mfu_of_published_figures_is_what_was_published() -> None:
    """transformers at 40,705 tokens/s is 48.3 %; the sketch at 82,120 is 44.8 %."""
    for row, tokens_per_s, share in (("dense-1.7b", 40_705, 0.483), ("10b-8", 82_120, 0.448)):
        content = Content((SEQUENCE,) * 4)
        flops = step_flops(ROWS[row].config(), content)
        assert mfu(flops.causal, content.tokens / tokens_per_s) == pytest.approx(share, abs=5e-4)
        assert flops.full > flops.causal


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=6))
def test_work_of_documents_adds_up(lengths: list[int]) -> None:
    config = tiny(ROWS["10b-8"]).config()
    whole = step_flops(config, Content(tuple(lengths))).causal
    parts = [step_flops(config, Content((length,))).causal for length in lengths]
    assert math.isclose(whole, sum(parts), rel_tol=1e-12)
    assert step_flops(config, Content((sum(lengths),))).causal >= whole


def test_media_add_the_encoders_work() -> None:
    config = ROWS["1b"].config()
    text, media = Content((100,)), Content((100,), ((1, 16, 24),), (300,))
    assert step_flops(config, media).causal > step_flops(config, text).causal


@pytest.mark.parametrize("name", list(ROWS))
def test_every_row_runs(name: str) -> None:
    """In little, on the CPU; the text rows' tokens are counted exactly."""
    work = replace(tiny(ROWS[name]), micro_batches=min(2, ROWS[name].micro_batches))
    found = run_row(work, CPU, None, ONE_STEP)
    assert math.isfinite(found["loss"]) and found["tokens_per_s"] > 0
    assert (found["fp8_modules"] > 0) == (work.precision == "fp8")
    if work.content == "whole":
        assert found["tokens"] == work.micro_batches * work.sequences * work.sequence_length


def test_forced_balance_is_balanced_and_a_share_routes_over_all_experts() -> None:
    for name, experts in (("10b-8", 64), ("10b-rank", 64)):
        work = tiny(ROWS[name])
        built = built_for(work, held_config(work, work.config()), plan_of(work, CPU), CPU)
        (router, *_) = (module for module in built.model.modules() if isinstance(module, Router))
        _, output = router(torch.randn(128, 32, dtype=torch.bfloat16))
        assert output.logits_TE.shape[1] == experts
        counts = torch.bincount(output.topk_TK.flatten(), minlength=experts)
        assert (name == "10b-8") == bool((counts == counts[0]).all())
        held = built.model.model.layers[0].mlp.experts.gate_up_proj.shape[0]
        assert held == (8 if name == "10b-rank" else experts)


def test_packed_rows_hold_the_media_that_their_work_is_counted_for() -> None:
    work = replace(ROWS["1b"], sequences=2, content="multimodal")
    batch = made_batch(work, work.config(), 3)
    content = content_of(batch)
    assert content.tokens == batch.real_tokens == int((batch.document_BS > 0).sum())
    assert batch.patches_PC.shape[0] == sum(t * h * w for t, h, w in content.grids)
    assert batch.mel_MF.shape[1] == sum(content.frames)
    assert {KINDS[kind] for kind in set(batch.kind_BS.flatten().tolist()) if kind >= 0} >= {"web", "image-text"}


def test_a_slice_of_states_is_updated_as_the_whole_would_be() -> None:
    """Same numbers for the slice's weights, and no others change."""
    torch.manual_seed(0)
    plan = OptimizerPlan(weight_decay=0.0)
    weights = {"a": torch.nn.Parameter(torch.randn(8, 6)), "b": torch.nn.Parameter(torch.randn(5))}
    copies = {name: torch.nn.Parameter(value.detach().clone()) for name, value in weights.items()}
    before = {name: value.detach().clone() for name, value in weights.items()}
    sliced, whole = SlicedOptimizer(weights, plan, 4), Optimizer(copies, plan)
    for optimizer, held in ((sliced, weights), (whole, copies)):
        sum((value * value).sum() for value in held.values()).backward()  # type: ignore[union-attr]
        if isinstance(optimizer, SlicedOptimizer):
            optimizer.collect()
        optimizer.step(0.1, torch.ones(()), torch.tensor(True))
        optimizer.zero_grad()
        assert all(value.grad is None for value in held.values())
    for name, value in weights.items():
        part = -(-value.numel() // 4)
        assert torch.equal(value.detach().flatten()[:part], copies[name].detach().flatten()[:part])
        assert torch.equal(value.detach().flatten()[part:], before[name].flatten()[part:])
        assert not torch.equal(value.detach().flatten()[:part], before[name].flatten()[:part])


def a_run(side: str, states: str, tokens: float, share: float, **rest: Any) -> dict[str, Any]:
    figures = {"tokens_per_s": tokens, "mfu": share, "mfu_full": share, "peak_gib": 1.0, "step_s": 1.0}
    return {"row": "dense-1.7b", "side": side, "states": states, "step_s_all": [0.9, 1.0, 1.2], **figures, **rest}


def a_document(*runs: dict[str, Any]) -> dict[str, Any]:
    code = {"commit": "abc", "sources_sha256": "0"}
    command = ["python", "-m", "x", "--out", "/tmp/y", "--sketch", "/a/b/c.py"]
    return {"at": "2026", "runs": list(runs), "code": code, "versions": {}, "commands": [command], "peaks": {}}


def cells(page: str, side: str) -> list[str]:
    return next([c.strip() for c in line.split("|")] for line in page.splitlines() if f"| {side}" in line)


def test_a_ratio_is_of_equal_states_in_one_call() -> None:
    ours, peer = a_run("ours", "bf16", 60.0, 0.7), a_run("transformers_models", "bf16", 40.0, 0.48)
    page, _ = as_page([a_document(a_run("ours", "w26", 90.0, 0.8), ours, peer)])
    assert "ours ÷ it 1.50" in cells(page, "transformers_models")
    page, _ = as_page([a_document(ours), a_document(a_run("ours", "w26", 90.0, 0.8), peer)])
    assert any(text.startswith("no ratio") for text in cells(page, "transformers_models"))


def test_a_slow_peer_makes_the_comparison_void() -> None:
    assert is_void(Peer("x", (), 0.483), line(a_run("x", "bf16", 1.0, 0.458)))
    assert not is_void(Peer("x", (), 0.483), line(a_run("x", "bf16", 1.0, 0.459)))
    slow = a_run("transformers_models", "bf16", 20.0, 0.24)
    page, _ = as_page([a_document(a_run("ours", "bf16", 60.0, 0.7), slow)])
    assert any(text.startswith("void") for text in cells(page, "transformers_models"))


def line(run: dict[str, Any]) -> Any:
    return line_of(a_document(run), run["row"], run["side"], run["states"])


def test_changed_work_has_no_verdict_and_small_models_no_line() -> None:
    good = a_run("ours", "w26", 60.0, 0.7)
    assert cells(as_page([a_document(good)])[0], "ours, fp32")[-2] == "yes"
    assert cells(as_page([a_document(a_run("ours", "w26", 60.0, 0.5))])[0], "ours, fp32")[-2] == "**no**"
    changed = a_run("ours", "w26", 90.0, 0.9, changed="--sequences 1")
    assert cells(as_page([a_document(changed)])[0], "ours, fp32")[-2] == "–"
    assert line_of(a_document(changed, good), "dense-1.7b", "ours", "w26").mfu == 0.7  # type: ignore[union-attr]
    assert line(a_run("ours", "w26", 60.0, 0.7, changed="--tiny")) is None


def test_a_page_names_no_folders_of_the_machine() -> None:
    page, _ = as_page([a_document(a_run("ours", "w26", 60.0, 0.7))])
    assert "`python -m x --sketch c.py`" in page


def test_a_figure_of_kernels_that_change_their_bits_says_so() -> None:
    page, _ = as_page([a_document(a_run("ours", "w26", 60.0, 0.7, deterministic=False))])
    assert cells(page, "ours, fp32")[2].endswith("`deterministic: false`")
    page, _ = as_page([a_document(a_run("ours", "w26", 60.0, 0.7, deterministic=True))])
    assert "deterministic" not in page


def test_medians_and_spread_are_of_all_processes() -> None:
    runs = [a_run("ours", "w26", tokens, 0.5) for tokens in (50.0, 60.0, 100.0)]
    found = line_of(a_document(*runs), "dense-1.7b", "ours", "w26")
    assert not isinstance(found, str) and found is not None
    assert (found.tokens_per_s, found.processes, round(found.spread, 6)) == (60.0, 3, 0.3)


def test_what_was_not_measured_is_unknown_with_the_reason() -> None:
    failed = {"row": "dense-1.7b", "side": "ours", "states": "w26", "error": "out of memory: 1 | 2"}
    page, missed = as_page([a_document(failed)])
    assert missed and "unknown" in cells(page, "ours, fp32") and "out of memory" in cells(page, "ours, fp32")
    page, _ = as_page([a_document({**failed, "error": "KeyError: 1 | 2"})])
    assert "KeyError: 1 / 2" in page


def test_the_sketchs_last_line_is_read() -> None:
    said = "first 12.3 4\nloss 11.9 L8 E64 accum1 step 199.5 ms  82,120 tok/s  443 TF  MFU 44.8%  mem 33.0 GiB"
    assert figures_of(said) == {
        "step_s": 0.1995, "tokens_per_s": 82120.0, "tflops": 443.0, "mfu": pytest.approx(0.448), "peak_gib": 33.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="no figures"):
        figures_of("Traceback")


def test_links_carry_ring_volumes() -> None:
    """A gather of 45 GB over the 8 GPUs of a node takes 7/8 of it over NVLink; over 32 nodes all but a 32nd over one port."""
    assert wire_seconds("all_gather", 8, True, 45e9, 1.0) == pytest.approx(45e9 * 7 / 8 / 450e9)
    assert wire_seconds("all_reduce", 32, False, 5e9, 0.5) == pytest.approx(2 * 5e9 * 31 / 32 / 25e9)
    assert wire_seconds("all_to_all", 16, True, 16e9, 1.0) == pytest.approx(16e9 * 8 / 16 / 50e9)
    assert wire_seconds("all_gather", 1, True, 1e9, 1.0) == 0.0


def test_a_step_at_scale_hides_what_is_shorter_and_shows_the_rest() -> None:
    layout, free = Layout("x", 32, 8), End("", 1.0, 0.0, 0.0)

    def seconds(traffic: Traffic, layout: Layout = layout) -> float:
        return step_seconds(layout, traffic, 2.0, 4, 32, free)

    assert seconds(Traffic(0, 0, 0, 0)) == pytest.approx(2.0)
    assert seconds(Traffic(0.1, 0.1, 0, 0)) == pytest.approx(2.0 + 4 * 0.2 / 32), (
        "all but the first and the last layer's"
    )
    assert seconds(Traffic(3.0, 0, 0, 0)) == pytest.approx(4 * 3.0), "longer than the compute that could hide it"
    assert seconds(Traffic(0, 0, 0.64, 0)) == pytest.approx(2.0 + 0.64 - 0.5 * 2 / 3), (
        "once, behind the last backward pass"
    )
    by_step = Layout("x", 32, 8, gather="step")
    assert seconds(Traffic(0.1, 0.1, 0, 0), by_step) == pytest.approx(2.0 + (0.05 + 0.1) / 32)
    assert seconds(Traffic(0, 0, 0, 0.1), Layout("x", 32, 8, ep=8)) == pytest.approx(2.4), "dispatch is never hidden"


def test_the_interval_has_its_low_end_below_and_experts_across_nodes_cost() -> None:
    record = json.loads(RECORD.read_text())
    by_step = [layout for layout in LAYOUTS if layout.gather == "step"]
    found = {layout.ep: estimate(layout, record[layout.key]["collectives"], 2.2, 1e15) for layout in by_step}
    assert all(0 < figures["low"]["mfu"] < figures["high"]["mfu"] < 1 for figures in found.values())
    assert found[8]["high"]["mfu"] > found[16]["high"]["mfu"] > found[64]["high"]["mfu"]
    assert found[1]["whole_gib"] > found[8]["whole_gib"] > found[64]["whole_gib"] > 0


def test_layouts_of_a_node_take_the_same_step(tmp_path: Path) -> None:
    """Two processes by gloo: gathered and dispatched experts see the same loss, as far as bf16 sums in another order allow."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    options = ["benchmarks.train.eight_gpus", "--tiny", "--steps", "1", "--warmup", "0", "--micro-batches", "1"]
    layouts = ["--layouts", "fsdp", "ep", "--out", str(tmp_path / "out.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [*command, *options, *layouts], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "out.json").read_text())
    losses = [figures["loss"] for figures in found["layouts"].values()]
    assert len(losses) == 2 and max(losses) - min(losses) < 1e-3
    assert all(figures["tokens_per_s"] > 0 for figures in found["layouts"].values())


def test_what_the_loader_packed_is_read_back_with_its_sizes(tmp_path: Path) -> None:
    work = replace(ROWS["1b"], sequences=2, content="multimodal")
    config, packed = work.config(), made_batch(work, work.config(), 1)
    save_layouts(tmp_path / "rows.npz", config, [packed])
    read_config, (read,) = read_layouts(tmp_path / "rows.npz", 1)
    assert read_config == config and content_of(read) == content_of(packed)
    assert (read.patches_PC.shape, read.mel_MF.shape) == (packed.patches_PC.shape, packed.mel_MF.shape)
    assert read.real_tokens == packed.real_tokens and bool((read.tokens_BS == packed.tokens_BS).all())


def test_rows_with_bf16_states_too_come_after_and_once() -> None:
    assert pairs(["a", "b"], ["w26"], ["b"]) == [("a", "w26"), ("b", "w26"), ("b", "bf16")]
    assert pairs(["a"], ["w26", "bf16"], ["a"]) == [("a", "w26"), ("a", "bf16")]


def test_slow_steps_are_fewer_but_never_fewer_than_three() -> None:
    calls = []

    def step() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(())

    assert len(time_steps(step, CPU, 1, 8, seconds=1e-9).step_s) == 3
    assert len(time_steps(step, CPU, 1, 5, seconds=1e9).step_s) == 5
    assert len(calls) == 1 + 1 + 3 + 1 + 1 + 5
