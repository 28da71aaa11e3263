"""Every panel, by name: what the pages draw and the report lists, in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from expedition.data.quality.panels.amounts import cells, mix, sources
from expedition.data.quality.panels.decisions import approvals, detectors, issues
from expedition.data.quality.panels.freshness import builds, freshness
from expedition.data.quality.panels.funnel import funnel, reasons
from expedition.data.quality.panels.holdings import Holdings
from expedition.data.quality.panels.languages import languages
from expedition.data.quality.panels.panel import Panel
from expedition.data.quality.panels.safety import findings, safety
from expedition.data.quality.panels.subtitles import subtitles

PANELS: Final[Mapping[str, Callable[[Holdings], Panel]]] = {
    "freshness": freshness,
    "builds": builds,
    "mix": mix,
    "sources": sources,
    "languages": languages,
    "cells": cells,
    "safety": safety,
    "findings": findings,
    "subtitles": subtitles,
    "funnel": funnel,
    "reasons": reasons,
    "approvals": approvals,
    "issues": issues,
    "detectors": detectors,
}


def panels(held: Holdings) -> list[Panel]:
    """All of them."""
    return [query(held) for query in PANELS.values()]
