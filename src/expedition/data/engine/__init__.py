"""data.engine: functions over shards, in processes, with nothing lost by a kill and no task able to stop the others.

Why a room: where work runs, what a crash costs and how rows meet are decided here once; the functions that it runs
know nothing of processes. It refuses to run a task half: a task's folder is committed whole or not at all.
Verbs (all that other rooms may call):
    map_shards(function, tasks, folder) -> outcomes     blocking, idempotent; one committed folder a task
    exchange(inputs, plan, workdir) -> outcomes         partition → external sort → reduce; restartable by partition
    quarantined(outcomes), release_quarantine(folder)   what was given up and why; try it again
    Task, Outcome, Limits, Progress, Exchange           the nouns
    LocalEngine, SerialEngine                           processes on this machine; the calling process
Seams: Engine (LocalEngine, SerialEngine); a third needs `Engine.map`: same functions, same bytes.
Imports: errors.  Imported by: data.build.
Reads / writes in the workspace: only the local folders that callers hand in.
Invariants: the same bytes after a kill at any moment [test_killed_supervisor_resumes_to_the_same_bytes]; a task whose
    worker dies three times is quarantined and the others finish [test_dying_task_is_quarantined_and_others_finish];
    bytes do not depend on the number of workers [test_exchange_bytes_do_not_depend_on_workers].
Read in this order:
    shard.py        tasks, outcomes, limits, the Engine protocol
    commit.py       aside, fsync, rename
    worker.py       one attempt
    local.py        the supervisor
    quarantine.py   what was given up
    tables.py       Arrow files
    merge.py        external sort
    exchange.py     partition → sort → reduce
Try: pytest tests/data/engine
"""

from expedition.data.engine.exchange import Exchange, exchange
from expedition.data.engine.local import LocalEngine, SerialEngine, map_shards
from expedition.data.engine.quarantine import quarantined, release_quarantine
from expedition.data.engine.shard import Limits, Outcome, Progress, Task

__all__ = [
    "Exchange",
    "Limits",
    "LocalEngine",
    "Outcome",
    "Progress",
    "SerialEngine",
    "Task",
    "exchange",
    "map_shards",
    "quarantined",
    "release_quarantine",
]
