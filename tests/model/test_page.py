"""docs/model.md: its example runs, its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from expedition.data.tokenizer import Tokenizer, Vocabulary
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters, flops_per_token
from expedition.model.export import to_transformers
from expedition.model.omni import OmniModel
from expedition.plan.media import MediaRule
from expedition.plan.shapes import TokenIds, preset_shapes
from tests.train.tiny import tiny_shape

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "model.md").read_text("utf-8")


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer(Vocabulary(tuple(bytes([value]) for value in range(256)), np.zeros((0, 2), np.int32)))
    tokenizer.save(tmp_path / "tokenizer")
    ids, media = TokenIds.from_tokenizer(tokenizer.special), MediaRule()
    model = OmniModel(OmniConfig.from_plan(tiny_shape(), media, ids, tokenizer.size))
    to_transformers(model.state_dict(), model.config, tmp_path / "tokenizer", tmp_path / "export", media)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/model.md", "exec"), {"folder": tmp_path / "export", "media": media})
    assert len(eval(capsys.readouterr().out)) == 4, "two answers to each of two prompts"


@pytest.mark.parametrize("name", ["1b", "10b"])
def test_the_table_of_presets_is_counted(name: str) -> None:
    config = OmniConfig(preset_shapes()[name], 152064, TokenIds())
    counts = count_parameters(config)
    causal, full = (flops_per_token(config, 4096, causal=half).total for half in (True, False))
    sizes = " | ".join(f"{size:,}" for size in (counts.decoder, counts.active, counts.vision, counts.audio))
    assert f"| `{name}` | {sizes} | {causal / 1e9:.2f}e9 / {full / 1e9:.2f}e9 |" in PAGE


def test_every_file_and_test_that_is_named_exists() -> None:
    root = Path(__file__).resolve().parents[2]
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = "\n".join(path.read_text("utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert named and all(f"def {name}(" in sources for name in named)
    for file in set(re.findall(r"`(\w+\.py)`", PAGE)):
        places = (root / "src/expedition/model" / file, root / "tests/model" / file)
        assert any(place.is_file() for place in places), file
