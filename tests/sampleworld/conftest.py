"""One small sample for all tests of the room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expedition.sampleworld import build_sample

SEED = 7


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete sample of size smoke."""
    directory = tmp_path_factory.mktemp("world") / "sample"
    build_sample(directory, SEED, "smoke")
    return directory


@pytest.fixture(scope="session")
def truth(sample: Path) -> list[dict[str, Any]]:
    """The sample's truth lines."""
    return [json.loads(line) for line in (sample / "truth.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def pages(sample: Path) -> dict[str, str]:
    """Main text of each readable page, by URL, tags removed."""
    import re

    from fastwarc.warc import ArchiveIterator, WarcRecordType

    found: dict[str, str] = {}
    for path in sorted(sample.glob("common_crawl*/segment-0*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, verify_digests=True):
                html = record.reader.read()
                charset = re.search(rb'charset="([^"]+)"', html)
                assert charset is not None
                text = html.decode(charset.group(1).decode())
                found[record.headers["WARC-Target-URI"]] = "\n".join(re.findall(r"<p>(.*?)</p>", text))
    return found
