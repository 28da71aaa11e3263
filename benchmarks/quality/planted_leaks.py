"""Decontamination measured: benchmark items planted in clean text in stated ways, and clean text alone."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from expedition.data.stages.benchmark_files import Item, read_benchmarks
from expedition.data.stages.decontaminate import BenchmarkIndex, LeakRule
from expedition.data.stages.dedup.tokens import fine_tokens, is_unspaced

EXPECTED = ("verbatim", "case_punctuation_space", "zero_width", "in_markup", "part_70", "short_items_as_lines")
"""Ways that must be found. The others are said so: a third of an item, a translation."""
_LONG = 2.5
"""Times the least length of an item: 20 words, 30 characters."""


def measure(open_set: Path, per_way: int, seed: int = 3) -> dict[str, Any]:
    """Recall by way of planting, and what is found in clean texts."""
    items = [item for item in read_benchmarks(open_set / "eval") if isinstance(item, Item)]
    started = time.process_time()
    index = BenchmarkIndex.from_items(items)
    built_s = time.process_time() - started
    chance = random.Random(seed)
    clean = clean_texts(open_set)
    rule = index.rule
    usable = [item for item in items if _tokens(item) >= _least(item, rule)]
    ways: dict[str, Callable[[str], str]] = {
        "verbatim": lambda text: text,
        "case_punctuation_space": _restyled,
        "zero_width": lambda text: text.replace(" ", " \u200b").replace("e", "e\u00ad"),
        "in_markup": lambda text: f"**Q:** _{text}_ [1](http://example.org)",
    }
    found = {name: _recall(index, usable, clean, edit, per_way, chance) for name, edit in ways.items()}
    # A shorter item is one n-gram, and is found whole or not at all.
    long = [item for item in usable if _tokens(item) >= _LONG * _least(item, rule)]
    for share in (0.7, 0.3):
        found[f"part_{share * 100:.0f}"] = _recall(index, long, clean, partial(_part, share=share), per_way, chance)
    found["short_items_as_lines"] = _short_recall(index, items, clean, per_way, chance)
    found["translated"] = _translated(open_set)
    started = time.process_time()
    flagged = [leaks for leaks in index.leaks_of(clean) if leaks]
    seconds = time.process_time() - started
    size = sum(len(text.encode()) for text in clean)
    planted = sum(found[name]["found"] for name in EXPECTED)
    return {
        "items": len(items),
        "items_long_enough": len(usable),
        "index_s": round(built_s, 2),
        "recall_by_way": found,
        "recall_expected": round(planted / max(1, sum(found[name]["planted"] for name in EXPECTED)), 4),
        "clean_texts": len(clean),
        "clean_flagged": len(flagged),
        "clean_flagged_items": sorted({leak.item for leaks in flagged for leak in leaks})[:20],
        "precision": round(planted / max(1, planted + len(flagged)), 4),
        "text_bytes_per_cpu_s": round(size / seconds),
    }


def clean_texts(open_set: Path) -> list[str]:
    """Pieces of books, of pages and of code that nobody took from a benchmark."""
    texts = [path.read_text("utf-8", "replace") for path in sorted((open_set / "books").glob("*.txt"))]
    pieces = [text[start : start + 3000] for text in texts for start in range(0, len(text), 3000)]
    gold = (open_set / "web" / "gold.jsonl").read_text("utf-8").splitlines()
    pieces += [json.loads(line)["text"] for line in gold]
    code = (path for path in sorted((open_set / "code").rglob("*")) if path.is_file() and path.stat().st_size < 1 << 18)
    pieces += [path.read_text("utf-8", "replace") for path in code]
    return [piece for piece in pieces if piece.strip()]


def _tokens(item: Item) -> int:
    return len(fine_tokens(item.text))


def _least(item: Item, rule: LeakRule) -> int:
    return rule.min_characters if is_unspaced(item.text) else rule.min_words


def _recall(
    index: BenchmarkIndex,
    items: Sequence[Item],
    clean: Sequence[str],
    edit: Callable[[str], str],
    count: int,
    chance: random.Random,
) -> dict[str, Any]:
    """Items of every benchmark alike, each in the middle of a clean text."""
    by_benchmark: dict[str, list[Item]] = {}
    for item in items:
        by_benchmark.setdefault(item.benchmark, []).append(item)
    each = max(1, count // len(by_benchmark))
    chosen = [item for mine in by_benchmark.values() for item in chance.sample(mine, min(each, len(mine)))]
    texts = [_inside(edit(item.text), chance.choice(clean)) for item in chosen]
    hits = [bool(leaks) for leaks in index.leaks_of(texts)]
    missed = sorted({item.benchmark for item, hit in zip(chosen, hits, strict=True) if not hit})
    return {"planted": len(chosen), "found": sum(hits), "recall": round(sum(hits) / len(hits), 4), "missed_in": missed}


def _inside(planted: str, text: str) -> str:
    half = len(text) // 2
    return f"{text[:half]}\n{planted}\n{text[half:]}"


def _restyled(text: str) -> str:
    for mark in ",.;:!?'\"，。、；：！？":
        text = text.replace(mark, "")
    return text.upper().replace(" ", "  ")


def _part(text: str, share: float) -> str:
    units = list(text) if is_unspaced(text) else text.split(" ")
    kept = units[: max(1, round(share * len(units)))]
    return ("" if is_unspaced(text) else " ").join(kept)


def _short_recall(
    index: BenchmarkIndex, items: Sequence[Item], clean: Sequence[str], count: int, chance: random.Random
) -> dict[str, Any]:
    """A dump of a benchmark's short items, one a line."""
    names = {name for _, name in index.lines.values()}
    short: dict[str, list[Item]] = {}
    for item in items:
        if item.name in names:
            short.setdefault(item.benchmark, []).append(item)
    dumps = []
    for mine in short.values():
        for _ in range(max(1, count // (4 * len(short)))):
            if len(mine) >= 8:
                dumps.append("\n".join(item.text for item in chance.sample(mine, 8)))
    texts = [_inside(dump, chance.choice(clean)) for dump in dumps]
    hits = sum(bool(leaks) for leaks in index.leaks_of(texts))
    return {"planted": len(dumps), "found": hits, "recall": round(hits / max(1, len(dumps)), 4)}


def _translated(open_set: Path) -> dict[str, Any]:
    """Chinese questions looked for by their English originals: n-grams do not see through a translation."""
    english = [
        item for item in read_benchmarks(open_set / "eval") if isinstance(item, Item) and item.benchmark == "gsm8k"
    ]
    index = BenchmarkIndex.from_items(english)
    rows = (open_set / "eval" / "mgsm" / "mgsm_zh.tsv").read_text("utf-8").splitlines()
    hits = sum(bool(leaks) for leaks in index.leaks_of(rows))
    return {"planted": len(rows), "found": hits, "recall": round(hits / len(rows), 4), "expected": "none"}
