"""cluster: which machines may serve, how fast a job comes back, and where the hours of training went.

Why a room: machines are judged here by what they did under load, and time by the event log. It never trains: drills
start the trainer as a process; it moves nothing by hand and never calls a short run a long one.
Verbs (all that other rooms may call):
    run_burnin(ws, plan, burnin) -> dict           blocking; writes cluster/burnin/, cluster/nodes/
    run_drill(ws, plan) -> DrillResult             blocking; breaks and restarts a job; writes reports/drill.json
    write_goodput(ws) -> dict                      idempotent; writes cluster/goodput.json
    measure_links(ws, ranks) -> dict               bandwidth between local processes; writes cluster/links.json
    list_nodes(ws) -> list                         the ledger
    return_node(ws, node, reason) -> dict          out of isolation, by a person
    outage_cost(plan, hours) -> OutageCost         pure
    plan_cluster(models, cluster, demand) -> dict  pure: days, slack, needed MFU, parallel choice, storage
    train_command(run, workspace, …) -> list       the job that a drill breaks
    main_run_demand(programme, …) -> Demand        what the main run asks of the cluster
    planted_faults(texts, nodes), drill_kind(text) what a user's words mean
    Burnin, DrillPlan, Demand                      what the verbs take
Seams: the job of a drill is any command that writes train.* events (the trainer, the test's own small job).
Imports: errors, workspace, plan.  Imported by: voyage, cli.
Reads / writes in the workspace: events/; cluster/, reports/drill.json.
Invariants: buckets add up to the wall time [test_buckets_add_up_to_the_wall_time]; a planted faulty worker is isolated
    and only it [test_faulty_workers_are_isolated_and_only_they]; a killed job resumes and its lost steps are counted
    [test_killed_job_resumes_and_is_measured].
Read in this order:
    nodes.py                   the ledger
    load.py                    the load, as a process
    burnin.py                  load, judge, isolate
    drills.py                  kill, detect, restart
    goodput.py                 events into buckets
    links.py                   what ranks exchange
    outage.py                  what time costs
    planner/hardware.py        what the cluster gives
    planner/operations.py      what a token costs
    planner/memory.py          what a rank holds
    planner/feasibility.py     days, slack, parallel choice
Try: expedition cluster --help; pytest tests/cluster
"""

from expedition.cluster.burnin import Burnin, planted_faults, run_burnin
from expedition.cluster.drills import DrillPlan, drill_kind, run_drill, train_command
from expedition.cluster.goodput import write_goodput
from expedition.cluster.links import measure_links
from expedition.cluster.nodes import list_nodes, return_node
from expedition.cluster.outage import outage_cost
from expedition.cluster.planner.feasibility import Demand, main_run_demand, plan_cluster

__all__ = [
    "Burnin",
    "Demand",
    "DrillPlan",
    "drill_kind",
    "list_nodes",
    "main_run_demand",
    "measure_links",
    "outage_cost",
    "plan_cluster",
    "planted_faults",
    "return_node",
    "run_burnin",
    "run_drill",
    "train_command",
    "write_goodput",
]
