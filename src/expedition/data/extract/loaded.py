"""Importing this loads the kernels: a server that forks workers imports it once for all of them."""

from __future__ import annotations

from expedition.data.extract.page import prepare

prepare()
