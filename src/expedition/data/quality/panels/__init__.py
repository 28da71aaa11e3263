"""panels: what a workspace holds of data, as tables that the governance page, the static page and the report share.

Why a room: a number is asked for once, so that a page and a report cannot disagree. Queries are pure functions of
`Holdings`; only `reader.py` and `records.py` read the workspace, and nothing here writes or draws.
Verbs (all that other rooms may call):
    Reader(ws, plan).read(now) -> Holdings      what is there now; immutable versions are read once
    PANELS, panels(holdings) -> list[Panel]     every table by name, each from one query
    csv_text(panel), json_value(panel, as_of)   a panel for other programs
    report_value(holdings), report_text(holdings)   all panels as JSON and as Markdown
    dropped_examples, kept_examples, record     single documents: who, why, lineage, text
    language_class(code)                        large, dialect, minority or unknown
    Column, Panel, Holdings                     the nouns
Seams: a panel is a function Holdings -> Panel and a row in catalogue.PANELS.
Imports: errors, workspace, plan, data.versions, data.compliance, data.trace.  Imported by: data.versions.judge, watch.
Reads / writes in the workspace: reads data/, compliance/, reports/data-issues.json, reports/data-quality.json.
Invariants: CSV and JSON say the same [test_csv_and_json_of_a_panel_say_the_same]; the sums of panels are the
    manifest's [test_panels_add_up_to_the_manifest]; what no approval covers is not shown
    [test_text_of_a_source_without_approval_is_withheld].
Read in this order:
    panel.py        a table with units; CSV and JSON
    holdings.py     what queries look at
    reader.py       a workspace → holdings
    amounts.py      tokens by source, kind, cell; planned against achieved
    languages.py    large, dialects, minority
    safety.py       PII and toxicity over time, findings by type
    subtitles.py    the timestamp-difference histogram
    funnel.py       stages and their reasons
    decisions.py    approvals, issues, judged detectors
    freshness.py    how old everything is; builds under way
    catalogue.py    the list
    records.py      drill down to documents
    report.py       JSON and Markdown
Try: expedition data quality; expedition watch; pytest tests/data/quality
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.quality.panels.catalogue import PANELS, panels
    from expedition.data.quality.panels.holdings import Holdings
    from expedition.data.quality.panels.languages import language_class
    from expedition.data.quality.panels.panel import Column, Panel, csv_text, json_value
    from expedition.data.quality.panels.reader import Reader
    from expedition.data.quality.panels.records import dropped_examples, kept_examples, record
    from expedition.data.quality.panels.report import report_text, report_value

__all__ = [
    "PANELS",
    "Column",
    "Holdings",
    "Panel",
    "Reader",
    "csv_text",
    "dropped_examples",
    "json_value",
    "kept_examples",
    "language_class",
    "panels",
    "record",
    "report_text",
    "report_value",
]

_HOMES = {
    "PANELS": "catalogue",
    "Column": "panel",
    "Holdings": "holdings",
    "Panel": "panel",
    "Reader": "reader",
    "csv_text": "panel",
    "dropped_examples": "records",
    "json_value": "panel",
    "kept_examples": "records",
    "language_class": "languages",
    "panels": "catalogue",
    "record": "records",
    "report_text": "report",
    "report_value": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
