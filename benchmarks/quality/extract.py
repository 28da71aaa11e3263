"""Main text of news pages: python -m benchmarks.quality.extract [--quick] [--out F.json] [--open DIR]

The pages of web/gold.jsonl in memory, bytes to text, decoding included: ours in both settings in this process, the peers at
their best settings in an environment of their own, one after the other, three times (once with --quick); the best of each
counts, in pages a second of processor time. F1, precision and recall over 4-word shingles as the article-extraction
benchmark counts them. Where web/gold_segments.jsonl is there, also how many of its segments that must be in the text are,
and how many that must not be are not. `tuned`: the half of the sites by which the rules were set; `apart`: the other half.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.data import peers
from benchmarks.quality.main_text import agreement
from benchmarks.quality.open_set import open_set

OURS = ("fast", "precise")
PEERS = ("trafilatura-fast", "trafilatura-precision", "resiliparse")
ROUNDS = 3


def main() -> None:
    """Read, extract, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--open", type=Path, help="the labelled sets")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = open_set(options.open)
    if folder is None:
        raise SystemExit("no labelled sets: give --open DIR")
    document = measure(folder / "web", 1 if options.quick else ROUNDS)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(web: Path, rounds: int) -> dict[str, Any]:
    """The document: a side's agreement and speed, and the rows of the table."""
    gold = json_lines(web / "gold.jsonl")
    segments = json_lines(web / "gold_segments.jsonl") if (web / "gold_segments.jsonl").is_file() else []
    pages = {base(row): page_bytes(web / row["file"]) for row in (*gold, *segments)}
    news = {base(row) for row in gold}
    seconds: dict[str, float] = {}
    texts: dict[str, dict[str, str]] = {}
    failed: dict[str, str] = {}
    versions: dict[str, str] = {"expedition": version("expedition-programme"), "numba": version("numba")}
    with tempfile.TemporaryDirectory() as name:
        inside = Path(name)
        for part in ("news", "others", "out"):
            (inside / part).mkdir()
        for file, data in pages.items():
            (inside / ("news" if file in news else "others") / file.removesuffix(".gz")).write_bytes(data)
        for _ in range(rounds):
            run_ours(pages, news, texts, seconds)
            run_peers(inside, texts, seconds, versions, failed)
    sides = {side: figures(gold, segments, found, seconds[side], len(news)) for side, found in texts.items()}
    return {
        "pages": len(news),
        "rounds": rounds,
        "sides": sides,
        "did_not_run": failed,
        "versions": versions,
        "rows": rows(sides),
    }


def run_ours(
    pages: Mapping[str, bytes], news: set[str], texts: dict[str, dict[str, str]], seconds: dict[str, float]
) -> None:
    """Both settings over all pages; the news pages are timed."""
    from expedition.data.decode.html import read_page
    from expedition.data.decode.rules import Limits
    from expedition.data.extract import prepare

    prepare()
    limits = Limits()
    for setting in OURS:
        started = time.process_time()
        found = {file: read_page(data, limits, setting=setting).text for file, data in pages.items() if file in news}
        spent = time.process_time() - started
        others = {
            file: read_page(data, limits, setting=setting).text for file, data in pages.items() if file not in news
        }
        texts[f"ours-{setting}"] = found | others
        seconds[f"ours-{setting}"] = min(spent, seconds.get(f"ours-{setting}", spent))


def run_peers(
    inside: Path,
    texts: dict[str, dict[str, str]],
    seconds: dict[str, float],
    versions: dict[str, str],
    failed: dict[str, str],
) -> None:
    """The peers over both folders; the news pages are timed."""
    try:
        for part in ("news", "others"):
            told = peers.run("extraction", "extract", str(inside / part), str(inside / "out"), *PEERS)
            versions |= told["versions"]
            for side in PEERS:
                found = json_lines(inside / "out" / f"{side}.jsonl")
                texts.setdefault(side, {}).update({f"{row['file']}.gz": row["text"] or "" for row in found})
                if part == "news":
                    spent = float(told["cpu_s"][side])
                    seconds[side] = min(spent, seconds.get(side, spent))
    except (OSError, RuntimeError, ValueError) as error:
        failed["peers"] = str(error)[-300:]


def figures(
    gold: list[dict[str, Any]], segments: list[dict[str, Any]], texts: Mapping[str, str], cpu_s: float, pages: int
) -> dict[str, Any]:
    """Agreement over all pages and over the two halves of the sites, segments, pages a second."""

    def f1(chosen: list[dict[str, Any]]) -> dict[str, float]:
        found = agreement((texts.get(base(row), ""), row["text"]) for row in chosen)
        return {name: round(getattr(found, name), 4) for name in ("f1", "precision", "recall")}

    halves = {name: [row for row in gold if half(row) == name] for name in ("tuned", "apart")}
    there = sum(flat(part) in flat(texts.get(base(row), "")) for row in segments for part in row["with"])
    surplus = sum(flat(part) in flat(texts.get(base(row), "")) for row in segments for part in row["without"])
    return {
        **f1(gold),
        **{name: f1(chosen) for name, chosen in halves.items()},
        "segments": {
            "kept": [there, sum(len(row["with"]) for row in segments)],
            "surplus": [surplus, sum(len(row["without"]) for row in segments)],
        },
        "pages_per_cpu_s": round(pages / cpu_s, 1),
    }


def half(row: Mapping[str, Any]) -> str:
    """Which half a page's site belongs to."""
    site = urlsplit(str(row.get("url", row["file"]))).netloc
    return ("tuned", "apart")[int(hashlib.md5(site.encode(), usedforsecurity=False).hexdigest(), 16) % 2]


def rows(sides: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table; a peer that did not run is unknown."""
    table: list[dict[str, Any]] = []
    for setting, peer, margin, least in (
        ("fast", "trafilatura-fast", 0.012, 8.0),
        ("precise", "trafilatura-precision", 0.0, 1.0),
    ):
        ours, other = sides[f"ours-{setting}"], sides.get(peer)
        told = None if other is None else f"{peer} {other['f1']:.3f}"
        near = None if other is None else (ours["f1"] >= other["f1"] - margin if margin else ours["f1"] > other["f1"])
        goal = f"≥ {peer} − {margin}" if margin else f"> {peer}"
        row = {"what": f"main text, `{setting}`, F1", "ours": f"{ours['f1']:.3f}", "peer": told}
        table.append({**row, "ratio_or_figure": ours["f1"], "goal": goal, "met": near})
        speed = None if other is None else round(ours["pages_per_cpu_s"] / other["pages_per_cpu_s"], 2)
        told = None if other is None else f"{peer} {other['pages_per_cpu_s']:.0f}"
        row = {"what": f"— pages per cpu-s, `{setting}`", "ours": f"{ours['pages_per_cpu_s']:.0f}", "peer": told}
        met = None if speed is None else speed >= least
        table.append({**row, "ratio_or_figure": speed, "goal": f"≥ {least:.0f} ×", "met": met})
    return table


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def base(row: Mapping[str, Any]) -> str:
    """Base name of a row's page."""
    return str(row["file"]).rsplit("/", 1)[-1]


def page_bytes(path: Path) -> bytes:
    """A page, unpacked."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def flat(text: str) -> str:
    """Text with its spaces made one."""
    return " ".join(text.split())


if __name__ == "__main__":
    main()
