"""Main text beyond news: python -m benchmarks.quality.beyond_news [--quick] [--out F.json] [--seed N] [--labels F.json]

126 made pages (forums, documentation, mathematics, tables, shops, questions, recipes, encyclopaedia, landing pages; English
and Chinese; `benchmarks.quality.pages`), seen by `expedition data extract` in both settings and by the peers at five settings,
in an environment of their own. F1 over 4-word shingles as for news; code, cells and formulas: the share that is kept,
counted as `main_text` says. 63 pages of the same kinds in surroundings that nothing was tuned on are counted apart. Where the
real pages of the open set are there (web/html), short segments labelled by hand (tests/data/labels/real_pages.json) that must
and must not be in the text are looked for as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.data import peers
from benchmarks.quality.main_text import agreement, cells_kept, code_kept, formulas_kept, indentation_kept, kept_shares
from benchmarks.quality.open_set import open_set
from benchmarks.quality.pages import Page, made_pages

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "tests" / "data" / "labels" / "real_pages.json"
SETTINGS = ("fast", "precise")
PEER_SETTINGS = (
    "trafilatura-fast",
    "trafilatura-precision",
    "trafilatura-recall",
    "resiliparse",
    "resiliparse-structure",
)
_SPACE = re.compile(r"\s+")
Texts = Mapping[str, str]


def ours(folder: Path, setting: str, out: Path) -> dict[str, str]:
    """Texts of all pages of a folder by file name, by the command that users run. Raises RuntimeError with its last words."""
    verb = ["data", "extract", "--html", str(folder), "--out", str(out), "--setting", setting, "--json"]
    command = [str(Path(sys.executable).with_name("expedition")), *verb]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"data extract: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return read_texts(out)


def read_texts(path: Path) -> dict[str, str]:
    """{file: text} of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return {row["file"]: row["text"] or "" for row in map(json.loads, lines)}


def figures(pages: Sequence[Page], texts: Texts) -> dict[str, Any]:
    """F1 over all pages, by kind, language and layout, and the shares kept."""

    def f1(chosen: Sequence[Page]) -> float:
        return round(agreement((texts.get(page.file, ""), page.text) for page in chosen).f1, 3)

    def by(name: str) -> dict[str, float]:
        names = dict.fromkeys(getattr(page, name) for page in pages)
        return {value: f1([page for page in pages if getattr(page, name) == value]) for value in names}

    def kept(count: Any, field: str) -> tuple[int, int]:
        found = [count(texts.get(page.file, ""), getattr(page, field)) for page in pages]
        return sum(part for part, _ in found), sum(whole for _, whole in found)

    whole = agreement((texts.get(page.file, ""), page.text) for page in pages)
    shares = {
        "code": kept(code_kept, "code_lines"),
        "code_indentation": kept(indentation_kept, "code_lines"),
        "cells": kept(cells_kept, "cells"),
        "formulas": kept(formulas_kept, "formulas"),
    }
    return {
        **{name: round(value, 4) for name, value in dataclasses.asdict(whole).items()},
        "kept": kept_shares(shares),
        "by_kind": by("kind"),
        "by_language": by("language"),
        "by_layout": by("layout"),
    }


def label_figures(labels: Sequence[Mapping[str, Any]], texts: Texts) -> dict[str, Any]:
    """Shares of the segments that must be in the text and are, and of those that must not and are not."""
    there = wanted = absent = unwanted = 0
    wrong: list[dict[str, str]] = []
    for label in labels:
        text = _flat(texts.get(label["file"], ""))
        for part in label["must"]:
            found = _flat(part) in text
            there, wanted = there + found, wanted + 1
            wrong += [] if found else [{"file": label["file"], "missing": part}]
        for part in label["mustnot"]:
            found = _flat(part) in text
            absent, unwanted = absent + (not found), unwanted + 1
            wrong += [{"file": label["file"], "surplus": part}] if found else []
    recall, rejection = there / max(1, wanted), absent / max(1, unwanted)
    balanced = 2 * recall * rejection / max(1e-9, recall + rejection)
    return {
        "pages": len(labels),
        "kept": round(recall, 3),
        "left_out": round(rejection, 3),
        "balanced": round(balanced, 3),
        "wrong": wrong,
    }


def _flat(text: str) -> str:
    return _SPACE.sub(" ", text).strip().lower()


def extracted(folder: Path, out: Path, failed: dict[str, str]) -> dict[str, dict[str, str]]:
    """Side → texts, over the pages of a folder. Who did not run is told in `failed`."""
    out.mkdir()
    sides: dict[str, dict[str, str]] = {}
    for setting in SETTINGS:
        try:
            sides[f"ours, {setting}"] = ours(folder, setting, out / f"ours-{setting}.jsonl")
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            failed[f"ours, {setting}"] = str(error)[-300:]
    try:
        peers.run("extraction", "extract", str(folder), str(out), *PEER_SETTINGS)
        sides |= {name: read_texts(out / f"{name}.jsonl") for name in PEER_SETTINGS}
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        failed["peers"] = str(error)[-300:]
    return sides


def rows(made: Mapping[str, Any], other: Mapping[str, Any], real: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table from figures by side."""
    table: list[dict[str, Any]] = []

    def add(what: str, side: Mapping[str, Any], key: Sequence[str], setting: str, least: float | None) -> None:
        mine = _at(side.get(f"ours, {setting}"), key)
        others = {name: _at(found, key) for name, found in side.items() if not name.startswith("ours")}
        told = ", ".join(f"{name} {value:.3f}" for name, value in others.items() if value is not None)
        met = None if mine is None or least is None else mine >= least
        goal = None if least is None else f"≥ {least}"
        ours_told = None if mine is None else f"{mine:.3f}"
        row = {"what": f"{what}, `{setting}`", "ours": ours_told, "peer": told or None, "ratio_or_figure": mine}
        table.append({**row, "goal": goal, "met": met})

    for setting in SETTINGS:
        add("main text beyond news, made pages, F1", made, ("f1",), setting, 0.8)
    for name, what in (("code", "lines of code"), ("cells", "table cells"), ("formulas", "formulas")):
        for setting in SETTINGS:
            add(f"— {what} kept", made, ("kept", name), setting, 0.8)
    add("— indentation of code kept", made, ("kept", "code_indentation"), "fast", None)
    for setting in SETTINGS:
        add("— Chinese pages, F1", made, ("by_language", "zh"), setting, 0.8)
    for setting in SETTINGS:
        add("— pages in other layouts and words, F1", other, ("f1",), setting, 0.8)
    for setting in SETTINGS:
        add(
            "real pages beyond news, labelled segments kept and left out (harmonic mean)",
            real,
            ("balanced",),
            setting,
            None,
        )
    return table


def _at(found: Any, key: Sequence[str]) -> float | None:
    for name in key:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, float | int) else None


def main() -> None:
    """Make, extract, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the pages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--open", type=Path, help="the labelled sets")
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pages = list(made_pages(options.seed, *((3, 2) if options.quick else ())))
    others = list(made_pages(options.seed + 100, *((2, 1) if options.quick else (4, 3)), other=True))
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "html").mkdir()
        for page in pages:
            (root / "html" / page.file).write_text(page.html, encoding="utf-8")
        made = {side: figures(pages, texts) for side, texts in extracted(root / "html", root / "made", failed).items()}
        (root / "other").mkdir()
        for page in others:
            (root / "other" / page.file).write_text(page.html, encoding="utf-8")
        sides = extracted(root / "other", root / "other-out", failed)
        other = {side: figures(others, texts) for side, texts in sides.items()}
        real: dict[str, Any] = {}
        folder = open_set(options.open)
        if folder is not None and (folder / "web" / "html").is_dir() and options.labels.is_file():
            labels = json.loads(options.labels.read_text(encoding="utf-8"))
            (root / "real").mkdir()
            for label in labels:
                (root / "real" / label["file"]).symlink_to(folder / "web" / "html" / label["file"])
            sides = extracted(root / "real", root / "real-out", failed)
            real = {side: label_figures(labels, texts) for side, texts in sides.items()}
    document = {
        "made_pages": {"seed": options.seed, "pages": len(pages), "sides": made},
        "other_pages": {"seed": options.seed + 100, "pages": len(others), "sides": other},
        "real_pages": real,
        "did_not_run": failed,
        "versions": {"expedition": version("expedition-programme"), "trafilatura": "2.3.1", "resiliparse": "2.0.1"},
        "rows": rows(made, other, real),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
