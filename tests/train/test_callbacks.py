"""Callbacks of other packages are found by entry point, see every step, and fail with a word for their user."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.errors import ProgrammeError
from expedition.parallel.mesh import Ranks
from expedition.train.callbacks.installed import Situation, installed_callbacks
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that offers the example, one that raises, and one that is no callback."""
    place = tmp_path / "site"
    (place / "other-1.0.dist-info").mkdir(parents=True)
    (place / "other-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (place / "other-1.0.dist-info" / "entry_points.txt").write_text(
        "[expedition.callbacks]\neach = other_callbacks:Each\nbroken = other_callbacks:broken\n"
        "none = other_callbacks:none\n"
    )
    (place / "other_callbacks.py").write_text(
        "from custom_callback import Jumps\n\n\nclass Each(Jumps):\n    factor = 0.0\n\n\n"
        "def broken(situation):\n    raise KeyError('no token')\n\n\ndef none(situation):\n    return 5\n"
    )
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return place


def test_the_example_sees_the_steps_of_a_run(package: Path, tmp_path: Path) -> None:
    run = tiny_run(callbacks=("each",))
    ws = Workspace.open(tmp_path / "w", create=True)
    train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()))
    assert [event.fields["step"] for event in ws.events_all("jumps.found")] == list(range(12))


def test_what_is_not_installed_or_no_callback_is_named_with_a_remedy(package: Path, tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    for name, message in (
        ("jump", "no callback 'jump' is installed"),
        ("broken", "KeyError: 'no token'"),
        ("none", "is no callback"),
    ):
        situation = Situation(ws, "main", tiny_run(callbacks=(name,)), Ranks(0, 1), 0)
        with pytest.raises(ProgrammeError, match=message) as caught:
            installed_callbacks(situation)
        assert caught.value.fix and "runs.main.callbacks" in str(caught.value)
