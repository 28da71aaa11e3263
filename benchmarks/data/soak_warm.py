"""Command lines in processes that are forked from a warm one: real processes to kill, without the seconds of imports.

    with WarmProcess(folder, environment) as warm:
        child = warm.start({"cli": ["data", "build", …]}, {"TMPDIR": …})
        child.kill(); child.wait()                    # exit code, or minus the signal

The warm process imports and then only forks: it has no threads and opens no store. What a child runs is the
`expedition` command, or a task of `soak_tasks`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOOK = Path(__file__).resolve().with_name("soak_hook")
CRASHED = 70
"""Exit code of a child that ended by an exception which nobody turned into a message."""


class Child:
    """One run of a command: a process of its own session."""

    def __init__(self, warm: WarmProcess, pid: int, output: Path) -> None:
        self.pid, self._warm, self._output = pid, warm, output
        self.code: int | None = None

    def poll(self) -> int | None:
        """Exit code, minus the signal, or None while it runs."""
        if self.code is None:
            self.code = self._warm.ask({"poll": self.pid})["code"]
        return self.code

    def wait(self, seconds: float) -> int:
        """Exit code or minus the signal. A child that is not done after `seconds` is killed: TimeoutError."""
        until = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > until:
                self.kill()
                self.wait(10.0)
                raise TimeoutError(f"not done after {seconds:.0f} s: {self.stderr()[-1000:]}")
            time.sleep(0.01)
        assert self.code is not None
        return self.code

    def kill(self) -> bool:
        """kill -9; whether it was alive."""
        if self.poll() is not None:
            return False
        os.kill(self.pid, signal.SIGKILL)
        return True

    def stdout(self) -> str:
        """What it printed."""
        return self._output.with_suffix(".out").read_text(errors="replace")

    def stderr(self) -> str:
        """What it printed for people."""
        return self._output.with_suffix(".err").read_text(errors="replace")


class WarmProcess:
    """The process that forks. Use with `with`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        path = os.pathsep.join([str(HOOK), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**os.environ, **environment, "PYTHONPATH": path}
        self._number = 0

    def __enter__(self) -> WarmProcess:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(Path(__file__).resolve())]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, env=self._environment, text=True, cwd=self._folder
        )
        self.ask({"ready": True})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def start(self, what: dict[str, Any], environment: dict[str, str], file_bytes: int | None = None) -> Child:
        """Fork a child that does `what`. `file_bytes`: no file of it may grow beyond (RLIMIT_FSIZE)."""
        self._number += 1
        output = self._folder / f"child-{self._number:05d}"
        request = {"fork": what, "environment": environment, "output": str(output), "file_bytes": file_bytes}
        return Child(self, int(self.ask(request)["pid"]), output)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line there, one line back."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the warm process is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve() -> None:
    """The warm process: fork on request, reap on request."""
    import pyarrow.parquet  # noqa: F401

    import benchmarks.data.soak_tasks as tasks  # noqa: F401
    import expedition.cli.compliance
    import expedition.cli.data
    import expedition.data.loading
    import expedition.data.versions.prepare
    import expedition.data.versions.push
    import expedition.data.versions.repeats  # noqa: F401

    codes: dict[int, int] = {}
    while line := sys.stdin.readline():
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if "fork" in request:
            pid = os.fork()
            if pid == 0:
                _become(request)
            answer = {"pid": pid}
        elif "poll" in request:
            pid = request["poll"]
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            answer = {"code": codes.get(pid)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    """The child: its own session, files for output, the request's environment; never returns."""
    code = CRASHED
    try:
        from expedition.workspace.orphans import die_with_parent

        os.setsid()
        die_with_parent()
        for number, suffix in ((1, ".out"), (2, ".err")):
            handle = os.open(request["output"] + suffix, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request["environment"])
        tempfile.tempdir = None
        if request["file_bytes"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], request["file_bytes"]))
        code = _do(request["fork"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _do(what: dict[str, Any]) -> int:
    if "cli" in what:
        from expedition.cli.main import run

        return run(what["cli"])
    from benchmarks.data import soak_tasks

    return soak_tasks.run(what["task"], what["arguments"])


if __name__ == "__main__":
    _serve()
