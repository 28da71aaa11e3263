"""watch: metrics, stop rules, incidents and one page, so that whoever is on duty sees a run and is called in time.

Why a room: what a run shows is judged here, by pure rules on plain rows, and what goes wrong becomes an incident with
evidence, times, cost and a post-mortem. It knows no trainer and steers nothing: the trainer asks, and pauses itself.
Verbs (all that other rooms may call):
    MetricWriter(ws, run, rank), read_metrics(ws, run, names, rank), read_vectors     rows at rest; survive a kill
    arm(plan, shape, only), observe(rules, row), warm(rules, ws, run, …)  Observation, RunShape     the stop rules
    open_incident(ws, report, price), report_alarm(alarm, run, diagnosis)  IncidentReport, Price    idempotent
    acknowledge, resolve_incident, read_incident, list_incidents, timeline, mean_times  PostMortem  writes incidents/
    rule_states(ws, programme, run), replay_programme(ws, programme, run, curves)     writes reports/replay.json
    write_page(ws, programme) -> health             the static page: watch/index.html, watch/page.json
    site(ws, programme, address) -> URL             context manager: the live pages; extra `watch`
    add_shift, system_user                          the roster; who is at the keyboard
Seams: Rule (nan, spike, rise, plateau, expert_imbalance): one file in rules/, one section in plan/rules.py, arm.py.
Imports: errors, workspace, plan, data.quality.panels (web/ alone).  Imported by: train (segments, rules, incidents), voyage, cli.
Invariants: a restart neither loses nor repeats a row [test_restart_supersedes_and_loses_nothing]; rules catch every
    generated trouble, not real healthy runs [test_real_healthy_runs_are_left_alone]; opening an incident
    twice gives one [test_opening_twice_gives_one]; its text is never markup [test_text_from_data_is_never_markup].
Read in this order:
    catalogue.py   segments.py                 metrics
    rules/rule.py  rules/trend.py  rules/arm.py    rules/ has one rule a file
    curves.py      replay.py  state.py         their proof
    incidents.py   diagnosis.py  postmortem.py  roster.py
    probes/        web/            the live pages and the static one have their own card
Try: expedition watch --help; pytest tests/watch
"""

from typing import TYPE_CHECKING, Any

from expedition.watch.incidents import (
    IncidentReport,
    Price,
    acknowledge,
    list_incidents,
    mean_times,
    open_incident,
    read_incident,
    report_alarm,
    resolve_incident,
    timeline,
)
from expedition.watch.postmortem import PostMortem
from expedition.watch.roster import add_shift, system_user
from expedition.watch.rules import Observation, RunShape, arm, observe, warm
from expedition.watch.segments import MetricWriter, read_metrics, read_vectors
from expedition.watch.state import replay_programme, rule_states
from expedition.watch.web.static.page import write_page

if TYPE_CHECKING:
    from expedition.watch.web.app import site

__all__ = [
    "IncidentReport",
    "MetricWriter",
    "Observation",
    "PostMortem",
    "Price",
    "RunShape",
    "acknowledge",
    "add_shift",
    "arm",
    "list_incidents",
    "mean_times",
    "observe",
    "open_incident",
    "read_incident",
    "read_metrics",
    "read_vectors",
    "replay_programme",
    "report_alarm",
    "resolve_incident",
    "rule_states",
    "site",
    "system_user",
    "timeline",
    "warm",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name != "site":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A training process imports this room and serves no page.
    from expedition.watch.web.app import site

    return site
