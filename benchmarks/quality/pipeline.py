"""The whole text pipeline over one web archive: python -m benchmarks.quality.pipeline [--quick] [--out F.json] [--open DIR]

Ours: `data build` from WARC to shards: decode, main text (fast), repair, language, quality rules, personal data, exact and
near copies, template lines of sites, tokens, tars, tables, manifest; a second time with toxicity, which datatrove has no piece
for. datatrove: FineWeb's recipe with its own pieces (`benchmarks/data/peers/peer_datatrove_pipeline.py`), which ends in JSON lines
without template lines and tokens. Both in one process on one core by processor time, over a small archive of 14 pages
and over the whole one, the least of three turns of each; pages per cpu-s are those of the difference, since what a run costs
whatever its size (loading a vocabulary, starting workers) says nothing of a corpus. That cost is in the document too.

The archive holds the real pages of the open set where they are, and made ones (`benchmarks.quality.pages`) of several
seeds. F1 of the main text on both sides: on the open set's gold pages, else on the made ones.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import peers
from benchmarks.data.engine_warc import response
from benchmarks.quality.beyond_news import ours as extracted_by_us
from benchmarks.quality.beyond_news import read_texts
from benchmarks.quality.main_text import agreement
from benchmarks.quality.open_set import open_set
from benchmarks.quality.pages import made_pages

STAGES = ("repair", "language", "quality", "pii")
WITH_TOXICITY = ("repair", "language", "quality", "toxicity", "pii")
SETS = ("data.tokenizer.compact_entries=null", "workers=1")
SMALL = 14
"""Pages of the small archive."""
TURNS = 3
"""Builds of each archive in a process: what is subtracted is half of what is measured, so that its noise counts twice."""


def write_archive(folder: Path, real: Path | None, seeds: int, most: int | None = None) -> dict[str, int]:
    """A WARC of all pages, or of the last `most`, a gzip member a record, as Common Crawl writes them."""
    bodies: list[tuple[str, bytes]] = []
    for path in sorted(real.iterdir()) if real else ():
        bodies.append((path.name, gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()))
    found = len(bodies)
    bodies += [(f"{seed}-{page.file}", page.html.encode()) for seed in range(1, seeds + 1) for page in made_pages(seed)]
    bodies = bodies[-most:] if most else bodies
    folder.mkdir(parents=True)
    size = 0
    with (folder / "pages.warc.gz").open("wb") as out:
        for number, (name, body) in enumerate(bodies):
            members = response(f"http://host{number % 97}.example.org/{name}", body)
            size += sum(map(len, members))
            out.writelines(gzip.compress(member, 6) for member in members)
    return {"pages": len(bodies), "real": found, "made": len(bodies) - found, "unpacked_bytes": size}


def build_all(whole: Path, small: Path, place: Path) -> dict[str, Any]:
    """Build the small archive, the whole one and the whole one with toxicity in turns, in this process, the least of each."""
    from expedition.data import build
    from expedition.data.builder import Running
    from expedition.data.compliance import Statement, append
    from expedition.plan import load_programme
    from expedition.workspace import Workspace

    def built(source: Path, stages: tuple[str, ...], name: str) -> tuple[float, dict[str, Any]]:
        programme = load_programme("rehearsal", [*SETS, f"data.stages.web=[{', '.join(stages)}]"])
        ws = Workspace.open(place / name, create=True)
        append(ws, Statement("approve", source.name, "bench", "pages for a benchmark"))
        started = _cpu_s()
        result = build(ws, programme, source.parent, "v0.1", running=Running(engine="serial"))
        return _cpu_s() - started, result

    built(small, WITH_TOXICITY, "warm")
    fixed, whole_s, toxic = [], [], []
    for turn in range(TURNS):
        fixed.append(built(small, STAGES, f"small-{turn}")[0])
        seconds, result = built(whole, STAGES, f"whole-{turn}")
        whole_s.append(seconds)
        toxic.append(built(whole, WITH_TOXICITY, f"whole-toxicity-{turn}")[0])
    return {
        "fixed_cpu_s": min(fixed),
        "cpu_s": min(whole_s),
        "cpu_s_with_toxicity": min(toxic),
        "documents": result["documents"] + result["heldout"]["documents"],
        "tokens": result["tokens"] + result["heldout"]["tokens"],
        "dropped": result["dropped"],
    }


def _cpu_s() -> float:
    return sum(os.times()[:4])


def in_process(source: Path, small: Path, place: Path, cpu: int) -> dict[str, Any]:
    """`build_all` in a fresh process on one core."""
    module = [sys.executable, "-m", "benchmarks.quality.pipeline", "--child", str(source), str(small), str(place)]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")}
    done = subprocess.run(
        ["taskset", "-c", str(cpu), *module], capture_output=True, text=True, check=False, env={**os.environ, **one}
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def extraction_f1(place: Path, real: Path | None) -> dict[str, Any]:
    """F1 of the main text of both sides on the same pages with gold."""
    folder, gold = place / "gold-pages", {}
    folder.mkdir()
    if real is not None:
        with (real.parent / "gold.jsonl").open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                name = row["file"].rsplit("/", 1)[-1]
                (folder / name).symlink_to(real / name)
                gold[name] = row["text"]
    else:
        for page in made_pages():
            (folder / page.file).write_text(page.html, encoding="utf-8")
            gold[page.file] = page.text
    mine = extracted_by_us(folder, "fast", place / "ours.jsonl")
    peers.run("extraction", "extract", str(folder), str(place), "trafilatura-precision")
    theirs = read_texts(place / "trafilatura-precision.jsonl")

    def f1(texts: dict[str, str]) -> float:
        return round(agreement((texts.get(name, ""), text) for name, text in gold.items()).f1, 4)

    return {"pages": "open set" if real else "made", "ours": f1(mine), "trafilatura 2.3.1 favor_precision": f1(theirs)}


def rows(pages: int, ours: dict[str, Any], theirs: dict[str, Any], f1: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table."""
    mine, other = (_rate(pages, side, "cpu_s") for side in (ours, theirs))
    toxic = _rate(pages, ours, "cpu_s_with_toxicity")
    ratio = None if mine is None or other is None else round(mine / other, 2)
    peer_f1 = f1.get("trafilatura 2.3.1 favor_precision")
    return [
        {
            "what": "whole text pipeline, WARC → shards with tokens, pages per cpu-s",
            "ours": mine,
            "peer": None if other is None else f"datatrove, FineWeb's recipe, to JSON lines {other}",
            "ratio_or_figure": ratio,
            "goal": "≥ 10",
            "met": None if ratio is None else ratio >= 10,
        },
        {
            "what": "— the same with toxicity",
            "ours": toxic,
            "peer": None if other is None else f"datatrove, without {other}",
            "ratio_or_figure": None if toxic is None or other is None else round(toxic / other, 2),
            "goal": None,
            "met": None,
        },
        {
            "what": f"— F1 of its main text on the same pages ({f1.get('pages', 'unknown')})",
            "ours": f1.get("ours"),
            "peer": None if peer_f1 is None else f"trafilatura favor_precision {peer_f1:.3f}",
            "ratio_or_figure": f1.get("ours"),
            "goal": "no lower",
            "met": None if peer_f1 is None or f1.get("ours") is None else f1["ours"] >= peer_f1,
        },
    ]


def _rate(pages: int, side: dict[str, Any], key: str) -> float | None:
    """Pages per processor second, what a run costs whatever its size left out."""
    if not side:
        return None
    return round((pages - SMALL) / max(1e-9, side[key] - side["fixed_cpu_s"]), 1)


def main() -> None:
    """Make the archive, run both sides in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of made pages, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--open", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(build_all(*map(Path, options.child))))
        return
    folder = open_set(options.open)
    real = folder / "web" / "html" if folder is not None and (folder / "web" / "html").is_dir() else None
    cpu, seen, failed = max(os.sched_getaffinity(0)), {"ours": [], "datatrove": []}, {}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source, small = root / "data" / "crawl", root / "small" / "crawl"
        held = write_archive(source, real, 1 if options.quick else 4)
        write_archive(small, None, 1, SMALL)
        for folder_ in (source.parent, small.parent):
            (folder_ / "sources.yaml").write_text("sources:\n  crawl: {kind: web, licence: CC0-1.0}\n")
        for number in range(1 if options.quick else options.rounds):
            sides = {
                "ours": lambda n=number: in_process(source, small, root / f"ours-{n}", cpu),  # type: ignore[misc]
                "datatrove": lambda: peers.run(
                    "datatrove_pipeline", "run", str(source), str(small), str(root / "theirs"), cpu=cpu, timeout_s=1200
                ),
            }
            for side, run in sides.items():
                try:
                    seen[side].append(run())
                except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                    failed[side] = str(error)[-400:]
        try:
            f1 = extraction_f1(root, real)
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            f1, failed["f1"] = {}, str(error)[-400:]
    medians = {
        side: {**runs[-1], **{key: statistics.median(run[key] for run in runs) for key in runs[-1] if "cpu_s" in key}}
        if runs
        else {}
        for side, runs in seen.items()
    }
    document = {
        "archive": held,
        "cores_used": 1,
        "stages": STAGES,
        "sides": medians,
        "extraction_f1": f1,
        "did_not_run": failed,
        "versions": medians["datatrove"].get("versions", {}),
        "rows": rows(held["pages"], medians["ours"], medians["datatrove"], f1),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
