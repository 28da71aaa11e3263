"""A data folder that is ready for acquisition: where each source comes from, the evaluation set, and the truth.

The truth is rewritten to where things lie when they have been fetched: a repository is then a file in its archive, and
one without any licence has not come in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from expedition.errors import UsageError
from expedition.sampleworld.catalogue import SOURCES
from expedition.sampleworld.services.offering import Offering, repositories
from expedition.workspace.atomic import storage_errors, write_atomic

_DECLARATIONS = "sources.yaml"
_TRUTH = "truth.jsonl"
_EVALUATION = "eval"
_LICENCES = ("LICENSE",)


def prepare_data_folder(offering: Offering, data: Path) -> list[str]:
    """Write sources.yaml, eval/ and truth.jsonl to `data`; names of the sources that it declares. Safe to repeat.

    Raises UsageError where `data` is the sample itself.
    """
    sample, data = offering.sample, Path(data).absolute()
    if data.resolve() == sample.resolve():
        raise UsageError("a sample cannot be fetched into itself", where=str(data), fix="give another data folder")
    entries = {card.name: {**card.entry(), "from": offering.settings(card)} for card in SOURCES}
    with storage_errors(data):
        data.mkdir(parents=True, exist_ok=True)
        if not (data / _EVALUATION).is_dir():
            aside = data / f".{_EVALUATION}.partial"
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(sample / _EVALUATION, aside)
            aside.rename(data / _EVALUATION)
        write_atomic(data / _TRUTH, "".join(_fetched_truth(sample)).encode())
        text = yaml.safe_dump({"sources": entries}, sort_keys=False, allow_unicode=True)
        write_atomic(data / _DECLARATIONS, text.encode())
    return list(entries)


def _fetched_truth(sample: Path) -> list[str]:
    places = _archive_places(sample)
    lines = []
    with (sample / _TRUTH).open(encoding="utf-8") as truth:
        for line in truth:
            told = json.loads(line)
            moved = _moved(told, places)
            if moved is not None and "of" in told:
                original = _moved(told["of"], places)
                moved = None if original is None else {**moved, "of": original}
            if moved is not None:
                lines.append(json.dumps(moved, ensure_ascii=False) + "\n")
    return lines


def _moved(told: Mapping[str, Any], places: Mapping[str, tuple[str, str] | None]) -> dict[str, Any] | None:
    """An entry with its place after fetching; None where it does not come in."""
    parts = str(told["path"]).split("/", 2)
    repository = "/".join(parts[:2])
    if len(parts) < 3 or repository not in places:
        return dict(told)
    place = places[repository]
    return None if place is None else {**told, "path": place[0], "item": f"{place[1]}/{parts[2]}"}


def _archive_places(sample: Path) -> dict[str, tuple[str, str] | None]:
    """Repository's folder in the sample → (path of its archive below the data folder, the folder in the archive)."""
    places: dict[str, tuple[str, str] | None] = {}
    for one in repositories(sample):
        owner, name = one.full_name.split("/")
        archive = f"github_code/{owner}--{name}--{one.sha[:12]}.tar.gz"
        licensed = any(file in one.files for file in _LICENCES)
        places[f"github_code/{name}"] = (archive, one.top) if licensed else None
    return places
