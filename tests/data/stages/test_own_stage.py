"""A stage of another package: found by its entry point, run like any other, part of a build's identity."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from expedition.data.records import Document, document_batch
from expedition.data.stages import standard_stages
from expedition.data.stages.catalogue import stage_names
from expedition.data.versions.code import code_version
from expedition.errors import ProgrammeError
from expedition.plan import load_programme

EXAMPLE = Path(__file__).parents[3] / "examples" / "custom_stage.py"


def install(site: Path, code: str, version: str = "1.0") -> None:
    """A package as pip leaves it: a module, and metadata that names its entry point."""
    metadata = site / f"shouting-{version}.dist-info"
    metadata.mkdir(parents=True)
    (site / "shouting.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shouting\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text("[expedition.stages]\nno_shouting = shouting:NoShouting\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "shouting", raising=False)
    return tmp_path / "site"


PLAN = load_programme("rehearsal", overrides=["data.stages.web=[repair, no_shouting, language]"]).data


def test_the_example_runs_by_itself() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True)
    assert "shouting" in done.stdout


def test_an_installed_stage_stands_where_the_programme_names_it(site: Path) -> None:
    install(site, EXAMPLE.read_text())
    stages = {stage.name: stage for stage in standard_stages(PLAN)}
    assert list(stages).index("repair") < list(stages).index("no_shouting")
    loud = document_batch([Document("1", "s", "web", "p", "BUY NOW"), Document("2", "s", "code", "p", "BUY NOW")])
    result = stages["no_shouting"](loud)
    assert [(one.id, one.reason) for one in result.dropped] == [("1", "shouting")]
    assert result.batch["id"].to_pylist() == ["2"]


def test_a_stage_that_is_not_installed_is_refused_by_name() -> None:
    assert "no_shouting" not in stage_names()
    with pytest.raises(ProgrammeError, match="no_shouting"):
        standard_stages(PLAN)


@pytest.mark.parametrize("code", ["raise RuntimeError('no')", "NoShouting = list", "def NoShouting(kinds): return 3"])
def test_a_faulty_package_is_told_to_its_user(site: Path, code: str) -> None:
    install(site, code)
    with pytest.raises(ProgrammeError, match="NoShouting"):
        standard_stages(PLAN)


def test_another_version_of_the_package_is_another_code(site: Path) -> None:
    code_version.cache_clear()
    without = code_version()
    install(site, EXAMPLE.read_text(), "1.0")
    code_version.cache_clear()
    first = code_version()
    install(site, EXAMPLE.read_text(), "1.1")
    code_version.cache_clear()
    second = code_version()
    code_version.cache_clear()
    assert len({without, first, second}) == 3
