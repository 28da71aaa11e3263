"""The house rules that a linter does not hold: lengths, names, and the rooms' cards."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "expedition"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
CARD_PARTS = ("Why a room:", "Verbs", "Seams:", "Imports:", "Invariants:", "Read in this order:", "Try:")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_CARD_LINES = 45


def test_no_file_is_longer_than_600_lines() -> None:
    long = {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > MAX_FILE_LINES}
    assert not long


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {lines}")
    assert not long


def test_every_module_is_named_after_a_concept() -> None:
    vague = [path for path in FILES if re.fullmatch(r"(utils?|common|helpers?|misc)", path.stem)]
    assert not vague


def test_every_module_says_what_it_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path in FILES if ast.get_docstring(ast.parse(path.read_text())) is None]
    assert not silent


@pytest.mark.parametrize("room", ROOMS)
def test_room_card(room: str) -> None:
    """The card has its parts, names exactly the exported verbs, existing files, all files, and existing tests."""
    init = SOURCE / room / "__init__.py"
    card = ast.get_docstring(ast.parse(init.read_text())) or ""
    assert card.startswith(f"{room}: ")
    assert len(card.splitlines()) <= MAX_CARD_LINES, len(card.splitlines())
    for part in CARD_PARTS:
        assert re.search(rf"^{re.escape(part)}", card, re.MULTILINE), f"{room}: the card lacks {part!r}"
    module = importlib.import_module(f"expedition.{room}")
    for name in module.__all__:
        assert re.search(rf"\b{re.escape(name)}\b", card), f"{room}: {name} is exported and not on the card"
        assert getattr(module, name) is not None
    listed = re.findall(r"(?<![\w/])([a-z0-9_]+(?:/[a-z0-9_]+)*(?:\.py|/))(?=\s)", card.split("Read in this order:")[1])
    for name in listed:
        assert (SOURCE / room / name).exists(), f"{room}: the card lists {name}"
    tops = {path.name for path in (SOURCE / room).glob("*.py")} - {"__init__.py"}
    missing = tops - {name.split("/")[0] for name in listed}
    if room != "cli":
        assert not missing, f"{room}: the card does not list {sorted(missing)}"
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"\[(test_\w+)", card):
        assert f"def {name}(" in tests, f"{room}: no test is called {name}"


def test_nothing_names_what_does_not_belong_in_the_product() -> None:
    """No path outside the project, no leftover marker of unfinished work in the sources."""
    wrong = re.compile(r"NotImplementedError|TODO|FIXME|\.\./shared")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if wrong.search(line)
    ]
    assert not found
