"""A set of pages by seed: every kind in both languages, each in another layout."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from benchmarks.quality.pages.body import Body
from benchmarks.quality.pages.formulas import STYLES
from benchmarks.quality.pages.kinds import KINDS
from benchmarks.quality.pages.layouts import LAYOUTS, Chrome
from benchmarks.quality.pages.layouts_other import OTHER_LAYOUTS, OtherChrome
from benchmarks.quality.pages.prose import Prose

ENGLISH, CHINESE = 9, 5
"""Pages of a kind in each language: 9 kinds × 14 = 126."""
_REMARKS = ("statistics", "recipe", "encyclopaedia", "documentation", "mathematics")
"""Kinds under which some pages have remarks of readers, which are no main text there."""


@dataclass(frozen=True, slots=True)
class Page:
    """A made page and its gold. `text` has a block a line; `code_lines`, `cells` and `formulas` are parts of it again."""

    file: str
    kind: str
    language: str
    layout: str
    html: str
    text: str
    code_lines: tuple[str, ...]
    cells: tuple[str, ...]
    formulas: tuple[str, ...]


def made_pages(seed: int = 1, english: int = ENGLISH, chinese: int = CHINESE, *, other: bool = False) -> Iterator[Page]:
    """Pages of each kind and language, in a fixed order; the same for the same seed. `other`: in `layouts_other`."""
    layouts = OTHER_LAYOUTS if other else LAYOUTS
    number = 0
    for kind, make in KINDS.items():
        for language, count in (("en", english), ("zh", chinese)):
            for _ in range(count):
                rng = random.Random(f"{seed}/{kind}/{language}/{number}")
                prose = Prose(language, rng)
                body = Body(prose, rng, formula_style=number % STYLES)
                title = make(body)
                layout = layouts[(number + seed) % len(layouts)]
                chrome = OtherChrome(prose, rng) if other else Chrome(prose, rng)
                after = chrome.comments() if kind in _REMARKS and rng.random() < 0.4 else ""
                main = layout("\n".join(_interrupted(body, chrome)), chrome, after)
                head = f'<meta charset="utf-8"><title>{escape(title)} | Northwind</title><meta name="description" content="{escape(prose.sentence())}"><style>.a{{color:red}}</style>'
                yield Page(
                    file=f"{number:03d}-{kind}-{language}.html",
                    kind=kind,
                    language=language,
                    layout=layout.__name__,
                    html=f'<!DOCTYPE html>\n<html lang="{language}"><head>{head}{chrome.scripts()}</head>\n<body class="{kind}-page">\n{main}\n</body></html>\n',
                    text="\n".join(body.gold),
                    code_lines=tuple(body.code_lines),
                    cells=tuple(body.cells),
                    formulas=tuple(body.formulas),
                )
                number += 1


def _interrupted(body: Body, chrome: Chrome) -> list[str]:
    """The main part's mark-up with foreign matter between some of its blocks: once in 9 on the average."""
    out: list[str] = []
    for number, part in enumerate(body.html):
        if number > 1 and part.startswith(("<p>", "<h2", "<h3")) and body.rng.random() < 0.11:
            out.append(chrome.between())
        out.append(part)
    return out
