"""Long context: a fact at a given depth of a context of a given length, and the question at its end.

Contexts are made of held-out texts (`eval/heldout/<kind>.jsonl`) and of `eval/needle/grammar.json`:
    {"fact": "The box gives {name} {value}.", "question": "The box gives {name}", "names": [...], "values": [...]}
→ reports/long-context.json, .svg
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.tokenizer import Tokenizer
from expedition.errors import InputError
from expedition.evaluate import statistics
from expedition.evaluate.drawing import grid_svg
from expedition.evaluate.scoring import Examiner, choice_scores
from expedition.evaluate.subject import Subject
from expedition.evaluate.task import Item
from expedition.evaluate.tasks.read import rows_of
from expedition.workspace import layout

SCHEMA = "evaluate.long-context/1"
PICTURE = "reports/long-context.svg"
HAY_KINDS = ("web", "books", "synthetic")
CELL_ITEMS = 36
"""Questions of each cell of the grid."""
NO_GRAMMAR = "the data folder has no eval/needle/grammar.json, or no held-out texts: no context was made"


@dataclass(frozen=True, slots=True)
class Grammar:
    """How facts are said and asked for."""

    fact: str
    question: str
    names: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Haystack:
    """Sentences that hold no fact, and how many tokens each has after a space."""

    tokenizer: Tokenizer
    lines: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, lines: Sequence[str]) -> Haystack:
        """Count the tokens of each line."""
        encoded = tokenizer.encode_batch([f" {line}" for line in lines])
        return cls(tokenizer, tuple(lines), tuple(len(tokens) for tokens in encoded))

    def tokens(self, text: str) -> int:
        """Tokens of another text."""
        return len(self.tokenizer.encode(text))


@dataclass(frozen=True, slots=True)
class Cell:
    """Accuracy at one length (tokens) and depth (0: the fact comes first; 1: last)."""

    length: int
    depth: float
    n: int
    accuracy: float
    ci_low: float
    ci_high: float
    p_value: float
    mean_tokens: float
    """Mean true length of the contexts: sentences are not cut, so it is a little below `length`."""


def write_long_context(subject: Subject, cell_items: int = CELL_ITEMS) -> dict[str, Any]:
    """Measure the grid of `programme.evaluation` and write the report. Idempotent. `effective_length` is the largest
    length at which every depth is above chance after Holm's correction over the grid; 0 if there is none."""
    plan = subject.programme.evaluation
    cells, chance = measure_grid(subject, cell_items)
    level = plan.significance
    rejected = statistics.holm([cell.p_value for cell in cells], level)
    above = {(cell.length, cell.depth): found for cell, found in zip(cells, rejected, strict=True)}
    lengths = [
        length for length in plan.needle_lengths if cells and all(above[length, depth] for depth in plan.needle_depths)
    ]
    report = {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "grid": [{**asdict(cell), "above_chance": above[cell.length, cell.depth]} for cell in cells],
        "chance": chance,
        "effective_length": max(lengths, default=0),
        "significance": level,
        "trained_length": subject.plan.sequence_length,
        "picture": PICTURE if cells else None,
        "conditions": [*subject.conditions, *([] if cells else [NO_GRAMMAR])],
    }
    if cells:
        subject.ws.write_text(PICTURE, grid_svg([asdict(cell) for cell in cells], chance or 0.0, subject.name))
    subject.ws.write_json(layout.report("long-context"), report, schema=SCHEMA)
    return report


def measure_grid(subject: Subject, cell_items: int) -> tuple[list[Cell], float | None]:
    """Cells by length, then depth, and the chance level; ([], None) where the data has no grammar or no texts."""
    grammar = None if subject.data_dir is None else read_grammar(subject.data_dir)
    hay = [] if subject.data_dir is None or grammar is None else read_hay(subject.data_dir, grammar)
    if grammar is None or not hay:
        return [], None
    plan = subject.programme.evaluation
    examiner = Examiner(subject.backend, subject.writer, plan)
    texts = Haystack.of(subject.writer.tokenizer, hay)
    chance = 1 / len(grammar.values)
    cells = []
    for length in plan.needle_lengths:
        for depth in plan.needle_depths:
            generator = np.random.Generator(np.random.PCG64([plan.seed, length, round(1000 * depth)]))
            items = [make_item(grammar, texts, (length, depth), number, generator) for number in range(cell_items)]
            cells.append(_cell(examiner, items, length, depth, chance))
    return cells, chance


def _cell(examiner: Examiner, items: Sequence[Item], length: int, depth: float, chance: float) -> Cell:
    prompts = [examiner.writer.prompt(item) for item in items]
    (scores,) = choice_scores(examiner, items, prompts)
    right, n = sum(bool(score.correct) for score in scores), len(scores)
    low, high = statistics.wilson(right, n, examiner.plan.confidence)
    tokens = float(np.mean([len(prompt.tokens) for prompt in prompts]))
    return Cell(length, depth, n, right / n, low, high, statistics.tail(right, [chance] * n), tokens)


def make_item(
    grammar: Grammar,
    hay: Haystack,
    cell: tuple[int, float],
    number: int,
    generator: np.random.Generator,
) -> Item:
    """One context of at most `cell[0]` tokens (if its fact and question fit); answers come round evenly."""
    length, depth = cell
    value = number % len(grammar.values)
    name = str(generator.choice(grammar.names))
    fact = grammar.fact.format(name=name, value=grammar.values[value])
    question = grammar.question.format(name=name)
    room = length - hay.tokens(f" {fact}") - hay.tokens(f" {question}")
    lines: list[str] = []
    for place in generator.permutation(len(hay.lines)).tolist():
        if hay.sizes[place] <= room:
            lines.append(hay.lines[place])
            room -= hay.sizes[place]
    lines.insert(round(depth * len(lines)), fact)
    text = " ".join([*lines, question])
    return Item(f"needle-{length}-{depth}-{number:03d}", (), text, tuple(f" {v}" for v in grammar.values), value)


def read_grammar(data_dir: Path) -> Grammar | None:
    """The grammar of a data folder; None without one. Raises InputError for a file that is none."""
    path = data_dir / "eval" / "needle" / "grammar.json"
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_bytes())
        grammar = Grammar(str(raw["fact"]), str(raw["question"]), tuple(raw["names"]), tuple(raw["values"]))
        grammar.fact.format(name="", value="")
        grammar.question.format(name="")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"not a needle grammar: {error!r}", where=str(path)) from error
    if not grammar.names or len(grammar.values) < 2:
        raise InputError("a needle grammar needs names and two values or more", where=str(path))
    return grammar


def read_hay(data_dir: Path, grammar: Grammar) -> list[str]:
    """Sentences of the held-out texts, each once, without any that could be taken for a fact."""
    opening = grammar.fact.split("{")[0].strip()
    lines: dict[str, None] = {}
    for kind in HAY_KINDS:
        path = data_dir / "eval" / "heldout" / f"{kind}.jsonl"
        if not path.is_file():
            continue
        for row in rows_of(path):
            for line in re.split(r"(?<=[.!?。])\s+", str(row.get("text") or "")):
                if line.strip() and not (opening and opening in line):
                    lines[line.strip()] = None
    return list(lines)
