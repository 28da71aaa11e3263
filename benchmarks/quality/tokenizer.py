"""Text to ids, megabytes of UTF-8 a second of one core: python -m benchmarks.quality.tokenizer [--quick] [--out F.json]

Ours (the encoder that `Tokenizer` chooses: with the search for doubtful marks and the copy into int32 arrays), tokenizers
(`encode_batch_fast`) and tiktoken (`encode_ordinary_batch`, one thread; NFC before it, as the ids need it) on the same lists
of texts, in turns, the best of the rounds by processor time. A fresh engine a round encodes one half of the texts unmeasured
and the other half measured, then the other way round: its caches are warm, as in a build, but have not seen the text. Texts:
English and Chinese books and pages, source code of the open set, cut into documents of 20,000 characters; the Chinese ones
shuffled by line, so that repeats do not flatter. Without the set: the documentation and sources of the project itself,
Chinese unknown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np

from benchmarks.quality.open_set import open_set
from expedition.data.tokenizer import qwen_vocabulary
from expedition.data.tokenizer.fast import Encoder, ReferenceEncoder, TiktokenEncoder, choose_encoder
from expedition.data.tokenizer.vocabulary import tokenizer_json

GOALS_MB_PER_S = {"en": 30.0, "zh": 30.0, "code": 60.0}
PIECE = 20_000
MOST_CHARACTERS = 4_000_000


def texts_by_kind(folder: Path | None) -> dict[str, list[str]]:
    """Documents of each kind, at most 4 million characters; nothing is repeated."""
    if folder is None:
        root = Path(__file__).resolve().parents[2]
        return {"en": _pieces(root.glob("**/*.md")), "zh": [], "code": _pieces((root / "src").rglob("*.py"))}
    books = folder / "books"
    pages = [json.loads(line) for line in (folder / "web" / "gold.jsonl").read_text().splitlines()]
    chinese = [page["text"] for page in pages if _share_of_han(page["text"]) > 0.5]
    english = [page["text"] for page in pages if page["text"].isascii() or _share_of_latin(page["text"]) > 0.8]
    code = (path for path in sorted((folder / "code").rglob("*")) if path.is_file())
    return {
        "en": _pieces(books.glob("en_*.txt")) + english,
        "zh": _shuffled(_pieces(books.glob("zh_*.txt")) + chinese),
        "code": _pieces(code),
    }


def _share_of_han(text: str) -> float:
    return sum("\u4e00" <= letter <= "\u9fff" for letter in text) / max(len(text), 1)


def _share_of_latin(text: str) -> float:
    return sum(letter.isascii() for letter in text) / max(len(text), 1)


def _pieces(paths: Iterator[Path]) -> list[str]:
    found: list[str] = []
    for path in sorted(paths):
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        found += [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    kept, held = [], 0
    for text in found:
        if held < MOST_CHARACTERS:
            kept.append(text)
            held += len(text)
    return kept


def _shuffled(texts: list[str]) -> list[str]:
    lines = [line for text in texts for line in text.splitlines() if line]
    random.Random(0).shuffle(lines)
    whole = "\n".join(lines)
    return [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]


def best_seconds(makers: dict[str, Callable[[], Encoder]], texts: list[str], rounds: int) -> dict[str, float]:
    """Processor seconds for all texts, the least of the rounds; raises AssertionError if ids differ."""
    best: dict[str, float] = {}
    halves = texts[::2], texts[1::2]
    for _ in range(rounds):
        seen: dict[str, list[Any]] = {}
        for name, make in makers.items():
            spent, seen[name] = 0.0, []
            for before, measured in (halves, halves[::-1]):
                encoder = make()
                encoder.encode_batch(before)
                started = time.process_time()
                seen[name] += encoder.encode_batch(measured)
                spent += time.process_time() - started
            best[name] = min(best.get(name, float("inf")), spent)
        first = next(iter(seen.values()))
        for name, ids in seen.items():
            assert all(np.array_equal(a, b) for a, b in zip(first, ids, strict=True)), f"{name} gives other ids"
    return best


def measure(quick: bool) -> dict[str, Any]:
    """The document: rates by kind and engine, and rows."""
    vocabulary = qwen_vocabulary()
    plain = tokenizer_json(vocabulary, [])
    name = choose_encoder(vocabulary).name
    makers: dict[str, Callable[[], Encoder]] = {
        "ours": lambda: choose_encoder(vocabulary, name),
        "tiktoken": lambda: TiktokenEncoder(vocabulary),
        "tokenizers": lambda: ReferenceEncoder(plain),
    }
    rates: dict[str, dict[str, float]] = {}
    rows = []
    for kind, texts in texts_by_kind(open_set()).items():
        size = sum(len(text.encode()) for text in texts)
        seconds = best_seconds(makers, texts, 1 if quick else 3) if texts else {}
        rates[kind] = {engine: round(size / 1e6 / spent, 1) for engine, spent in seconds.items()}
        ours = rates[kind].get("ours")
        rows.append(
            {
                "what": f"tokenise {kind}, {size / 1e6:.1f} MB, MB/s a core, ids equal",
                "ours": ours,
                "peer": {peer: rates[kind].get(peer) for peer in ("tiktoken", "tokenizers")},
                "ratio_or_figure": ours,
                "goal": f"≥ {GOALS_MB_PER_S[kind]:g} MB/s",
                "met": None if ours is None else ours >= GOALS_MB_PER_S[kind],
            }
        )
    return {
        "subject": "tokenizer",
        "encoder": name,
        "megabytes_per_s": rates,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("gigatoken", "tiktoken", "tokenizers")},
        "rows": rows,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = json.dumps(measure(options.quick), indent=1, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
