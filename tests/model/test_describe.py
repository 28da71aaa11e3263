"""`expedition model show`: one verb tells sizes, parameters, FLOPs and memory of a named model."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters, encoder_flops, flops_per_token
from expedition.model.describe import describe_model, model_lines
from expedition.plan import load_programme
from expedition.plan.shapes import TokenIds, preset_shapes

QWEN_ROWS = 152064


@pytest.mark.parametrize("name", ["tiny", "1b", "10b"])
def test_numbers_are_those_of_the_counts(name: str) -> None:
    found = describe_model(load_programme("rehearsal"), name, 2048, QWEN_ROWS)
    config = OmniConfig(preset_shapes()[name], QWEN_ROWS, TokenIds())
    counts = count_parameters(config)
    assert found["parameters"] == counts.to_json()
    assert found["sizes"] == preset_shapes()[name].model_dump(mode="json")
    for causal, part in ((True, "causal"), (False, "full")):
        assert found["forward_flops_per_token"][part]["total"] == flops_per_token(config, 2048, causal).total
    sound = found["forward_flops_of_media"]["sound of 30 s"]
    assert (sound["tokens"], sound["encoder"]) == (390, encoder_flops(config, [], [3000]).audio)
    memory = found["memory_bytes"]
    assert memory["training_total"] == 18 * counts.total and memory["export_bf16"] == 2 * counts.total


def test_a_trained_model_has_the_programmes_vocabulary_and_others_the_whole_one() -> None:
    """The rehearsal's tokenizer is compact and made with its data; nobody trains 10b on that."""
    programme = load_programme("rehearsal")
    assert describe_model(programme, "tiny", 128)["vocabulary_rows"] < 10_000
    assert describe_model(programme, "10b", 128)["vocabulary_rows"] == QWEN_ROWS
    given = describe_model(programme, "10b", 128, 1_000)
    assert (given["vocabulary_rows"], given["vocabulary_is"]) == (1_000, "given")


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(UsageError, match="did you mean 10b"):
        describe_model(load_programme("rehearsal"), "10c", 128)


def test_the_command_tells_it_as_text_and_as_json() -> None:
    from expedition.cli.model import app

    text = CliRunner().invoke(app, ["show", "1b"])
    assert text.exit_code == 0
    for part in ("1,188,355,072", "hidden 1024", "forward and backward", "memory by state", "kv cache of a token"):
        assert part in text.output
    document = json.loads(CliRunner().invoke(app, ["show", "1b", "--json"]).output)
    assert document["parameters"]["decoder"] == 1_188_355_072
    assert text.output.splitlines()[: len(list(model_lines(document)))] == list(model_lines(document))
