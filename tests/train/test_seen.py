"""Figures that callbacks see a step later are the same figures, each once and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest
import torch

from expedition.parallel.mesh import Ranks
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import scalars
from expedition.train.control import Ask
from expedition.train.seen import Seen
from expedition.train.setup import build
from expedition.train.stopwatch import PARTS
from expedition.train.trainer import Trainer
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")
STEPS = 7


class Recorder:
    """Keeps what each call showed."""

    def __init__(self) -> None:
        self.calls: list[tuple[Seen, ...]] = []

    def after_step(self, done: Done) -> str | None:
        self.calls.append(done.seen)
        return None

    def at_end(self, ending: Ending) -> None: ...

    @property
    def steps(self) -> list[list[int]]:
        return [[seen.result.step for seen in call] for call in self.calls]


def recorded(settles: Callable[[int], bool], asks: Iterator[Ask]) -> Recorder:
    torch.set_num_threads(1)
    run, recorder = tiny_run(length=f"{STEPS} steps"), Recorder()
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    trainer = Trainer(
        built.parts, built.state, CountingSource(run), [recorder], settles=settles, asked=lambda: next(asks)
    )
    trainer.train()
    return recorder


def never(step: int) -> bool:
    return False


def test_a_step_is_seen_when_the_next_is_done_and_the_last_one_at_once() -> None:
    late = recorded(never, repeat(Ask.NOTHING))
    assert late.steps == [[], [0], [1], [2], [3], [4], [5, 6]]
    at_once = recorded(lambda step: True, repeat(Ask.NOTHING))
    assert at_once.steps == [[step] for step in range(STEPS)]
    figures = [
        [(seen.result.step, scalars(seen), seen.sample_ids) for call in one.calls for seen in call]
        for one in (late, at_once)
    ]
    for (step, values, ids), (same_step, same, same_ids) in zip(*figures, strict=True):
        assert (step, ids) == (same_step, same_ids)
        assert {name: value for name, value in values.items() if not name.endswith("_s")} == {
            name: value for name, value in same.items() if not name.endswith("_s")
        }


def test_a_checkpoint_is_written_after_its_step_was_seen() -> None:
    """Whether the plan wants it or somebody asks; the one before the first step is asked for too."""
    planned = recorded(lambda step: step == 2, repeat(Ask.NOTHING))
    assert planned.steps == [[], [0], [1, 2], [], [3], [4], [5, 6]]
    asked = recorded(never, chain([Ask.NOTHING] * 4, [Ask.SAVE], repeat(Ask.NOTHING)))
    assert asked.steps == [[], [0], [1], [2, 3], [], [4], [5, 6]]


def test_the_parts_add_up_to_the_step() -> None:
    seen = [one for call in recorded(never, repeat(Ask.NOTHING)).calls for one in call]
    assert len(seen) == STEPS
    for one in seen:
        assert one.times["step_s"] == pytest.approx(sum(one.times[part] for part in PARTS))
        assert one.times["forward_backward_s"] > 0
