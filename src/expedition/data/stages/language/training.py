"""Profiles from labelled lines, and what they reach on lines that they were not trained on."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from expedition.data.stages.language.letters import OTHER, SCRIPTS, class_counts
from expedition.data.stages.language.ngrams import grams_of
from expedition.data.stages.language.profiles import FORMAT, Profiles, load_profiles
from expedition.data.stages.language.tags import macrolanguage, tag_of
from expedition.errors import InputError
from expedition.workspace.atomic import storage_errors, write_atomic

_BITS: Final = 20
_STEP: Final = 1 / 16
"""Nats that one unit of a stored score stands for."""
_MIN_SHARE: Final = 0.02
"""Share of a language's lines from which a script of it becomes a profile of its own."""
_CHARACTERS: Final = frozenset({"Han", "Kana"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How profiles are made. Defaults: measured on halves of the Universal Declaration's articles and, for texts of other
    kinds, on the interface texts of a package that was left out of training."""

    max_n: int = 4
    """Longest n-gram, characters."""
    prior: float = 8.0
    """Weight of the mean of all languages of a script, in n-grams for each of them."""
    per_profile: int = 700
    """N-grams that a profile may add to the file."""
    min_count: int = 2
    """Times that an n-gram must occur in a profile's lines to be added for it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled line: BCP-47 tag, text, and the group (article, document) that a split must not divide."""

    tag: str
    text: str
    group: str = ""


def read_lines(path: Path) -> list[Line]:
    """Lines of a UTF-8 file: label TAB text [TAB group]; the label is an ISO 639 or BCP-47 code. Raises InputError."""
    lines: list[Line] = []
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read labelled lines: {error}", where=str(path), fix="give a UTF-8 file") from error
    for number, row in enumerate(content.split("\n"), 1):
        if not row.strip():
            continue
        label, tab, rest = row.partition("\t")
        text, _, group = rest.partition("\t")
        tag = tag_of(label)
        if not tab or tag == "und":
            raise InputError(
                f"no label TAB text: {row[:60]!r}", where=f"{path}:{number}", fix="label TAB text [TAB group]"
            )
        lines.append(Line(tag, text, group or str(number)))
    if not lines:
        raise InputError("no labelled line", where=str(path), fix="label TAB text [TAB group], one a line")
    return lines


def train(lines: Sequence[Line], settings: Settings | None = None) -> bytes:
    """A profile file from labelled lines, the same bytes for the same lines. Chinese and Japanese are left out: see
    `chinese.py`."""
    chosen = settings or Settings()
    keys, profile_B, used = _profiles(lines)
    if not keys:
        raise InputError("no language has three lines", where="labelled lines", fix="give more lines a language")
    gram = grams_of([lines[number].text for number in used.tolist()], chosen.max_n)
    values, inverse = np.unique(gram.hash_G, return_inverse=True)
    hashes = values.astype(np.uint32)
    counts = sparse.csr_matrix(
        (np.ones(len(inverse), np.float64), (profile_B[gram.line_G], inverse)), shape=(len(keys), len(hashes))
    )
    score, norm, keep = _scored(counts, np.array([script for _, script in keys]), chosen)
    keep = _one_a_bucket(hashes, keep, np.asarray(counts.sum(axis=0)).ravel())
    table = score[:, keep].tocsc()
    table.sort_indices()
    header = {
        "format": FORMAT,
        "max_n": chosen.max_n,
        "step": _STEP,
        "tags": [tag for tag, _ in keys],
        "scripts": [script for _, script in keys],
    }
    return _packed(
        {
            "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8),
            "hash": hashes[keep],
            "length": np.diff(table.indptr).astype(np.uint16),
            "profile": table.indices.astype(np.uint16),
            "score": np.clip(np.round(table.data / _STEP), 1, 255).astype(np.uint8),
            "norm": norm.astype(np.float32),
        }
    )


def _profiles(lines: Sequence[Line]) -> tuple[list[tuple[str, str]], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Profiles (tag, script), the profile of each used line, and which lines are used."""
    counts = class_counts([line.text for line in lines])[:, :OTHER]
    main = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), OTHER).tolist()
    pairs = [
        (line.tag, SCRIPTS[script]) if script != OTHER and SCRIPTS[script] not in _CHARACTERS else None
        for line, script in zip(lines, main, strict=True)
    ]
    times = Counter(pair for pair in pairs if pair)
    of_tag: dict[str, int] = defaultdict(int)
    for (tag, _), count in times.items():
        of_tag[tag] += count
    keys = sorted(key for key, count in times.items() if count >= max(3, _MIN_SHARE * of_tag[key[0]]))
    number = {key: index for index, key in enumerate(keys)}
    used = [index for index, pair in enumerate(pairs) if pair in number]
    profile = [number[pair] for pair in pairs if pair is not None and pair in number]
    return keys, np.array(profile, np.int64), np.array(used, np.int64)


def _scored(
    counts: sparse.csr_matrix, scripts: npt.NDArray[np.str_], settings: Settings
) -> tuple[sparse.csc_matrix, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Scores of all n-grams, the norm of each profile, and the n-grams worth keeping."""
    total_L = np.asarray(counts.sum(axis=1)).ravel()
    prior_L = settings.prior * np.array([(scripts == script).sum() for script in scripts.tolist()], np.float64)
    score = counts.copy().astype(np.float64)
    kept: set[int] = set()
    for script in sorted(set(scripts.tolist())):
        rows = np.flatnonzero(scripts == script)
        part = counts[rows]
        share = sparse.diags(1 / np.maximum(total_L[rows], 1)) @ part
        mean_V = np.asarray(share.mean(axis=0)).ravel()
        for row in rows.tolist():
            first, last = score.indptr[row], score.indptr[row + 1]
            grams, count = score.indices[first:last], score.data[first:last].copy()
            score.data[first:last] = np.log1p(count / (prior_L[row] * mean_V[grams]))
            often = count >= settings.min_count
            worth = count[often] * score.data[first:last][often]
            kept.update(grams[often][np.argsort(-worth, kind="stable")[: settings.per_profile]].tolist())
    return score.tocsc(), np.log1p(total_L / prior_L), np.array(sorted(kept), np.int64)


def _one_a_bucket(
    hashes: npt.NDArray[np.uint32], keep: npt.NDArray[np.int64], times: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Of n-grams that share a bucket the most frequent stays."""
    bucket = hashes[keep] >> np.uint32(32 - _BITS)
    order = np.lexsort((keep, -times[keep], bucket))
    first = np.ones(len(order), bool)
    first[1:] = bucket[order][1:] != bucket[order][:-1]
    return np.sort(keep[order[first]])


def _packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An npz whose bytes depend on the arrays alone (zip entries have no clock: numpy writes 1980-01-01)."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def train_model(source: Path, out: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Train profiles on all labelled lines of a file and write them; returns the model's card.

    `accuracy` and `macro_accuracy` (mean over languages) are those of profiles trained on one half of the groups and
    asked about the other, both ways; macrolanguages count as one. None where the lines have fewer than two groups.
    Raises InputError for lines that cannot be read.
    """
    chosen = settings or Settings()
    lines = read_lines(source)
    model = train(lines, chosen)
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, model)
    accuracy, macro = _cross_validated(lines, chosen)
    profiles = load_profiles(out)
    return {
        "lines": len(lines),
        "profiles": len(profiles.tags),
        "languages": len(set(profiles.tags)),
        "ngrams": profiles.ngrams,
        "accuracy": accuracy,
        "macro_accuracy": macro,
        "size_bytes": len(model),
        "sha256": hashlib.sha256(model).hexdigest(),
        "out": str(out),
    }


def _cross_validated(lines: Sequence[Line], settings: Settings) -> tuple[float | None, float | None]:
    half = {group: number % 2 for number, group in enumerate(sorted({line.group for line in lines}))}
    if len(half) < 2:
        return None, None
    hits: dict[str, list[bool]] = defaultdict(list)
    for fold in (0, 1):
        seen = [line for line in lines if half[line.group] != fold]
        asked = [line for line in lines if half[line.group] == fold]
        try:
            profiles = load_profiles(_Bytes(train(seen, settings)))
        except InputError:
            return None, None
        for line, tag in zip(asked, best_tags(profiles, [line.text for line in asked]), strict=True):
            if tag is not None:
                hits[macrolanguage(line.tag)].append(macrolanguage(tag) == macrolanguage(line.tag))
    found = [hit for each in hits.values() for hit in each]
    if not found:
        return None, None
    macro = sum(sum(each) / len(each) for each in hits.values()) / len(hits)
    return round(sum(found) / len(found), 4), round(macro, 4)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """A model in memory, read as a file is."""

    data: bytes

    def read_bytes(self) -> bytes:
        return self.data


def best_tags(profiles: Profiles, texts: Sequence[str]) -> list[str | None]:
    """What the profiles alone say of each text; None in a script that they do not know."""
    counts = class_counts(texts)[:, :OTHER]
    scripts = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), OTHER)
    found: list[str | None] = [None] * len(texts)
    for number in sorted(set(scripts.tolist()) - {OTHER}):
        places = np.flatnonzero(scripts == number).tolist()
        if not profiles.tags_in(SCRIPTS[number]):
            continue
        for start in range(0, len(places), 1024):
            part = places[start : start + 1024]
            scores = profiles.score([texts[place] for place in part], SCRIPTS[number])
            for place, column in zip(part, scores.ratio_BL.argmax(axis=1).tolist(), strict=True):
                found[place] = scores.tags[column]
    return found
