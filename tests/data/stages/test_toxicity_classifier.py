"""Classifiers of others: ONNX models that really run, entry points of an installed package."""

import sys
from pathlib import Path

import numpy as np
import pytest

from expedition.data.stages import standard_stages
from expedition.data.stages.toxicity import Toxicity, ToxicityPolicy, resolve_classifier
from expedition.data.stages.toxicity.classifier import pieces_of
from expedition.errors import InputError, MissingExtra
from expedition.plan import load_programme
from tests.data.stages.documents import batch_of
from tests.data.stages.onnx_file import write_bag_of_words, write_phrase_table

TEXTS = ["the cat sleeps", "the dog is awful", "an awful horrible day", "a good day", "horrible people", "good cat"]
LABELS = np.asarray([0, 1, 1, 0, 1, 0])


def trained_onnx(folder: Path) -> Path:
    """A bag-of-words model trained here by gradient descent, with its tokenizer beside it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["[PAD]", "[UNK]", *sorted({word for text in TEXTS for word in text.split()})]
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    counts = np.zeros((len(TEXTS), len(words)))
    for row, text in enumerate(TEXTS):
        np.add.at(counts[row], tokenizer.encode(text).ids, 1)
    weights = np.zeros(len(words))
    for _ in range(500):
        weights -= counts.T @ (1 / (1 + np.exp(-counts @ weights)) - LABELS) / len(TEXTS)
    write_bag_of_words(folder / "model.onnx", np.stack([np.zeros_like(weights), weights], 1))
    return folder / "model.onnx"


def test_an_onnx_model_with_a_tokenizer_judges(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    classifier = resolve_classifier(str(trained_onnx(tmp_path)))
    values = [score.value for score in classifier.scores([*TEXTS, "", "an awful cat"])]
    assert [value > 0.5 for value in values[:6]] == [bool(label) for label in LABELS]
    assert values[6] == 0.0
    assert classifier.scores(["an awful cat"])[0].value == pytest.approx(values[7], abs=1e-4)


def test_the_label_that_says_toxic_is_the_column(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    path = trained_onnx(tmp_path)
    before = resolve_classifier(str(path)).scores(["awful"])[0].value
    resolve_classifier.cache_clear()
    (tmp_path / "config.json").write_text('{"id2label": {"0": "toxic", "1": "non-toxic"}}')
    assert resolve_classifier(str(path)).scores(["awful"])[0].value == pytest.approx(1 - before, abs=1e-3)


def test_an_onnx_model_of_strings_judges(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    write_phrase_table(tmp_path / "table.onnx", {"bad thing": 0.9, "so so": 0.4})
    scores = resolve_classifier(str(tmp_path / "table.onnx")).scores(["bad thing", "fine", "so so"])
    assert [score.value for score in scores] == [0.9, 0.0, 0.4]


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07 no model")
    with pytest.raises(InputError, match="no ONNX model"):
        resolve_classifier(str(tmp_path / "broken.onnx"))
    with pytest.raises(InputError, match="no such model"):
        resolve_classifier(str(tmp_path / "absent.onnx"))
    path = trained_onnx(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        resolve_classifier(str(path))
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="no toxicity model"):
        resolve_classifier(str(tmp_path / "model.json"))


def test_without_onnx_runtime_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"expedition-programme\[onnx\]"):
        resolve_classifier(str(tmp_path / "any.onnx"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with entry points, as pip would leave it."""
    (tmp_path / "grumbler.py").write_text(
        "def judge(texts):\n    return [min(1.0, text.count('grr') / 2) for text in texts]\n\n\n"
        "def wrong(texts):\n    return [7.0 for _ in texts]\n"
    )
    info = tmp_path / "grumbler-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grumbler\nVersion: 1.0\n")
    points = "grumbler = grumbler:judge\nwrong = grumbler:wrong\nabsent = grumbler:nothing\n"
    (info / "entry_points.txt").write_text(f"[expedition.toxicity]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    resolve_classifier.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_entry_point_judges_in_the_stage() -> None:
    stage = Toxicity(frozenset({"web"}), ToxicityPolicy(model="grumbler"))
    result = stage(batch_of("grr grr grr", "a fine day", "grr"))
    assert [item.id for item in result.dropped] == ["0"]
    long = "A fine day in the village. " * 60 + "grr grr grr."
    assert stage(batch_of(long)).dropped == (), "one piece of many is below the share"
    assert stage(batch_of(long)).counts["score:0.9:1.0"] == 1


@pytest.mark.usefixtures("installed")
def test_entry_points_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="no probabilities"):
        resolve_classifier("wrong").scores(["a"])
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve_classifier("absent")
    with pytest.raises(InputError, match="choose from: packaged, absent, grumbler, wrong"):
        resolve_classifier("grumpy")


def test_a_plan_with_an_unknown_classifier_is_refused() -> None:
    plan = load_programme("rehearsal", ["data.toxicity.model=grumpy"]).data
    with pytest.raises(InputError, match="'grumpy' is no toxicity classifier"):
        standard_stages(plan)


def test_pieces_lose_no_word() -> None:
    text = "One sentence here. Another one! 第三句。" + "word " * 900
    assert "".join("".join(pieces_of(text)).split()) == "".join(text.split())
    assert max(map(len, pieces_of(text))) <= 1300
    assert pieces_of(" \n ") == []
