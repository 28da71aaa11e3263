"""The generated pages say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("architecture.md", "cli.md", "programme-file.md", "criteria.md", "exit-codes.md", "stages.md")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(ROOT / "scripts" / "generate_docs.py"), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_current(page: str, fresh: Path) -> None:
    assert (ROOT / "docs" / page).read_text() == (fresh / page).read_text(), "run: make docs"


def test_readme_names_only_commands_that_exist() -> None:
    import re

    from expedition.cli.main import GROUPS

    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"expedition ([a-z]+)\b", text))
    assert used <= {*GROUPS, "rehearse"}, used - set(GROUPS)
