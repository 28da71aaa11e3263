"""Detectors on labelled sets: folders pii/, dedup/, languages/, toxicity/ as described in the docstrings below.

Labels come from people and public sets, never from the generators of this project.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from expedition.data.quality.figures import f1, ratio
from expedition.data.stages.dedup import find_duplicates
from expedition.data.stages.language import identify_many
from expedition.data.stages.language.tags import macrolanguage, primary, tag_of
from expedition.data.stages.pii import find_pii
from expedition.data.stages.pii.detectors import DETECTORS
from expedition.data.stages.toxicity import toxicity_score

_THRESHOLD: Final = 0.5
_SIMILAR: Final = 0.7
_SAME_WORDS: Final = frozenset({"exact", "whitespace_case_punct"})


def labelled_report(folder: Path | str | None) -> dict[str, Any]:
    """{pii_en, pii_zh, dedup, languages, toxicity}; None where a set is absent. Rates are documents a second of CPU."""
    root = Path(folder) if folder else None
    present = root if root is not None and root.is_dir() else None
    return {
        "pii_en": _pii(present, "en"),
        "pii_zh": _pii(present, "zh"),
        "dedup": _dedup(present),
        "languages": _languages(present),
        "toxicity": _toxicity(present),
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _pii(root: Path | None, language: str) -> dict[str, Any] | None:
    """pii/*_<language>.jsonl: {text, spans: [{start, end, type}]}. A span is found if a
    finding of its type overlaps it.

    Types that no detector looks for (names, places, dates) are listed in `not_detected` and left out of the figures.
    """
    paths = sorted((root / "pii").glob(f"*_{language}.jsonl")) if root else []
    if not paths:
        return None
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    started, documents = time.process_time(), 0
    for row in (row for path in paths for row in _rows(path)):
        documents += 1
        found = [(span.start, span.end, span.type) for span in find_pii(row["text"])]
        wanted = [(span["start"], span["end"], span["type"]) for span in row["spans"]]
        for span in wanted:
            by_type[span[2]]["planted"] += 1
            by_type[span[2]]["recalled"] += any(_overlap(span, other) for other in found)
        for span in found:
            by_type[span[2]]["found"] += 1
            by_type[span[2]]["right"] += any(_overlap(span, other) for other in wanted)
    rate = documents / max(time.process_time() - started, 1e-9)
    counted = {name: counts for name, counts in by_type.items() if name in DETECTORS}
    total: Counter[str] = sum(counted.values(), Counter())
    return {
        "recall": ratio(total["recalled"], total["planted"]),
        "precision": ratio(total["right"], total["found"]),
        "planted": total["planted"],
        "found": total["found"],
        "documents": documents,
        "documents_per_s": round(rate),
        "types": {name: _type_figures(counts) for name, counts in sorted(counted.items())},
        "not_detected": sorted(set(by_type) - set(counted)),
    }


def _type_figures(counts: Counter[str]) -> dict[str, Any]:
    return {
        "recall": ratio(counts["recalled"], counts["planted"]),
        "precision": ratio(counts["right"], counts["found"]),
        "planted": counts["planted"],
    }


def _overlap(a: tuple[int, int, str], b: tuple[int, int, str]) -> bool:
    return a[2] == b[2] and a[0] < b[1] and b[0] < a[1]


def _dedup(root: Path | None) -> dict[str, Any] | None:
    """dedup/docs.jsonl {id, text} and pairs.jsonl {a, b, similarity, kind}: pairs of similarity 0.7 and
    more are copies.

    `precision` also takes pairs as copies that differ in white space, case and punctuation only; `precision_strict`
    goes by similarity alone.
    """
    if root is None or not (root / "dedup" / "docs.jsonl").is_file():
        return None
    documents = list(_rows(root / "dedup" / "docs.jsonl"))
    pairs = list(_rows(root / "dedup" / "pairs.jsonl"))
    count = len(documents)
    table = pa.table(
        {
            "id": [row["id"] for row in documents],
            "source": ["labelled"] * count,
            "kind": ["web"] * count,
            "text": [row["text"] for row in documents],
            "length": [len(row["text"]) for row in documents],
            "phash": pa.array([None] * count, pa.string()),
        }
    )
    started = time.process_time()
    home = {item.id: item.of for item in find_duplicates(table)}
    rate = count / max(time.process_time() - started, 1e-9)
    joined = [home.get(pair["a"], pair["a"]) == home.get(pair["b"], pair["b"]) for pair in pairs]
    similar = [pair["similarity"] >= _SIMILAR for pair in pairs]
    same = [near or pair["kind"] in _SAME_WORDS for near, pair in zip(similar, pairs, strict=True)]
    both = sum(one and other for one, other in zip(joined, similar, strict=True))
    return {
        "recall": ratio(both, sum(similar)),
        "precision": ratio(sum(one and other for one, other in zip(joined, same, strict=True)), sum(joined)),
        "precision_strict": ratio(both, sum(joined)),
        "planted": sum(similar),
        "found": sum(joined),
        "unrelated_joined": sum(one for one, pair in zip(joined, pairs, strict=True) if pair["kind"] == "unrelated"),
        "documents": count,
        "documents_per_s": round(rate),
    }


def _languages(root: Path | None) -> dict[str, Any] | None:
    """languages/test*.tsv: label TAB text. Individual languages count as their macrolanguage on both sides.

    Labels that are no ISO code (keys of the Universal Declaration) are looked up in languages/udhr_articles.tsv, on
    which the packaged profiles were trained: `accuracy_unseen` leaves out the texts that stand in it.
    """
    paths = sorted((root / "languages").glob("test*.tsv")) if root else []
    if root is None or not paths:
        return None
    articles = _udhr_articles(root / "languages" / "udhr_articles.tsv")
    hits: dict[str, list[bool]] = defaultdict(list)
    classes: dict[str, list[bool]] = defaultdict(list)
    unseen: list[bool] = []
    started = time.process_time()
    lines = [line for path in paths for line in _labelled_lines(path)]
    guesses = identify_many([text for _, text in lines])
    for (label, text), guess in zip(lines, guesses, strict=True):
        found = articles.get(label) or articles.get(label.split("_")[0]) or _Articles(label, "other", "")
        want = macrolanguage(tag_of(found.code))
        hit = macrolanguage(primary(guess.tag)) == want
        hits[want].append(hit)
        classes[found.group].append(hit)
        if text not in found.text:
            unseen.append(hit)
    total = sum(map(len, hits.values()))
    return {
        "accuracy": ratio(sum(map(sum, hits.values())), total),
        "accuracy_unseen": ratio(sum(unseen), len(unseen)),
        "macro_recall": ratio(sum(sum(found) / len(found) for found in hits.values()), len(hits)),
        "classes": {name: ratio(sum(found), len(found)) for name, found in sorted(classes.items())},
        "languages": len(hits),
        "languages_half_right": sum(2 * sum(found) >= len(found) for found in hits.values()),
        "texts": total,
        "texts_per_s": round(total / max(time.process_time() - started, 1e-9)),
    }


@dataclass(frozen=True, slots=True)
class _Articles:
    """What udhr_articles.tsv says of a label: ISO 639-3 code, class, and all its texts."""

    code: str
    group: str
    text: str


def _labelled_lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            label, tab, text = line.rstrip("\n").partition("\t")
            if tab and text:
                yield label, text


def _udhr_articles(path: Path) -> dict[str, _Articles]:
    """Key → what is known of it; empty where the file is absent."""
    table: dict[str, _Articles] = {}
    if path.is_file():
        for line in path.read_text("utf-8").splitlines()[1:]:
            code, key, group, _, text = (line.split("\t") + [""] * 5)[:5]
            known = table.get(key)
            table[key] = _Articles(code, group, f"{known.text}\n{text}" if known else text)
    return table


def _toxicity(root: Path | None) -> dict[str, Any] | None:
    """toxicity/*.jsonl: {text, label: 1 hateful / 0 not}. F1 stands beside that of calling everything hateful."""
    paths = sorted((root / "toxicity").glob("*.jsonl")) if root else []
    if not paths:
        return None
    return {path.stem: _toxicity_figures(path) for path in paths}


def _toxicity_figures(path: Path) -> dict[str, Any]:
    counts: Counter[tuple[bool, bool]] = Counter()
    started = time.process_time()
    for row in _rows(path):
        counts[toxicity_score(row["text"]).value > _THRESHOLD, bool(row["label"])] += 1
    total = sum(counts.values())
    rate = total / max(time.process_time() - started, 1e-9)
    hateful = counts[True, True] + counts[False, True]
    recall = ratio(counts[True, True], hateful)
    precision = ratio(counts[True, True], counts[True, True] + counts[True, False])
    return {
        "recall": recall,
        "precision": precision,
        "f1": f1(precision, recall),
        "accuracy": ratio(counts[True, True] + counts[False, False], total),
        "specificity": ratio(counts[False, False], counts[False, False] + counts[True, False]),
        "f1_all_hateful": f1(ratio(hateful, total), 1.0),
        "texts": total,
        "texts_per_s": round(rate),
    }
