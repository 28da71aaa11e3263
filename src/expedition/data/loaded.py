"""Importing this loads the kernels: a server that forks workers imports it once for all of them."""

from __future__ import annotations

from expedition.data.extract.page import prepare
from expedition.data.stages.dedup.lines import line_keys
from expedition.data.stages.pii.detectors import detectors_for
from expedition.data.stages.text.measures import measure

prepare()
measure("word word\n\n字")
line_keys("word 1\n字", 1)
detectors_for("word 1")
