"""Hate and abuse: python -m benchmarks.quality.toxicity [--quick] [--out F.json]

Area under the ROC curve on HateCheck (English) and Multilingual HateCheck (Chinese, German) as a whole and by half of the
templates, alarms at 0.5 by functionality, against alt-profanity-check on the same files; the same with a classifier that
`train-toxicity` makes from one half of the English templates, judged on the other half; alarms on sound texts (articles
of the declaration of human rights, news and other pages, paragraphs of novels, poems); texts a second of processor
time on lines of about 100 characters cut from those pages, best of three, interleaved.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import peers
from benchmarks.quality.open_set import open_set
from expedition.data.stages.toxicity import ToxicityPolicy, toxicity_score
from expedition.data.stages.toxicity.model import area_under_curve, train

SETS = {"en": ("hatecheck_en", 0.75), "zh": ("mhc_zh", 0.65), "de": ("mhc_de", 0.65)}
GROUPS = (
    "gay people|gay person|gays|gay|women|woman|female|black people|black person|blacks|black|muslims|muslim|islam|"
    "disabled people|disabled person|disabled|immigrants|immigrant|trans people|trans person|trans|transgender"
)
MIN_RATE = 5000.0
"""Lines of about 100 characters a second and core."""


def half(text: str) -> int:
    """0 or 1 by the sentence without its target, so that a template is in one half."""
    template = re.sub(r"\W+", " ", re.sub(GROUPS, "", text.lower())).strip()
    return hashlib.sha256(template.encode()).digest()[0] % 2


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def area(scores: Any, rows: list[dict[str, Any]]) -> float | None:
    """Area under the curve of scores against labels."""
    found = area_under_curve(np.asarray(scores), np.asarray([row["label"] == 1 for row in rows]))
    return None if found is None else round(found, 3)


def alarms(scores: list[float], rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By functionality: texts, share above one half, mean score."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for score, row in zip(scores, rows, strict=True):
        by_kind[row["functionality"]].append(score)
    return {
        kind: {
            "texts": len(values),
            "above_half": round(float(np.mean(np.asarray(values) > 0.5)), 3),
            "mean": round(float(np.mean(values)), 3),
        }
        for kind, values in sorted(by_kind.items())
    }


def on_set(rows: list[dict[str, Any]], peer_scores: list[float]) -> dict[str, Any]:
    """Figures of one labelled set, ours and the peer's."""
    ours = [toxicity_score(row["text"]).value for row in rows]
    halves = np.asarray([half(row["text"]) for row in rows])
    return {
        "texts": len(rows),
        "auc": area(ours, rows),
        "auc_by_half": [
            area(np.asarray(ours)[halves == side], [row for row, at in zip(rows, halves, strict=True) if at == side])
            for side in (0, 1)
        ],
        "functionalities": alarms(ours, rows),
        "peer_auc": area(peer_scores, rows),
        "peer_functionalities": alarms(peer_scores, rows),
    }


def trained_on_half(rows: list[dict[str, Any]]) -> float | None:
    """A classifier of the user's: trained on one half of the templates, judged on the other."""
    inside = [row for row in rows if half(row["text"]) == 0]
    outside = [row for row in rows if half(row["text"]) == 1]
    trained = train([row["text"] for row in inside], [float(row["label"]) for row in inside], characters=True)
    return area([toxicity_score(row["text"], model=trained.model).value for row in outside], outside)


def sound_texts(root: Path) -> dict[str, list[str]]:
    """Texts without hate by kind. A novel has its insults: its figure is a bound from above."""
    rights: list[str] = []
    with (root / "languages" / "udhr_articles.tsv").open(encoding="utf-8") as file:
        for line in file:
            code, _, _, _, text = line.rstrip("\n").split("\t")
            if code in ("eng", "deu", "cmn", "yue"):
                rights.append(text)
    texts = {"rights": rights, "pages": [row["text"] for row in read_lines(root / "web" / "gold.jsonl")]}
    for path in sorted((root / "books").glob("*.txt")):
        raw = path.read_bytes()
        book = raw.decode("utf-8") if _is_utf8(raw) else raw.decode("gb18030", "replace")
        texts[path.stem] = [part for part in re.split(r"\n\s*\n", book) if len(part) > 80]
    return texts


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def dropped(texts: list[str]) -> dict[str, Any]:
    """What the stage would do at its defaults."""
    policy = ToxicityPolicy()
    scores = [toxicity_score(text) for text in texts]
    over = [score for score in scores if score.value > policy.threshold]
    return {
        "texts": len(texts),
        "above_half": round(len(over) / max(len(texts), 1), 4),
        "dropped": round(sum(score.toxic_share >= policy.min_share for score in over) / max(len(texts), 1), 4),
    }


def lines_of(texts: list[str], count: int) -> list[str]:
    """Lines of 100 characters."""
    joined = " ".join(" ".join(texts).split())
    return [joined[start : start + 100] for start in range(0, min(len(joined), 100 * count), 100)]


def rate(lines: list[str], score: Callable[[str], Any]) -> float:
    """Lines a second of processor time."""
    started = time.process_time()
    for line in lines:
        score(line)
    return len(lines) / max(time.process_time() - started, 1e-9)


def measure(root: Path, quick: bool) -> dict[str, Any]:
    """All figures."""
    every = 4 if quick else 1
    rows = {name: read_lines(root / "toxicity" / f"{file}.jsonl")[::every] for name, (file, _) in SETS.items()}
    sound = sound_texts(root)
    lines = {
        "en": lines_of(sound["pages"], 4000 // every),
        "zh": lines_of([text for text in sound["rights"] if "\u4e00" <= text[:1] <= "\u9fff"], 2000 // every),
    }
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "texts.jsonl"
        told = [*(row["text"] for part in rows.values() for row in part), *lines["en"]]
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in told))
        whole = peers.run("profanity", "score", str(given), "1")
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines["en"]))
        rates: dict[str, list[float]] = {"en": [], "zh": [], "peer": []}
        for _ in range(3):
            for name, part in lines.items():
                rates[name].append(rate(part, toxicity_score))
            rates["peer"].append(len(lines["en"]) / peers.run("profanity", "score", str(given), "1")["process_s"])
    at, sets = 0, {}
    for name, part in rows.items():
        sets[name] = on_set(part, whole["scores"][at : at + len(part)])
        at += len(part)
    return {
        "sets": sets,
        "trained_on_half_auc": trained_on_half(rows["en"]),
        "sound": {name: dropped(texts[:: every if name != "rights" else 1]) for name, texts in sound.items()},
        "lines_per_s": {name: round(max(values)) for name, values in rates.items()},
        "versions": {"alt-profanity-check": whole["version"]},
        "note": "The lexicons were written with sight of the English set; patterns and rules were tuned on half of the "
        "templates of each set (another cut than auc_by_half). No text of the sets trains the packaged model.",
    }


def table_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for the table of all subjects."""

    def row(
        what: str, ours: Any, peer: Any, figure: float | None, goal: str | None, met: bool | None
    ) -> dict[str, Any]:
        return {"what": what, "ours": ours, "peer": peer, "ratio_or_figure": figure, "goal": goal, "met": met}

    rows = []
    for name, (file, least) in SETS.items():
        part = found["sets"][name]
        met = part["auc"] is not None and part["auc"] >= least
        rows.append(row(f"toxicity AUC {file}", part["auc"], part["peer_auc"], part["auc"], f">= {least}", met))
    for name, part in found["sets"].items():
        told = {kind[:-3]: item["above_half"] for kind, item in part["functionalities"].items() if kind.endswith("_nh")}
        rows.append(row(f"toxicity {name}: false alarms by functionality", told, None, None, None, None))
    half_auc = found["trained_on_half_auc"]
    rows.append(
        row(
            "toxicity en: classifier trained on half of the templates, AUC on the other",
            half_auc,
            None,
            half_auc,
            None,
            None,
        )
    )
    told = {name: part["dropped"] for name, part in found["sound"].items()}
    met = found["sound"]["rights"]["dropped"] == 0 and found["sound"]["pages"]["dropped"] <= 0.01
    rows.append(row("toxicity: sound texts dropped, share", told, None, None, "rights 0, pages <= .01", met))
    rates = found["lines_per_s"]
    ratio = rates["en"] / rates["peer"]
    rows.append(
        row("toxicity lines/s en", rates["en"], rates["peer"], ratio, f">= {MIN_RATE:,.0f}", rates["en"] >= MIN_RATE)
    )
    rows.append(row("toxicity lines/s zh", rates["zh"], None, None, f">= {MIN_RATE:,.0f}", rates["zh"] >= MIN_RATE))
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the texts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    root = open_set()
    if root is None:
        print(json.dumps({"rows": [], "error": "the labelled sets are absent"}))
        return 0
    found = measure(root, options.quick)
    document = {**found, "rows": table_rows(found)}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if options.out is not None:
        options.out.write_text(text + "\n")
    sys.stdout.write(text + "\n")
    return 0 if all(row["met"] is not False for row in document["rows"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
