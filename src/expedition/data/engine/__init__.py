"""data.engine: functions over shards, in processes, with nothing lost by a kill and no task able to stop the others.

Why a room: where work runs, what a crash costs and how rows meet are decided here once; the functions that it runs
know nothing of processes. It refuses to run a task half: a task's folder is committed whole or not at all.
Verbs (all that other rooms may call):
    map_shards(function, tasks, folder) -> outcomes     blocking, idempotent; one committed folder a task
    exchange(inputs, plan, workdir) -> outcomes         partition → external sort → reduce; restartable by partition
    quarantined(outcomes), release_quarantine(folder)   what was given up and why; try it again
    engine_session(limits)                              share a cluster's connection between calls
    Task, Outcome, Limits, Progress, Exchange           the nouns
    Meter, PhaseState                                   steps into rates, rejects by reason and the time that is left
Seams: Engine (LocalEngine, RayEngine); a third needs `session` and `run`, and is named in Limits.engine.
Imports: errors.  Imported by: data.builder.
Reads / writes in the workspace: only the local folders that callers hand in.
Invariants: the same bytes after a kill at any moment [test_killed_supervisor_resumes_to_the_same_bytes]; a task whose
    worker dies three times is quarantined and the others finish [test_dying_task_is_quarantined_and_others_finish];
    one call at a time in a folder [test_second_call_in_a_folder_is_told]; Ray gives the same bytes though a node is
    lost [test_lost_node_changes_no_byte]; a worker over its memory is ended [test_worker_over_its_memory_is_ended];
    bytes do not depend on the number of workers [test_exchange_bytes_do_not_depend_on_workers].
Read in this order:
    shard.py        tasks, outcomes, limits
    commit.py       aside, fsync, rename
    worker.py       one attempt
    call.py         what is to do, which attempt it is; the Engine protocol; map_shards
    local.py        processes on this machine
    ray.py          tasks of a Ray cluster
    progress.py     rates, rejects, time left
    quarantine.py   what was given up
    tables.py       Arrow files
    runs.py         sorted segments of many partitions in few files
    merge.py        external merge, bounded whatever the skew
    exchange.py     partition → sort → reduce
Try: pytest tests/data/engine
"""

from expedition.data.engine.call import engine_session, map_shards
from expedition.data.engine.exchange import Exchange, exchange
from expedition.data.engine.progress import Meter, PhaseState
from expedition.data.engine.quarantine import quarantined, release_quarantine
from expedition.data.engine.shard import Limits, Outcome, Progress, Task

__all__ = [
    "Exchange",
    "Limits",
    "Meter",
    "Outcome",
    "PhaseState",
    "Progress",
    "Task",
    "engine_session",
    "exchange",
    "map_shards",
    "quarantined",
    "release_quarantine",
]
