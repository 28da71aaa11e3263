"""Fits the weights of `combine.py` by maximum likelihood: python -m benchmarks.quality.language_weights --lines lines.tsv

Lines are those of `language_lines.py`. Each is judged by profiles that were not trained on its set: half of the articles by
the other half and the packages, each package by the articles and the other packages; of the packages also the first words of
each line, since short lines are what the prior of widespread languages is for. Prints the weights and the accuracy by set.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from expedition.data.stages.language import recognisers
from expedition.data.stages.language.combine import WEIGHTS, Weights
from expedition.data.stages.language.letters import OTHER, SCRIPTS, class_counts
from expedition.data.stages.language.profiles import Profiles, load_profiles
from expedition.data.stages.language.tags import macrolanguage
from expedition.data.stages.language.training import Line, read_lines, train

PACKAGES = ("django", "osm")
MOST = 3000
"""Lines of a set."""
UNKNOWN = -1.0
"""Marks a share of a recogniser that does not know the language."""
FREE = ("own", "own_power", "own_unknown", "lid176", "lid176_unknown", "cld2", "cld2_unknown", "widespread")


class Candidates:
    """Of all lines together, one row a candidate (C), and the line it belongs to."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float, float, float, float, float]] = []
        self.first: list[int] = []
        self.sets: list[str] = []

    def add(self, line: Line, name: str, profiles: Profiles, script: str, heard: tuple, scored: tuple) -> None:  # type: ignore[type-arg]
        """The candidates of a line: nats of the profiles, n-grams, shares of the two, widespread or not, right or not."""
        ratio, known, tags = scored
        lid, cld = dict(heard[0]), dict(heard[1])
        best = {tags[column]: float(ratio[column]) for column in np.argsort(-ratio)[:8].tolist()}
        top, low = max(best.values()), min(best.values())
        rows = []
        for tag in sorted({*best, *lid, *cld}):
            scripts = profiles.scripts_of(tag)
            if scripts and script not in scripts:
                continue
            rows.append(
                (
                    best.get(tag, low) - top if scripts else 1.0,
                    known,
                    lid.get(tag, 0.0) if tag in recognisers.known_to_lid176() else UNKNOWN,
                    (cld.get(tag, 0.0) if tag in recognisers.known_to_cld2() else UNKNOWN) if cld else np.nan,
                    float(tag in recognisers.widespread()),
                    float(macrolanguage(tag) == macrolanguage(line.tag)),
                    float(macrolanguage(line.tag) in {macrolanguage(name) for name in recognisers.widespread()}),
                )
            )
        if any(row[5] for row in rows):
            self.first.append(len(self.rows))
            self.rows += rows
            self.sets.append(name)


def gather(found: Candidates, name: str, seen: Sequence[Line], asked: Sequence[Line]) -> None:
    """Add the candidates of the asked lines by profiles of the seen ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiles.npz"
        path.write_bytes(train(seen))
        profiles = load_profiles(path)
    counts = class_counts([line.text for line in asked])[:, :OTHER].argmax(axis=1)
    for number in sorted(set(counts.tolist())):
        script = SCRIPTS[number]
        lines = [line for line, main in zip(asked, counts.tolist(), strict=True) if main == number]
        if len(profiles.tags_in(script)) < 2:
            continue
        texts = [line.text for line in lines]
        scores = profiles.score(texts, script)
        heard = zip(recognisers.lid176(texts), recognisers.cld2(texts), strict=True)
        for place, (line, said) in enumerate(zip(lines, heard, strict=True)):
            scored = (scores.ratio_BL[place], float(scores.known_B[place]), scores.tags)
            found.add(line, name, profiles, script, said, scored)


def utility(rows: np.ndarray, weights: Weights) -> np.ndarray:
    """The utility of each candidate, as `combine.py` has it."""
    own, known, lid, cld, wide = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4]
    nats = np.where(
        own > 0, weights.own_unknown, np.minimum(own, 0) * weights.own / np.maximum(known, 1) ** weights.own_power
    )
    nats = nats + wide * weights.widespread
    said = weights.lid176 * np.log(np.maximum(lid, 0) + weights.lid176_floor)
    nats = nats + np.where(lid < 0, weights.lid176_unknown, said)
    said = weights.cld2 * np.log(np.maximum(np.nan_to_num(cld), 0) + weights.cld2_floor)
    return nats + np.where(np.isnan(cld), 0.0, np.where(cld < 0, weights.cld2_unknown, said))


def likelihood(nats: np.ndarray, right: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Probability of the right language of each line."""
    sizes = np.diff([*first.tolist(), len(nats)])
    raised = np.exp(nats - np.repeat(np.maximum.reduceat(nats, first), sizes))
    return np.add.reduceat(raised * right, first) / np.add.reduceat(raised, first)


def fit(found: Candidates) -> Weights:
    """The weights that make the right languages most likely, each set weighing the same."""
    rows, first = np.array(found.rows), np.array(found.first)
    sets = np.array(found.sets)
    share = np.array([1 / (sets == name).sum() for name in found.sets]) / len(set(found.sets))
    start = [getattr(WEIGHTS, name) for name in FREE]

    def loss(values: np.ndarray) -> float:
        return float(-(share * np.log(likelihood(utility(rows, with_values(values)), rows[:, 5], first) + 1e-9)).sum())

    best = minimize(loss, start, method="Nelder-Mead", options={"maxfev": 900, "adaptive": True})
    return with_values(best.x)


def with_values(values: np.ndarray) -> Weights:
    """The weights with the free ones replaced."""
    named = dict(zip((field.name for field in fields(Weights)), astuple(WEIGHTS), strict=True))
    return Weights(**{**named, **dict(zip(FREE, map(float, values), strict=True))})


def accuracy(found: Candidates, weights: Weights) -> dict[str, float]:
    """Share of lines of each set whose most likely language is right."""
    rows, first = np.array(found.rows), np.array(found.first)
    nats = utility(rows, weights)
    hits: dict[str, list[bool]] = defaultdict(list)
    for name, start, end in zip(found.sets, first.tolist(), [*first[1:].tolist(), len(rows)], strict=True):
        hits[name].append(bool(rows[start + int(nats[start:end].argmax()), 5]))
    return {name: round(sum(hit) / len(hit), 4) for name, hit in hits.items()}


def candidates(lines: Sequence[Line], seed: int = 3) -> Candidates:
    """Candidates of all sets."""
    rng = random.Random(seed)
    found = Candidates()
    articles = [line for line in lines if line.group.startswith("article")]
    rest = [line for line in lines if not line.group.startswith("article")]
    for fold in (0, 1):
        half = [line for line in articles if (int(line.group.split()[1]) // 2) % 2 == fold]
        other = [line for line in articles if (int(line.group.split()[1]) // 2) % 2 != fold]
        gather(found, "articles", [*other, *rest], rng.sample(half, min(MOST, len(half))))
    for package in PACKAGES:
        mine = [line for line in rest if line.group == package]
        asked = rng.sample(mine, min(MOST, len(mine)))
        seen = [*articles, *(line for line in rest if line.group != package)]
        gather(found, package, seen, asked)
        short = [Line(line.tag, " ".join(line.text.split()[: rng.randint(2, 6)]), "") for line in asked]
        gather(found, f"{package}, first words", seen, [line for line in short if sum(map(str.isalpha, line.text)) > 5])
    return found


def main() -> None:
    """Print the weights and what they reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=Path, required=True)
    found = candidates(read_lines(parser.parse_args().lines))
    print("now", accuracy(found, WEIGHTS))
    weights = fit(found)
    print(weights)
    print("fitted", accuracy(found, weights))


if __name__ == "__main__":
    main()
