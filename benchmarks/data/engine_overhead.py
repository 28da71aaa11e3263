"""What the engine costs over a plain loop, and over a bare `multiprocessing.Pool`, on real cleaning work.

    .venv/bin/python -m benchmarks.data.engine_overhead [--pages DIR] [--tasks 24] [--rounds 3]

The work is the shard function of `data build` (decode, clean, write Arrow) over web pages: the HTML files below `--pages`
(plain or gzipped), else generated ones. One round runs, in turn: the stages in a loop, the engine in this process, the
engine with one worker, a Pool of two processes, the engine with two workers. Rounds are interleaved, each figure is
the best of its rounds. Prints one JSON document: seconds, processor seconds, and the ratios that matter:

    loop_over_engine      plain loop / engine in one process        goal ≥ 0.95
    pool_over_engine      Pool of two / engine with two workers     goal ≥ 0.97

Only the engine makes its files durable, commits each task once, bounds memory and time, and survives kills.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import multiprocessing.forkserver
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from expedition.data.builder import PRELOAD
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.sources import ItemRef, SourceFolder
from expedition.data.versions.prepare import PrepareUnit, Setup, Unit, workshop
from expedition.plan import load_programme

_WORDS = (
    *("the", "old", "keeper", "walked", "along", "quiet", "shore", "and", "counted"),
    *("every", "lamp", "before", "evening", "fog", "came", "in", "from", "sea"),
)


def generated(folder: Path, pages: int) -> None:
    """Pages of prose with a menu and a footer, 12 to 60 kB each."""
    draw = random.Random(7)
    for number in range(pages):
        paragraphs = (" ".join(draw.choices(_WORDS, k=80)).capitalize() + "." for _ in range(draw.randint(25, 120)))
        body = "".join(f"<p>{text}</p>" for text in paragraphs)
        page = f"<html><body><nav><a href='/'>Home</a></nav><main><h1>Page {number}</h1>{body}</main></body></html>"
        (folder / f"{number:05d}.html").write_text(page, encoding="utf-8")


def copied(source: Path, folder: Path) -> int:
    """HTML files below `source`, unpacked; returns how many."""
    count = 0
    for path in sorted(source.rglob("*")):
        if path.name.endswith((".html", ".htm", ".html.gz", ".htm.gz")):
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            (folder / f"{count:05d}.html").write_bytes(data)
            count += 1
    return count


def units(root: Path, tasks: int, pages_per_task: int) -> list[Unit]:
    """`tasks` units of pages, going round the pages again where there are few."""
    source = SourceFolder("pages", root, "web")
    files = sorted((root / "pages").iterdir())
    found = []
    for number in range(tasks):
        chosen = [files[(number * pages_per_task + n) % len(files)] for n in range(pages_per_task)]
        items = tuple(ItemRef("pages", path.name, "file", path.stat().st_size) for path in dict.fromkeys(chosen))
        found.append(Unit(source, items, 1.0, False))
    return found


class Bench:
    """The same units, run in several ways."""

    def __init__(self, function: PrepareUnit, work: Sequence[Unit], root: Path) -> None:
        self.function, self.work, self.root = function, work, root
        self.tasks = [Task(f"t{number:04d}", unit) for number, unit in enumerate(work)]

    def loop(self) -> None:
        """The stages in a loop."""
        for number, unit in enumerate(self.work):
            one(self.function, unit, self.root / "out" / f"{number:04d}")

    def pool(self) -> None:
        """A bare Pool of two processes from the same warm fork server as the engine's, a task at a time."""
        with multiprocessing.get_context("forkserver").Pool(2) as pool:
            pool.starmap(
                one,
                [(self.function, unit, self.root / "out" / f"{n:04d}") for n, unit in enumerate(self.work)],
                chunksize=1,
            )

    def engine(self, workers: int) -> Callable[[], object]:
        """The engine; the fork server of its workers is warm."""
        limits = Limits(workers=workers, preload=PRELOAD)
        return lambda: map_shards(self.function, self.tasks, self.root / "out", limits)

    def timed(self, run: Callable[[], object]) -> tuple[float, float]:
        """Wall and processor seconds (this process and ended children) of one run into a fresh folder."""
        shutil.rmtree(self.root / "out", ignore_errors=True)
        (self.root / "out").mkdir()
        started, used = time.perf_counter(), processor_s()
        run()
        wall = time.perf_counter() - started
        time.sleep(0.1)  # until the fork server has counted the workers that just ended
        return wall, processor_s() - used


def one(function: PrepareUnit, unit: Unit, folder: Path) -> dict[str, object]:
    """One unit without an engine."""
    folder.mkdir()
    return function(unit, folder)


def processor_s() -> float:
    """User and system seconds of this process, its ended children, and those of the engine's fork server."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own = sum(part.ru_utime + part.ru_stime for part in parts)
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is None or not Path(f"/proc/{server}/stat").exists():
        return own
    fields = Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()
    return own + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--tasks", type=int, default=24)
    parser.add_argument("--pages-per-task", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "data" / "pages").mkdir(parents=True)
        real = copied(options.pages, root / "data" / "pages") if options.pages else 0
        if not real:
            generated(root / "data" / "pages", 400)
        programme = load_programme("rehearsal")
        setup = Setup(programme.data.model_dump_json(), programme.media.model_dump_json(), root / "data" / "eval")
        work = units(root / "data", options.tasks, options.pages_per_task)
        bench = Bench(PrepareUnit(setup), work, root)
        workshop(setup)
        runs = {
            "loop": bench.loop,
            "engine_in_process": bench.engine(0),
            "engine_1_worker": bench.engine(1),
            "pool_2": bench.pool,
            "engine_2_workers": bench.engine(2),
        }
        # Warm: models loaded here, and the fork server started, before anything is timed.
        for key in ("loop", "engine_2_workers"):
            bench.timed(runs[key])
        found: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
        for _ in range(options.rounds):
            for key, run in runs.items():
                found[key].append(bench.timed(run))
        size = sum(item.size_bytes for unit in work for item in unit.items)
    wall = {key: min(seconds for seconds, _ in rows) for key, rows in found.items()}
    used = {key: min(seconds for _, seconds in rows) for key, rows in found.items()}
    result = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "pages": "real" if real else "generated",
        "tasks": options.tasks,
        "read_bytes": size,
        "wall_s": wall,
        "processor_s": used,
        "loop_over_engine": wall["loop"] / wall["engine_in_process"],
        "loop_over_engine_processor": used["loop"] / used["engine_in_process"],
        "pool_over_engine": wall["pool_2"] / wall["engine_2_workers"],
        "pool_over_engine_processor": used["pool_2"] / used["engine_2_workers"],
        "pool_over_loop": wall["loop"] / wall["pool_2"],
        "engine_2_over_loop": wall["loop"] / wall["engine_2_workers"],
        "read_bytes_per_s_per_core": size / wall["engine_in_process"],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
