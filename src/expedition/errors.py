"""Every error that a user can meet: one class an exit code and cause, one sentence each.

    ExpeditionError          the root; never raised itself
    ├── UsageError       2   the command line asks for something that does not exist or does not fit together
    ├── ProgrammeError   2   the programme file is wrong; says file, line, path, value and what would fit
    ├── InputError       2   a file or folder given by the user cannot be read as what it should be
    ├── StorageError     2   the disk or object store refused: full, read-only, unreachable
    ├── WorkspaceBusy    2   another live process holds the workspace or the part of it that is needed
    ├── MissingExtra     2   an optional dependency is not installed; says the install line
    ├── CheckFailed      1   a criterion or check was evaluated and failed
    ├── PausedByRule     3   a stop rule paused the run; an incident holds the evidence
    ├── PausedByPerson   3   somebody paused the run; says who and why
    ├── Interrupted      4   stopped from outside, everything saved; the same command goes on
    └── ComplianceRefused 5  a source has no valid approval; nothing of it may enter

Exit codes are API (docs/exit-codes.md): 0 done, 1 check fails, 2 wrong input or usage, 3 paused, by a rule or a
person, 4 interrupted and resumable, 5 refused by compliance.
"""

from __future__ import annotations

__all__ = [
    "CheckFailed",
    "ComplianceRefused",
    "ExpeditionError",
    "InputError",
    "Interrupted",
    "MissingExtra",
    "PausedByPerson",
    "PausedByRule",
    "ProgrammeError",
    "StorageError",
    "UsageError",
    "WorkspaceBusy",
]


class ExpeditionError(Exception):
    """An error for a person: what was wrong, where, and what to do next.

    `what` is one sentence with the offending value in it, `where` a file, line, key or name, `fix` the next command
    or the values that fit.
    """

    exit_code: int = 2

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what if self.where is None else f"{self.where}: {self.what}"]
        if self.fix is not None:
            lines.append(f"  → {self.fix}")
        return "\n".join(lines)


class UsageError(ExpeditionError):
    """The command line asks for something that does not exist or does not fit together."""


class ProgrammeError(ExpeditionError):
    """The programme file is wrong; `where` is `file:line path.to.value`."""


class InputError(ExpeditionError):
    """A file or folder given by the user cannot be read as what it should be."""


class StorageError(ExpeditionError):
    """The disk or object store refused: full, read-only or unreachable. What was committed before is intact."""


class WorkspaceBusy(ExpeditionError):
    """Another live process holds the lease on this part of the workspace."""


class MissingExtra(ExpeditionError):
    """An optional dependency is not installed; `fix` is the install line."""


class CheckFailed(ExpeditionError):
    """A criterion or check was evaluated on its evidence and failed."""

    exit_code = 1


class PausedByRule(ExpeditionError):
    """A stop rule paused the run; an incident was opened and holds the evidence."""

    exit_code = 3


class PausedByPerson(ExpeditionError):
    """Somebody paused the run; what they said is recorded, and a checkpoint is saved."""

    exit_code = 3


class Interrupted(ExpeditionError):
    """Stopped from outside with everything saved; the same command goes on where it was."""

    exit_code = 4


class ComplianceRefused(ExpeditionError):
    """A source has no approval that is valid now and here; nothing of it may enter."""

    exit_code = 5
