"""cli: words of the command line into calls of the rooms' verbs, and their results into tables or JSON.

Why a room: translation only. No decision is made here; a verb opens a session, calls one function, prints its result.
Verbs (all that other rooms may call):
    run(arguments) -> exit code    codes as docs/exit-codes.md
Seams: a group is one file with a typer `app`, named in main.GROUPS.
Imports: every room, inside the verbs.  Imported by: nobody.
Reads / writes in the workspace: nothing itself.
Invariants: help imports no torch [test_help_is_quick_and_imports_no_torch]; a user's mistake never prints a traceback
    [test_unknown_command_suggests_and_exits_2].
Read in this order:
    main.py      groups and exit codes
    options.py   the options that every verb takes
    output.py    tables, JSON, stderr
    progress.py  how far a build is, on stderr
    until_stopped.py    a verb that serves
    in_process.py    a command inside this process
Try: expedition --help
"""

from expedition.cli.main import run

__all__ = ["run"]
