"""Near copies and benchmark leaks: python -m benchmarks.quality.dedup [--quick] [--out F.json]

Pairs of the open labelled set, found by `similar_pairs` (what `expedition data dedup` runs), by datasketch (MinHashLSH, the
proposals verified by the shingles themselves; with the hash of its defaults and a faster one, 14 x 8 and 25 x 5 bands) and
by datatrove's MinHash pipeline, each in one process, interleaved, best of three by processor time, reading excluded. Then
pairs made anew from other texts (made_edits.py): there is no goal for them, since near the threshold the label follows from
what counts as a word. Then benchmark items planted in clean text (planted_leaks.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import peers
from benchmarks.quality import planted_leaks
from benchmarks.quality.made_edits import made_pairs
from benchmarks.quality.open_set import open_set
from expedition.data.stages.dedup.fingerprint import Columns
from expedition.data.stages.dedup.near import NearRule, signatures, sketched
from expedition.data.stages.dedup.pairs import similar_pairs
from expedition.data.stages.dedup.tokens import hashed, is_unspaced

THRESHOLD = 0.8
SETTINGS = {
    "datasketch 14x8": ("datasketch", "14", "8", str(THRESHOLD), "sha1"),
    "datasketch 14x8 xxh32": ("datasketch", "14", "8", str(THRESHOLD), "xxh32"),
    "datasketch 25x5 xxh32": ("datasketch", "25", "5", str(THRESHOLD), "xxh32"),
    "datatrove": ("datatrove",),
}
REFERENCE = "datasketch 14x8 xxh32"
"""What speed is held against: the fastest setting of datasketch with the bands of the goal."""


def columns(texts: list[str], kinds: list[str] | None = None) -> Columns:
    """Texts as documents named by their number."""
    count = len(texts)
    return Columns([str(n) for n in range(count)], [""] * count, kinds or ["web"] * count, texts, [None] * count)


def judged(found: set[frozenset[Any]], labelled: list[tuple[Any, Any, bool, str]]) -> dict[str, Any]:
    """Recall and precision over labelled pairs (a, b, is a copy, kind); unlabelled pairs count neither way."""
    missed: dict[str, int] = {}
    wrong: dict[str, int] = {}
    right = copies = 0
    for a, b, is_copy, kind in labelled:
        hit = frozenset((a, b)) in found
        copies += is_copy
        right += hit and is_copy
        if is_copy and not hit:
            missed[kind] = missed.get(kind, 0) + 1
        if hit and not is_copy:
            wrong[kind] = wrong.get(kind, 0) + 1
    said = right + sum(wrong.values())
    return {
        "copies": copies,
        "recall": round(right / copies, 4) if copies else None,
        "precision": round(right / said, 4) if said else None,
        "missed_by_kind": missed,
        "wrong_by_kind": wrong,
    }


def on_labelled_set(folder: Path, rounds: int) -> dict[str, Any]:
    """Ours and the peers on docs.jsonl and pairs.jsonl of a folder."""
    docs = folder / "docs.jsonl"
    rows = [json.loads(line) for line in docs.read_text("utf-8").splitlines()]
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    labelled = [
        (row["a"], row["b"], row["similarity"] >= THRESHOLD or row["kind"] == "whitespace_case_punct", row["kind"])
        for row in pairs
    ]
    ids = [row["id"] for row in rows]
    documents = columns([row["text"] for row in rows])
    best: dict[str, float] = {}
    figures: dict[str, dict[str, Any]] = {}
    versions = {"rensa": version("rensa")}
    similar_pairs(documents)
    for _ in range(rounds):
        started = time.process_time()
        table = similar_pairs(documents)
        best["ours"] = min(best.get("ours", np.inf), time.process_time() - started)
        for name, setting in SETTINGS.items():
            try:
                cpu_s, found, told = peer(setting, docs)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                figures[name] = {"error": str(error)[-300:]}
                continue
            best[name] = min(best.get(name, np.inf), cpu_s)
            versions[setting[0]] = told
            figures[name] = judged(found, labelled)
    places = zip(table.column("a").to_pylist(), table.column("b").to_pylist(), strict=True)
    figures["ours"] = judged({frozenset((ids[a], ids[b])) for a, b in places}, labelled)
    for name, seconds in best.items():
        figures[name]["documents_per_cpu_s"] = round(len(rows) / seconds)
    return {"documents": len(rows), "pairs": len(pairs), "figures": figures, "versions": versions}


def peer(setting: tuple[str, ...], docs: Path) -> tuple[float, set[frozenset[str]], str]:
    """Processor seconds, pairs found and version of one peer's run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pairs.json"
        told = peers.run("dedup", setting[0], str(docs), str(out), *setting[1:], timeout_s=600.0)
        found = {frozenset(row[:2]) for row in json.loads(out.read_text())}
    return told["cpu_s"], found, told["version"]


def on_made_pairs(folder: Path, seeds: int) -> dict[str, Any]:
    """Ours on pairs made from other texts than the labelled set's: code, declarations in many languages, captions."""
    found: dict[str, Any] = {}
    for name, (texts, kind) in other_texts(folder).items():
        documents, pairs = made_pairs(texts, seeds, code=kind == "code")
        table = similar_pairs(columns(documents, [kind] * len(documents)))
        hits = zip(table.column("a").to_pylist(), table.column("b").to_pylist(), strict=True)
        labelled = [(pair.a, pair.b, pair.is_copy, pair.kind) for pair in pairs]
        found[name] = {"documents": len(documents), **judged({frozenset(hit) for hit in hits}, labelled)}
    return found


def other_texts(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Texts by name, each with the kind of its documents."""
    code = [
        path
        for path in sorted((folder / "code").rglob("*"))
        if path.suffix in {".py", ".js", ".c", ".go", ".rs", ".java"}
    ]
    articles: dict[str, list[str]] = {}
    for line in (folder / "languages" / "udhr_articles.tsv").read_text("utf-8").splitlines()[1:]:
        cells = line.split("\t")
        articles.setdefault(cells[0], []).append(cells[4])
    whole = ["\n".join(parts[at : at + 6]) for _, parts in sorted(articles.items()) for at in range(0, len(parts), 6)]
    return {
        "code": ([path.read_text("utf-8", "replace") for path in code if path.stat().st_size < 1 << 18], "code"),
        "languages with spaces": ([text for text in whole if not is_unspaced(text)], "web"),
        "scripts without spaces": ([text for text in whole if is_unspaced(text)], "web"),
    }


def signature_engines(folder: Path) -> dict[str, Any]:
    """MinHash signatures of the labelled set by rensa and by NumPy alone, documents a processor second."""
    texts = [json.loads(line)["text"] for line in (folder / "docs.jsonl").read_text("utf-8").splitlines()]
    rule = NearRule()
    blocks = [sketched(block, rule) for block in hashed(texts)]
    width = rule.bands * rule.band_values
    chance = np.random.default_rng(1)
    factors, shifts = chance.integers(1, 2**32, (2, width), np.uint64) | np.uint64(1)

    def by_numpy() -> None:
        for block in blocks:
            for place in range(len(block.offsets) - 1):
                mine = block[place].astype(np.uint64)
                ((mine[:, None] * factors + shifts) >> np.uint64(32)).min(axis=0, initial=np.uint64(2**32))

    def by_rensa() -> None:
        for block in blocks:
            signatures(block, rule)

    found = {}
    for name, run in (("rensa", by_rensa), ("numpy", by_numpy)):
        seconds = np.inf
        for _ in range(3):
            started = time.process_time()
            run()
            seconds = min(seconds, time.process_time() - started)
        found[name] = round(len(texts) / seconds)
    return found


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The table's rows."""
    figures = found["labelled"]["figures"]
    ours, reference = figures["ours"], figures.get(REFERENCE, {})
    rows = []
    for what, goal in (("recall", 0.97), ("precision", 0.99)):
        others = {name: one.get(what) for name, one in figures.items() if name != "ours" and "error" not in one}
        rows.append(_row(f"near copies, {what}", ours[what], others, ours[what], f">= {goal}", ours[what] >= goal))
    speed, theirs = ours["documents_per_cpu_s"], reference.get("documents_per_cpu_s")
    ratio = speed / theirs if theirs else None
    others = {name: one.get("documents_per_cpu_s") for name, one in figures.items() if name != "ours"}
    met = None if ratio is None else ratio >= 3
    rows.append(_row("near copies, docs/cpu-s", speed, others, ratio, f">= 3 x {REFERENCE}", met))
    for name, one in found["made"].items():
        told = {"recall": one["recall"], "precision": one["precision"]}
        rows.append(_row(f"near copies made of {name}", told, None, None, None, None))
    leaks = found["leaks"]
    rows.append(
        _row("benchmark leaks, recall of what is to be found", leaks["recall_expected"], None, None, None, None)
    )
    rows.append(_row("benchmark leaks, precision on clean text", leaks["precision"], None, None, None, None))
    return rows


def _row(what: str, ours: Any, peer: Any, figure: Any, goal: Any, met: bool | None) -> dict[str, Any]:
    return {"what": what, "ours": ours, "peer": peer, "ratio_or_figure": figure, "goal": goal, "met": met}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, fewer made pairs and leaks")
    parser.add_argument("--open", type=Path, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    folder = open_set(options.open)
    if folder is None:
        sys.exit("no labelled sets: give --open DIR")
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "labelled": on_labelled_set(folder / "dedup", 1 if options.quick else 3),
        "made": on_made_pairs(folder, 40 if options.quick else 250),
        "signatures_documents_per_cpu_s": signature_engines(folder / "dedup"),
        "leaks": planted_leaks.measure(folder, 200 if options.quick else 1500),
    }
    found["versions"] = found["labelled"].pop("versions")
    found["rows"] = rows_of(found)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
