"""A verb that serves: what it printed is out, and it stays until somebody stops it."""

from __future__ import annotations

import signal
import sys
import threading

from expedition.cli.output import Output


def until_stopped(output: Output) -> None:
    """Wait for Ctrl-C or SIGTERM."""
    sys.stdout.flush()
    if sys.stdout.isatty():
        output.note("Ctrl-C ends it")
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # In slices: a signal that another thread takes is handled when this one runs again.
        while not stopped.wait(0.5):
            continue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
