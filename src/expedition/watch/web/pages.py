"""The pages of the site. A page is a module with `draw(frame)`, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expedition.watch.web.frame import Frame


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    path: str
    title: str
    module: str
    """Where its `draw(frame)` is: called once a browser, and never again; the frame tells it of new readings."""

    def draw(self) -> Callable[[Frame], None]:
        """The function that draws it."""
        found: Callable[[Frame], None] = import_module(self.module).draw
        return found


PAGES = (Page("/governance", "Data governance", "expedition.watch.web.governance"),)
"""In the order of the menu; the first is also at `/`."""
