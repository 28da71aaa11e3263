"""The real command is killed with kill -9 at drawn times, started again until it is done, and compared."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from expedition.plan import dump_programme
from expedition.train.checkpoint import checkpoints
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from tests.data.loading.made_version import generated, write_version
from tests.train.programme import programme_with
from tests.train.tiny import tiny_run

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = ("time_s", "step_s", "data_s", "forward_backward_s", "optimizer_s", "other_s", "tokens_per_s", "mfu")


def prepare(place: Path) -> Workspace:
    """A workspace with a made dataset of all kinds and a programme that trains on it."""
    ws = Workspace.open(place, create=True)
    write_version(ws, "v0.1", generated(1))
    run = tiny_run(
        length="60 steps",
        sequence_length=256,
        batch_sequences=6,
        learning_rate={"peak": 1e-2},
        checkpoint={"permanent_every": "20 steps", "ephemeral_every": "2 steps"},
    )
    ws.write_text(layout.PROGRAMME, dump_programme(programme_with(main=run)))
    return ws


def start(ws: Workspace, verb: str) -> subprocess.Popen[bytes]:
    """`expedition train VERB` as a process of its own."""
    command = [sys.executable, "-m", "expedition", "train", verb, "--workspace", ws.place, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def kill_until_done(ws: Workspace, kills: int, draw: random.Random) -> int:
    """Kill up to `kills` attempts at a drawn time after they began to train, resume, and return how often it was."""
    done, verb = 0, "run"
    while True:
        job = start(ws, verb)
        begun = len(list(ws.events_all("train.started")))
        while done < kills and job.poll() is None and len(list(ws.events_all("train.started"))) == begun:
            time.sleep(0.02)
        if done < kills:
            time.sleep(draw.uniform(0.0, 1.5))
            job.kill()
        output, _ = job.communicate()
        if job.returncode == 0:
            return done
        assert job.returncode == -signal.SIGKILL, output
        done, verb = done + 1, "resume"


def ended_as(ws: Workspace) -> dict[str, Any]:
    """What must be equal to the bit, whatever happened on the way."""
    columns = read_metrics(ws, "main")
    return {
        "files": {i.name: {n: e["sha256"] for n, e in i.files.items()} for i in checkpoints(ws, "main") if i.permanent},
        "metrics": {n: [float(v).hex() for v in c] for n, c in columns.items() if n not in CLOCKS},
        "read": ws.read_json(layout.run_summary("main"))["read"],
    }
