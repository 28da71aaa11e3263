"""The progress of a build on stderr: lines in a log, a bar at a terminal, the same figures in both."""

from __future__ import annotations

import io
import sys

import pytest

from expedition.cli.progress import BuildProgress, figures, size_words, time_words, title
from expedition.data.engine import PhaseState
from expedition.data.engine.quarantine import Quarantined

HALF = PhaseState(
    phase="prepare",
    step="clean",
    done=5,
    total=10,
    records_in=1000,
    rejects={"empty": 3, "too short": 40, "encoding": 2, "nsfw": 1},
    records_per_s=1234.4,
    read_bytes_per_s=3_200_000.0,
    remaining_s=125.0,
)
WHOLE = PhaseState(phase="prepare", step="clean", done=10, total=10, quarantined=(Quarantined("s-1", "worker died"),))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_figures_say_rates_time_left_and_the_most_frequent_reasons() -> None:
    said = figures(HALF)
    assert said == "1,234 records/s  3.2 MB/s  2:05 left  46 rejected (too short 40, empty 3, encoding 2, …)"
    assert figures(PhaseState(phase="seal")) == ""


def test_lines_are_few_and_plain_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with BuildProgress() as progress:
        for _ in range(50):
            progress.show(HALF)
        progress.show(WHOLE)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 3
    assert "prepare: s-1 given up: worker died" in said.err and "10/10" in said.err and "\x1b" not in said.err


def test_bar_is_drawn_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with BuildProgress() as progress:
        progress.show(HALF)
        progress._bar.refresh()
        drawn = progress._bar.console.file.getvalue()
    assert "5/10" in drawn and "\x1b[" in drawn


@pytest.mark.parametrize(("seconds", "words"), [(5, "0:05"), (65.4, "1:05"), (3723, "1:02:03")])
def test_time_in_words(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_size_and_title_in_words() -> None:
    assert [size_words(n) for n in (12, 3_200_000, 5e12)] == ["12 B", "3.2 MB", "5 TB"]
    assert title(HALF) == "prepare · clean"
    assert title(PhaseState(phase="compare", step="scatter")) == "compare · scatter"
