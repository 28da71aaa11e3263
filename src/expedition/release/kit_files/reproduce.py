"""Compute one published number again from the kit's own sample: `python kit/reproduce.py`. Exit 0 if it is reproduced.

`sample_data/metric.json` says what was published, on what, and within what tolerance. Accuracy: of each item's
choices the one with the highest sum of log-probabilities after its picture and prompt is the answer. Perplexity: exp
of the mean cross entropy over all tokens but each document's first.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

started = time.monotonic()  # before torch is imported

import torch  # noqa: E402
from documents import RELEASE, Release, batch, document, load_release, text_tokens  # type: ignore[import-not-found]  # noqa: E402

SAMPLE = Path(__file__).resolve().parent / "sample_data"
ROWS = 48
"""Rows that run together."""


def accuracy(release: Release, items: list[dict[str, Any]]) -> float:
    """Share of items whose right choice is the likeliest."""
    right = 0
    pending: list[dict[str, Any]] = []
    for item in items:
        if pending and sum(len(one["choices"]) for one in pending) + len(item["choices"]) > ROWS:
            right += _right(release, pending)
            pending = []
        pending.append(item)
    return (right + _right(release, pending)) / len(items)


def _right(release: Release, items: list[dict[str, Any]]) -> int:
    rows: list[list[int]] = []
    starts: list[int] = []
    patches: list[Any] = []
    for item in items:
        pictures = [SAMPLE / name for name in item["pictures"]]
        prompt, found = document(release, item["prompt"], pictures)
        for choice in item["choices"]:
            rows.append(prompt + _after(release, item["prompt"], choice))
            starts.append(len(prompt))
            patches += found
    nats = [
        -sum(losses[start - 1 :]) for losses, start in zip(cross_entropies(release, rows, patches), starts, strict=True)
    ]
    right = 0
    for item in items:
        scores, nats = nats[: len(item["choices"])], nats[len(item["choices"]) :]
        right += scores.index(max(scores)) == item["answer"]
    return right


def _after(release: Release, prompt: str, choice: str) -> list[int]:
    """Tokens of `choice` as they follow `prompt` where the border is one between tokens."""
    before, whole = text_tokens(release, prompt), text_tokens(release, prompt + choice)
    joined = whole[: len(before)] == before
    return list(whole[len(before) :] if joined else text_tokens(release, choice))


def perplexity(release: Release, items: list[dict[str, Any]], max_tokens: int) -> float:
    """Of the texts, each ended by <|endoftext|> and cut to `max_tokens`."""
    end = release.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    rows = [[*text_tokens(release, item["text"]), end][:max_tokens] for item in items]
    total, tokens = 0.0, 0
    for start in range(0, len(rows), 8):
        for losses in cross_entropies(release, rows[start : start + 8], []):
            total, tokens = total + sum(losses), tokens + len(losses)
    return math.exp(total / tokens)


@torch.inference_mode()
def cross_entropies(release: Release, rows: list[list[int]], patches: list[Any]) -> list[list[float]]:
    """Nats of each token but the first, row by row."""
    inputs = batch(release, rows, patches)
    logits = release.model.thinker(**inputs).logits.float().log_softmax(-1)
    targets = inputs["input_ids"][:, 1:, None]
    nats = -logits[:, :-1].gather(2, targets).squeeze(2).double().cpu()
    return [nats[number, : len(row) - 1].tolist() for number, row in enumerate(rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compute one published number again.")
    parser.add_argument("--release", type=Path, default=RELEASE, help="folder of the release")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    options = parser.parse_args()
    metric = json.loads((SAMPLE / "metric.json").read_text("utf-8"))
    items = [json.loads(line) for line in (SAMPLE / "items.jsonl").read_text("utf-8").splitlines()]
    release = load_release(options.release)
    if metric["kind"] == "accuracy":
        value = accuracy(release, items)
        difference = abs(value - metric["published"])
    else:
        value = perplexity(release, items, metric["max_tokens"])
        difference = abs(value / metric["published"] - 1)
    good = difference <= metric["tolerance"]
    report = {
        "name": metric["name"],
        "published": metric["published"],
        "reproduced": value,
        "tolerance": metric["tolerance"],
        "items": len(items),
        "ok": good,
        "wall_s": round(time.monotonic() - started, 3),
    }
    if options.json:
        print(json.dumps(report))
    else:
        verdict = "reproduced" if good else "NOT reproduced"
        print(f"{metric['name']} on {len(items)} items: {value:.4f}, published {metric['published']:.4f}: {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
