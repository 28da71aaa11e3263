"""What the soak does to the world around its children: a web server that lies, a bad object store, clock, disk, files."""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.data.connectors.hostile_server import HostileServer
from tests.object_faults import Fault, FaultProxy

HTTP_KINDS = ("500", "503", "truncated body", "wrong length", "corrupt body", "reset", "slow server")
HOUR_S = 3600.0


class LyingServer(HostileServer):
    """Serves its files; each answer goes wrong with probability `badness`, by a draw from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.badness = 0.0
        self.struck: Counter[str] = Counter()
        self._draw, self._lock = random.Random(seed), threading.Lock()
        # A killed client's broken connection is no news.
        self._server.handle_error = lambda request, address: None  # type: ignore[method-assign]

    def serve(self, handler: Any, path: str) -> None:
        """An answer, honest or not."""
        with self._lock:
            bad = path in self.files and self._draw.random() < self.badness
            kind = self._draw.choice(HTTP_KINDS) if bad else ""
            place = self._draw.random()
            if bad:
                self.struck[kind] += 1
        if not bad:
            super().serve(handler, path)
            return
        body = self.files[path]
        at = int(place * len(body))
        if kind in ("500", "503"):
            self.answer(handler, int(kind), b"", {"Retry-After": "0"} if kind == "503" else None)
        elif kind == "truncated body":
            self.answer(handler, 200, body[:at], {"Content-Length": str(len(body))})
            handler.close_connection = True
        elif kind == "wrong length":
            self.answer(handler, 200, body[: max(1, at)])
        elif kind == "corrupt body":
            self.answer(handler, 200, body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :])
        elif kind == "slow server":
            threading.Event().wait(0.05 + 0.2 * place)
            super().serve(handler, path)
        else:
            handler.close_connection = True


def object_weather(draw: random.Random, step: str) -> list[Fault]:
    """A script for one attempt at a step: a little of everything that an object store may do on a bad day.

    Wrong bytes with a right length come where contents are checked by hash: copies, and reads of shards.
    """
    script = [
        Fault("status", status=500, probability=0.02, times=None),
        Fault("status", status=503, code="SlowDown", probability=0.02, times=None),
        Fault("reset", probability=0.02, times=None),
        Fault("no-answer", method="PUT", probability=0.03, times=None),
        Fault("truncate", method="GET", probability=0.03, times=None),
        Fault("slow", probability=0.02, seconds=0.15, times=None),
        Fault("stale", method="GET", path="list-type", probability=0.04, times=None),
    ]
    if step in ("build", "push"):
        script.append(Fault("lose", method="PUT", path=r"/(dataset|heldout)/", probability=0.04, times=None))
    if step in ("push", "verify", "load"):
        script += [
            Fault(kind, method="GET", path=r"\.tar$", probability=0.05, times=None) for kind in ("flip", "short")
        ]
    if draw.random() < 0.3:
        after = draw.randrange(40)
        script.append(Fault("status", status=403, code="AccessDenied", after=after, times=draw.randrange(1, 12)))
    draw.shuffle(script)
    return script


NAMES = {
    "reset": "store reset",
    "no-answer": "store answer lost",
    "truncate": "store truncated body",
    "slow": "slow store",
    "stale": "stale list",
    "lose": "lost put",
    "flip": "store flipped bit",
    "short": "store short body",
}


def struck_by(proxy: FaultProxy) -> Counter[str]:
    """Faults that the proxy has done, by kind."""
    found: Counter[str] = Counter()
    for fault in proxy.script:
        if fault.struck:
            kind = NAMES.get(fault.action) or {403: "access denied"}.get(fault.status, f"store {fault.status}")
            found[kind] += fault.struck
    return found


class Clock:
    """The file by which children's clocks are set (see `soak_hook`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        """Every child's clock is the real one plus this, from now on."""
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.write(struct.pack("<d", offset_s))
        else:
            self.path.write_bytes(struct.pack("<d", offset_s))

    def jump(self, draw: random.Random) -> str:
        """Somewhere within three days before or after the real time; the kind of jump."""
        size = draw.choice((1.0, 60.0, HOUR_S, 24 * HOUR_S, 72 * HOUR_S)) * draw.uniform(0.5, 1.0)
        forwards = draw.random() < 0.5
        self.set(size if forwards else -size)
        return "clock forwards" if forwards else "clock backwards"


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[bool]:
    """Mount a tmpfs of this size at `folder`; whether that was allowed (it takes root)."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "expedition-soak", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def fill(folder: Path, leave_bytes: int) -> Path:
    """Fill the disk of `folder` but for so many bytes; the file that does it."""
    import os

    ballast = folder / "ballast"
    found = os.statvfs(folder)
    size = max(0, found.f_bavail * found.f_frsize - leave_bytes)
    with ballast.open("wb") as file:
        try:
            for at in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - at)))
        except OSError:
            pass
    return ballast


def plant(data: Path) -> list[str]:
    """Corrupt files among a source's files; their paths below the data folder. None of them holds a document."""
    picture = next(iter(sorted((data / "pictures").glob("*.png")))).read_bytes()
    page = gzip.compress("".join(f"<p>line {number}</p>" for number in range(200)).encode(), mtime=0)
    made = {
        "books/planted.html.gz": page[:-8] + bytes(8),
        "books/planted.txt": b"",
        "notes/planted.jsonl": b'{"text": "cut in the middle of a li',
        "notes/planted.warc.gz": gzip.compress(
            b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 99\r\n\r\nHT", mtime=0
        ),
        "pictures/planted.png": picture[:50],
    }
    for name, body in made.items():
        (data / name).write_bytes(body)
    return sorted(made)
