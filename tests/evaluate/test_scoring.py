"""Questions, likelihoods, controls: on real files of every modality and a real model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import InputError
from expedition.evaluate.backends.transformers_class import TransformersClass, extended
from expedition.evaluate.controls import control_prompts, derangement, swapped_context
from expedition.evaluate.questions import Question
from expedition.evaluate.scoring import constant_errors
from expedition.evaluate.subject import Subject
from expedition.evaluate.tasks.read import read_task, task_names
from expedition.model.export import to_transformers
from expedition.plan.shapes import TokenIds
from tests.evaluate.world import ITEMS, byte_tokenizer, programme


def questions_of(subject: Subject, data: Path, task: str, items: int = 3) -> list[Question]:
    chosen = read_task(data, task, items).items
    return [Question(subject.writer.prompt(item), subject.writer.continuations(item)) for item in chosen]


def tolerance(task: str) -> float:
    """Of log-probabilities, relative. A sound's features depend a little on the lengths of the sounds beside it, in
    transformers too: chunks are padded to the longest, and the convolutions' biases reach in from the padding."""
    return 1e-3 if task == "word" else 1e-5


@pytest.mark.parametrize("task", ["colour", "word", "order", "needle"])
def test_shared_prompts_change_nothing(subject: Subject, data: Path, task: str) -> None:
    """Likelihoods through the shared prompt equal those of one whole row a choice."""
    questions = questions_of(subject, data, task)
    for question, found in zip(questions, subject.backend.score(questions), strict=True):
        rows = [extended(question.prompt, tokens) for tokens in question.continuations]
        losses = subject.backend.losses(subject.backend.batch(rows))
        start = len(question.prompt.tokens) - 1
        expected = [-losses[n, start : start + len(t)].sum() for n, t in enumerate(question.continuations)]
        np.testing.assert_allclose(found, expected, rtol=tolerance(task))


def test_order_and_batching_of_questions_do_not_matter(subject: Subject, data: Path) -> None:
    questions = [*questions_of(subject, data, "colour"), *questions_of(subject, data, "word")]
    forward = subject.backend.score(questions)
    backward = subject.backend.score(questions[::-1])[::-1]
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance("word"))


def test_transformers_class_agrees(subject: Subject, data: Path, tmp_path: Path) -> None:
    """transformers' own class on the exported folder: likelihoods of every modality, and greedy answers."""
    pytest.importorskip("transformers")
    model, media = subject.backend.model, programme().media
    byte_tokenizer().save(tmp_path / "tokenizer")
    to_transformers(model.state_dict(), model.config, tmp_path / "tokenizer", tmp_path / "out", media)
    end = TokenIds.from_tokenizer(byte_tokenizer().special).end_of_text
    theirs = TransformersClass.load(tmp_path / "out", media, end)
    questions = [q for task in ("colour", "word", "direction", "needle") for q in questions_of(subject, data, task, 2)]
    for ours, other in zip(subject.backend.score(questions), theirs.score(questions), strict=True):
        np.testing.assert_allclose(ours, other, rtol=tolerance("word"))
    prompts = [question.prompt for question in questions]
    assert np.array_equal(subject.backend.greedy(prompts, 4), theirs.greedy(prompts, 4))


def test_an_item_reads_as_a_training_document(subject: Subject, data: Path) -> None:
    """Prompt and choice are one document: media, a space, the text, and nothing else."""
    item = read_task(data, "colour", 1).items[0]
    prompt, choice = subject.writer.prompt(item), subject.writer.continuations(item)[0]
    whole = subject.writer.document(item.choices[0], item.media)
    joined = np.concatenate((prompt.tokens, choice))
    assert np.array_equal(whole.tokens[:-1], joined)
    assert whole.tokens[-1] == subject.writer.tokenizer.end_of_text
    assert byte_tokenizer().decode(choice.tolist()).startswith(" ")


@given(st.integers(2, 60), st.integers(0, 5))
def test_nobody_keeps_his_place_in_a_control(n: int, seed: int) -> None:
    order = derangement(n, seed)
    assert sorted(order) == list(range(n))
    assert all(place != other for place, other in enumerate(order))


def test_controls_take_the_evidence_from_another_item(subject: Subject, data: Path) -> None:
    items = read_task(data, "colour", ITEMS).items
    prompts = [subject.writer.prompt(item) for item in items]
    others = control_prompts(subject.writer, items, prompts, 3)
    assert all(other is not prompt for other, prompt in zip(others, prompts, strict=True))
    assert {id(other) for other in others} == {id(prompt) for prompt in prompts}
    drives = read_task(data, "trajectory", 4).items
    asked = [subject.writer.prompt(item) for item in drives]
    moved = control_prompts(subject.writer, drives, asked, 3)
    for mine, swapped in zip(asked, moved, strict=True):
        assert np.array_equal(mine.tokens, swapped.tokens)
        assert not np.array_equal(mine.media[0].patches_PC, swapped.media[0].patches_PC)


def test_a_text_keeps_its_question_and_gets_another_context() -> None:
    found = swapped_context("Ann has tea. The box gives Ann red. The box gives Ann", "Hay. A fact. The box gives Bob")
    assert found == "Ann has tea. The box gives Ann red. The box gives Bob"
    assert swapped_context("is it far", "is it near") == "is it far"


def test_the_constant_answer_is_the_best_one() -> None:
    targets = np.asarray([[10, 0], [20, 0], [90, 8]])
    best = constant_errors(targets).mean()
    assert best == min(np.abs(targets - [a, b]).mean() for a in range(100) for b in range(9))


def test_tasks_are_found_and_the_plans_come_first(data: Path) -> None:
    names = task_names(data, ("word", "colour", "absent"))
    assert names[:2] == ["word", "colour"]
    assert set(names) == {path.parent.name for path in (data / "eval").glob("*/items.jsonl")}
    assert task_names(data / "nowhere", ("word",)) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not readable as JSON"),
        ("[1]", "not a JSON object"),
        ('{"text_before": "a", "choices": ["b"], "answer": 0}', "two choices"),
        ('{"text_before": "a", "choices": ["b", "c"], "answer": 2}', "number of the right one"),
        ('{"choices": ["b", "c"], "answer": 1}', "media or text_before"),
        ('{"media": [{"kind": "image", "path": "../up.png"}], "choices": ["b", "c"], "answer": 1}', "no file"),
        ('{"text_before": "a", "target_actions": [256]}', "bin numbers"),
    ],
)
def test_a_wrong_item_is_named_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    folder = tmp_path / "eval" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "eval" / "up.png").write_bytes(b"x")
    good = json.dumps({"text_before": "a", "choices": ["b", "c"], "answer": 0})
    (folder / "items.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(InputError, match=says) as error:
        read_task(tmp_path, "mine", 10)
    assert ":2" in str(error.value)
