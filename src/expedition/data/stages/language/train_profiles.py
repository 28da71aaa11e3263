"""Makes `profiles.npz` from labelled lines.

Run `python -m expedition.data.stages.language.train_profiles LINES.tsv OUT.npz`.

LINES.tsv has a header and the columns iso639_3, key, class, article, text (the Universal Declaration's articles, one
a line; public domain). One profile a key; keys of one language share a tag.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from expedition.data.stages.language.profiles import ngrams
from expedition.data.stages.language.scripts import script_shares
from expedition.data.stages.language.tags import tag_of

_STEP: Final = 1 / 16
_SMOOTHING: Final = 0.35
_WRITTEN_IN_HAN: Final = frozenset({"Han", "Kana"})


def train(lines: Iterable[tuple[str, str, str]], per_profile: int) -> dict[str, np.ndarray]:
    """Arrays of a profile file from (iso639_3, key, text); a profile adds its `per_profile` most frequent n-grams."""
    counts: dict[str, Counter[str]] = {}
    codes: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for code, key, text in lines:
        counts.setdefault(key, Counter()).update(ngrams(text))
        texts.setdefault(key, []).append(text)
        codes[key] = code
    scripts = {key: next(iter(script_shares(" ".join(found))), "") for key, found in texts.items()}
    keys = sorted(key for key in counts if scripts[key] and scripts[key] not in _WRITTEN_IN_HAN)
    chosen: set[str] = set()
    for key in keys:
        chosen.update(gram for gram, times in counts[key].most_common(per_profile) if times > 1 and "\n" not in gram)
    grams = sorted(chosen)
    cost = np.stack([_costs(counts[key], grams) for key in keys])
    header = {"tags": [tag_of(codes[key]) for key in keys], "scripts": [scripts[key] for key in keys]}
    return {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "grams": np.frombuffer("\n".join(grams).encode(), np.uint8),
        "cost": cost,
    }


def _costs(counts: Counter[str], grams: list[str]) -> np.ndarray:
    total = sum(counts.values())
    share = np.array([counts.get(gram, 0) for gram in grams], np.float64) + _SMOOTHING
    nats = np.log(total + _SMOOTHING * len(grams)) - np.log(share)
    cost: np.ndarray = np.clip(np.round(nats / _STEP), 0, 255).astype(np.uint8)
    return cost


def main(source: str, target: str, per_profile: int = 500) -> None:
    """Train from a file and write the model."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    arrays = train(((row[0], row[1], row[4]) for row in rows), per_profile)
    with Path(target).open("wb") as out:
        np.savez_compressed(out, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
