"""`expedition data`: the order in which versions are read, and how fast."""

from __future__ import annotations

import typer

app = typer.Typer()
