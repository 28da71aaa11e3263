"""The command line: quick help, exit codes, errors for people."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from expedition.cli.main import GROUPS, run


def test_help_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys, expedition.cli.main as m\n"
        "code = m.run(['--help'])\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'numpy', 'av', 'pydantic'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(sorted(heavy)))\n"
        "sys.exit(code)\n"
    )
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        best = min(best, time.perf_counter() - started)
        assert done.returncode == 0
        assert done.stderr == ""
    assert "rehearse" in done.stdout
    assert best < 1.0, "help should take about 0.1 s"


@pytest.mark.parametrize("group", list(GROUPS))
def test_each_group_has_help_and_its_verbs_do_too(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([group, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_groups_import_no_torch() -> None:
    code = "import sys, importlib\n" + "".join(
        f"importlib.import_module('expedition.cli.{module}')\n" for module, _ in GROUPS.values()
    )
    code += "sys.exit(1 if 'torch' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_command_suggests_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rehears"]) == 2
    assert "rehearse" in capsys.readouterr().err


def test_wrong_option_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["programme", "show", "--presett", "w26"]) == 2
    assert run(["programme", "show", "--preset", "w27"]) == 2
    assert "did you mean 'w26'" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from expedition import __version__

    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
