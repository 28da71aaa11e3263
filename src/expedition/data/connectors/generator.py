"""Connector `generator`: synthetic documents from an installed generator, each with what made it.

A generator is an entry point of the group `expedition.generators`: a function of a seed and a count that gives that many
documents, mappings with `text` and, where there are, `prompt`, `language`, `licence`, `title`. Equal seeds must give equal
documents. Files of JSON lines come in as from any origin: asked of the ledger, recorded, resumable; every line holds
generator, version, seed and the hash of the prompt, and the prompt itself is not kept.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.part import Part
from expedition.errors import UsageError

GENERATORS: Final = "expedition.generators"
Generate = Callable[[int, int], Iterable[Mapping[str, Any]]]
"""generate(seed, count) → documents."""
_PASSED_ON: Final = ("language", "licence", "title", "topic")


class GeneratorConfig(BaseModel):
    """Settings of `generator`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generator: str
    """Name of the entry point of the group `expedition.generators`."""
    documents: int = Field(gt=0)
    """Documents to make."""
    seed: int = 7
    """Of the whole source; every file has its own, derived from it."""
    documents_a_file: int = Field(default=1000, gt=0, le=100_000)
    """Documents of one file: what a killed run makes again at most."""


class Generator:
    """The connector."""

    name = "generator"
    config: type[BaseModel] = GeneratorConfig

    def items(self, context: Context, config: GeneratorConfig) -> Iterator[RemoteItem]:
        """The files to make, in order. Raises UsageError where no such generator is installed."""
        point = _point(config.generator)
        for number, first in enumerate(range(0, config.documents, config.documents_a_file)):
            count = min(config.documents_a_file, config.documents - first)
            seed = seed_of(config.seed, number)
            url = f"generator:{config.generator}?version={_version(point)}&seed={seed}&count={count}"
            meta = {"generator": config.generator, "version": _version(point), "seed": seed, "count": count}
            yield RemoteItem(f"generated-{number:05d}.jsonl", url, meta=meta)

    def fetch(self, context: Context, config: GeneratorConfig, item: RemoteItem, target: Path) -> Downloaded:
        """Make one file. Raises FetchFailed(WRONG_CONTENT) where the generator fails or gives what is no document."""
        point = _point(config.generator)
        if _version(point) != item.meta["version"]:
            raise FetchFailed(FetchReason.CHANGED, f"{config.generator} is of another version now", item.url)
        part = Part(target, context.client.policy.sync_bytes)
        part.restart()
        try:
            for line in lines_of(point.load(), item.meta):
                part.write(line)
        except Exception as error:
            part.discard()
            if isinstance(error, FetchFailed):
                raise
            raise FetchFailed(FetchReason.WRONG_CONTENT, f"{type(error).__name__}: {error}"[:200], item.url) from error
        part.commit()
        return Downloaded(item.url, item.url, part.size, part.sha256)


CONNECTOR = Generator()


def lines_of(generate: Generate, made: Mapping[str, Any]) -> Iterator[bytes]:
    """Lines of JSON with provenance of the documents that `generate` gives for `made` (generator, version, seed, count).

    Raises FetchFailed(WRONG_CONTENT) for what is no document, and where there are fewer than asked for.
    """
    seed, count = int(made["seed"]), int(made["count"])
    given, name = 0, f"generator:{made['generator']}?seed={seed}"
    for document in itertools.islice(generate(seed, count), count):
        text = document.get("text") if isinstance(document, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            raise FetchFailed(FetchReason.WRONG_CONTENT, f"document {given} has no text", name)
        prompt = document.get("prompt")
        row = {key: document[key] for key in _PASSED_ON if isinstance(document.get(key), str)}
        row |= {"text": text, "generator": made["generator"], "generator_version": made["version"]}
        row |= {"seed": seed, "number": given}
        if isinstance(prompt, str):
            row["prompt_sha256"] = hashlib.sha256(prompt.encode()).hexdigest()
        yield json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        given += 1
    if given < count:
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"{given} documents, {count} were asked for", name)


def seed_of(seed: int, number: int) -> int:
    """The seed of file `number`: 63 bits of a hash, so that neighbouring files have nothing in common."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _point(name: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=GENERATORS)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none is installed"
        raise UsageError(f"no generator {name!r}", fix=f"known: {known}; entry point group {GENERATORS}")
    return points[name]


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist is not None else "unknown"
