"""What a step of the voyage is: commands of the same command line that everybody types, in a week of the programme."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["design", "data", "pretrain-1b", "pretrain-10b", "evaluate", "release"]

PHASES: tuple[Phase, ...] = ("design", "data", "pretrain-1b", "pretrain-10b", "evaluate", "release")
"""In the order of the programme; `--until PHASE` ends after the phase's last step."""


@dataclass(frozen=True, slots=True)
class Command:
    """One call of the command line.

    `argv` without `expedition` and without the common options. `expect` lists the exit codes that mean the command did
    its part: a gate exits 1 where a criterion fails, and the voyage goes on to show it. `process` runs it in a process
    of its own: everything that imports torch, so that data workers are never forked from a process that holds it.
    """

    argv: tuple[str, ...]
    expect: tuple[int, ...] = (0,)
    process: bool = False
    bare: bool = False
    """Takes no --workspace: it works on a folder of its own."""

    def arguments(self, workspace: str) -> list[str]:
        """Everything after `expedition`."""
        return [*self.argv, *(() if self.bare else ("--workspace", workspace))]

    def text(self, workspace: str) -> str:
        """As a person would type it."""
        return " ".join(("expedition", *self.arguments(workspace)))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens in the programme. A finished step is recorded and not done again."""

    name: str
    phase: Phase
    weeks: str
    title: str
    commands: tuple[Command, ...]
    produces: tuple[str, ...] = field(default=())
    """Artefacts to show when it is done, workspace paths."""
    services: tuple[Command, ...] = field(default=())
    """Commands that run beside the others until those are done; `{name}` in an argument is what a service printed."""


def call(*argv: str, expect: tuple[int, ...] = (0,)) -> Command:
    """A command in this process."""
    return Command(argv, expect)


def start(*argv: str, expect: tuple[int, ...] = (0,)) -> Command:
    """A command in a process of its own."""
    return Command(argv, expect, process=True)
