"""Web archives to documents by one core, with no stage between: our engine beside datatrove's local executor.

    .venv/bin/python -m benchmarks.data.engine_warc [--pages DIR] [--megabytes 200] [--rounds 3] [--quick]

Three contests, each over the same gzipped archive (a member a record, as Common Crawl writes them), interleaved, pinned to
one core, the second of two runs in one process, by processor time:

    records     WARC, HTML kept as it is      ours: a shard function that copies      WarcReader → JsonlWriter
    wet         WET, plain text               ours: `data build`'s shard function     WarcReader → JsonlWriter
    extracted   WARC, main text of pages      ours: `data build`'s shard function     WarcReader → Trafilatura → JsonlWriter

`data build`'s shard function decodes and writes Arrow, with an empty list of stages. datatrove writes JSON lines without
compression; it runs as its extras install it, and with isal beside it, which fsspec then unpacks by. Pages are the HTML
files below `--pages` (plain or gzipped), else generated ones of 12 to 60 kB. MB are of the unpacked archive. Prints one JSON
document.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import peers
from benchmarks.data.engine_overhead import copied, generated
from expedition.data.decode.archives import open_stream
from expedition.data.decode.charset import decode_bytes
from expedition.data.decode.html import visible_text
from expedition.data.decode.piece import Refused
from expedition.data.decode.rules import Limits as Bounds
from expedition.data.decode.sniff import Format
from expedition.data.decode.webarchive import record_body, warc_records
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import write_batches
from expedition.data.records import DOCUMENT_SCHEMA, PLACEHOLDER, Document, document_batch
from expedition.data.sources import SourceFolder, list_items
from expedition.data.versions.prepare import DOCUMENTS, PrepareUnit, Setup, Unit
from expedition.plan import load_programme

BATCH_CHARACTERS = 2 << 20
WET_MEGABYTES, EXTRACTED_MEGABYTES = 40.0, 5.0
"""Most of these archives: datatrove asks libmagic about every text, and its extractor is slow; both take long enough."""
CONTESTS = {"records": ("warc", "none"), "wet": ("wet", "none"), "extracted": ("short", "trafilatura")}
"""Contest → the archive that it reads, and datatrove's extractor."""


@dataclass(frozen=True, slots=True)
class KeepRecords:
    """Shard function: the pages and texts of an archive as documents, as they are."""

    def __call__(self, unit: Path, folder: Path) -> Summary:
        """Read, write."""
        return {"documents": write_batches(folder / DOCUMENTS, DOCUMENT_SCHEMA, map(document_batch, _groups(unit)))}


def _groups(path: Path) -> Iterator[list[Document]]:
    waiting: list[Document] = []
    size = 0
    for document in _records(path):
        waiting.append(document)
        size += len(document.text)
        if size > BATCH_CHARACTERS:
            yield waiting
            waiting, size = [], 0
    yield waiting


def _records(path: Path) -> Iterator[Document]:
    bounds = Bounds()
    with path.open("rb") as stream:
        for record in warc_records(open_stream(stream, Format.GZIP), bounds):
            headers = record.headers
            if headers.get("warc-type") not in ("response", "conversion"):
                continue
            try:
                body, _, charset = record_body(record, bounds)
                text = decode_bytes(body, charset).text
            except Refused:
                continue
            text = text.replace(PLACEHOLDER, "") if PLACEHOLDER in text else text
            meta = {"date": headers.get("warc-date", "")}
            name = headers.get("warc-record-id", "")
            yield Document(name, "crawl", "web", path.name, text, url=headers.get("warc-target-uri"), meta=meta)


def run_ours(contest: str, archive: Path, out: Path) -> dict[str, Any]:
    """Twice over the archive in this process, through the engine."""
    if contest == "records":
        function: Any = KeepRecords()
        tasks = [Task("t0", archive)]
    else:
        programme = load_programme("rehearsal")
        plan = programme.data.model_copy(update={"stages": {}})
        function = PrepareUnit(Setup(plan.model_dump_json(), programme.media.model_dump_json(), out / "none"))
        source = SourceFolder(archive.parent.name, archive.parent.parent, "web")
        tasks = [Task(f"t{n}", Unit(source, (item,), 1.0, False)) for n, item in enumerate(list_items(source))]
    times = []
    for number in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        outcomes = map_shards(function, tasks, out / str(number), Limits(workers=0))
        times.append([time.perf_counter() - wall, time.process_time() - cpu])
    return {"documents": sum(outcome.summary["documents"] for outcome in outcomes), "times": times}


def write_archives(root: Path, pages: Path | None, megabytes: float) -> dict[str, dict[str, Any]]:
    """An archive of pages, a short one, and one of texts, each in a folder of its own, and what they hold."""
    (root / "pages").mkdir()
    real = copied(pages, root / "pages") if pages else 0
    if not real:
        generated(root / "pages", 400)
    bodies = [path.read_bytes() for path in sorted((root / "pages").iterdir())]
    texts = [visible_text(body.decode("utf-8", "replace")).encode() for body in bodies]
    texts = [text for text in texts if text]
    held = {}
    for name, file, parts, members, most in (
        ("warc", "pages.warc.gz", bodies, response, megabytes),
        ("short", "pages.warc.gz", bodies, response, min(megabytes, EXTRACTED_MEGABYTES)),
        ("wet", "pages.warc.wet.gz", texts, conversion, min(megabytes, WET_MEGABYTES)),
    ):
        path = root / name / "crawl" / file
        path.parent.mkdir(parents=True)
        size = count = 0
        with path.open("wb") as out:
            while size < most * 1e6:
                member = members(f"http://host{count % 97}.example.org/{count}", parts[count % len(parts)])
                size += sum(map(len, member))
                out.writelines(gzip.compress(part, 6) for part in member)
                count += 1
        held[name] = {
            "path": path,
            "unpacked_bytes": size,
            "packed_bytes": path.stat().st_size,
            "records": count,
            "pages": "real" if real else "generated",
        }
    return held


def response(url: str, body: bytes) -> list[bytes]:
    """Request, answer and metadata, as Common Crawl has them."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body)
    html = {"WARC-Identified-Payload-Type": "text/html"}
    return [
        record("request", url, "application/http; msgtype=request", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
        record("response", url, "application/http; msgtype=response", http + body, html),
        record("metadata", url, "application/warc-fields", b"fetchTimeMs: 120\r\ncharset-detected: UTF-8\r\n"),
    ]


def conversion(url: str, text: bytes) -> list[bytes]:
    """The text of a page, as in a WET file."""
    return [record("conversion", url, "text/plain", text)]


def record(kind: str, url: str, content: str, block: bytes, more: dict[str, str] | None = None) -> bytes:
    """A WARC record."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, kind + url)
    headers = {
        "WARC-Type": kind,
        "WARC-Date": "2026-01-01T00:00:00Z",
        "WARC-Record-ID": f"<urn:uuid:{name}>",
        "WARC-Target-URI": url,
        **(more or {}),
        "Content-Type": content,
        "Content-Length": str(len(block)),
    }
    lines = ["WARC/1.0", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def in_process(contest: str, archive: Path, out: Path, cpu: int) -> dict[str, Any]:
    """`run_ours` in a fresh process on one core."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    module = [sys.executable, "-m", "benchmarks.data.engine_warc", "--child", contest, str(archive), str(out)]
    done = subprocess.run(["taskset", "-c", str(cpu), *module], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(root: Path, held: dict[str, dict[str, Any]], rounds: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Median MB/s of every side of every contest, by processor time and by wall clock; and who did not run."""
    cpu = max(os.sched_getaffinity(0))
    seen: dict[str, dict[str, list[dict[str, Any]]]] = {contest: {} for contest in CONTESTS}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for contest, (archive, extract) in CONTESTS.items():
            path, out = held[archive]["path"], root / "out"
            where = str(path.parent), str(root / "peer-out"), extract
            runs: dict[str, Callable[[], dict[str, Any]]] = {
                "ours": lambda c=contest, p=path, o=out: in_process(c, p, o, cpu),  # type: ignore[misc]
                "datatrove": lambda w=where: peers.run("datatrove", "read", *w, "no", cpu=cpu),  # type: ignore[misc]
                "datatrove, isal": lambda w=where: peers.run("datatrove", "read", *w, "yes", cpu=cpu),  # type: ignore[misc]
            }
            for name, run in runs.items():
                if extract != "none" and name == "datatrove, isal":
                    continue
                try:
                    found = run()
                except (RuntimeError, subprocess.SubprocessError) as error:
                    missing[f"{contest}: {name}"] = str(error)[-300:]
                    continue
                seen[contest].setdefault(name, []).append(found)
    rates = {
        contest: {
            name: {
                "mb_per_cpu_s": _rate(held[CONTESTS[contest][0]], found, 1),
                "mb_per_s": _rate(held[CONTESTS[contest][0]], found, 0),
                "documents": found[0]["documents"],
            }
            for name, found in sides.items()
        }
        for contest, sides in seen.items()
    }
    return rates, missing


def _rate(held: dict[str, Any], found: list[dict[str, Any]], clock: int) -> float:
    return round(held["unpacked_bytes"] / 1e6 / statistics.median(run["times"][1][clock] for run in found), 1)


def main() -> None:
    """Run the contests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--megabytes", type=float, default=200.0, help="of each unpacked archive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="60 MB, one round")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        contest, archive, out = options.child
        print(json.dumps(run_ours(contest, Path(archive), Path(out))))
        return
    if options.quick:
        options.megabytes, options.rounds = 60.0, 1
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        held = write_archives(root, options.pages, options.megabytes)
        rates, missing = measure(root, held, options.rounds)
    ratios = {
        contest: round(sides["ours"]["mb_per_cpu_s"] / best, 2)
        for contest, sides in rates.items()
        if "ours" in sides
        and (best := max((side["mb_per_cpu_s"] for name, side in sides.items() if name != "ours"), default=0.0))
    }
    archives = {name: {key: value for key, value in what.items() if key != "path"} for name, what in held.items()}
    result = {
        "cores_used": 1,
        "rounds": options.rounds,
        "archives": archives,
        "rates": rates,
        "ours_over_best_peer": ratios,
        "peers_that_did_not_run": missing,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
