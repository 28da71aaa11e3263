"""The main text of a page, as mark-up and as gold side by side."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from html import escape

from benchmarks.quality.pages.code import code_markup, program
from benchmarks.quality.pages.formulas import formula, formula_markup
from benchmarks.quality.pages.prose import Prose


@dataclass(slots=True)
class Body:
    """Mark-up under construction; `gold` has a text a block: what the reader of the page came for, and no more."""

    prose: Prose
    rng: random.Random
    formula_style: int = 0
    html: list[str] = field(default_factory=list)
    gold: list[str] = field(default_factory=list)
    code_lines: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)

    def raw(self, html: str) -> None:
        """Mark-up that is no part of the gold text."""
        self.html.append(html)

    def text(self, tag: str, text: str, attributes: str = "") -> None:
        """One block of text; `tag` "br" puts it loose, ended by breaks."""
        self.gold.append(text)
        whole = (
            f"{escape(text, quote=False)}<br><br>"
            if tag == "br"
            else f"<{tag}{attributes}>{escape(text, quote=False)}</{tag}>"
        )
        self.html.append(whole)

    def paragraphs(self, number: int, tag: str = "p") -> None:
        """Some paragraphs; a third of them have an inline link, emphasis or code, which stays in the text."""
        for _ in range(number):
            text = self.prose.paragraph()
            self.gold.append(text)
            marked = escape(text, quote=False)
            if tag == "p" and self.rng.random() < 0.33:
                cut = self.rng.randrange(len(text) // 3, len(text) // 2)
                left, right = escape(text[:cut], quote=False), escape(text[cut : cut + 12], quote=False)
                wrap = self.rng.choice(
                    ("<a href='/ref/{n}'>{t}</a>", "<strong>{t}</strong>", "<em>{t}</em>", "<span>{t}</span>")
                )
                inner = wrap.format(n=self.rng.randrange(999), t=right)
                marked = f"{left}{inner}{escape(text[cut + 12 :], quote=False)}"
            self.html.append(f"{marked}<br><br>" if tag == "br" else f"<{tag}>{marked}</{tag}>")

    def listed(self, items: list[str], tag: str = "ul") -> None:
        """A list."""
        self.gold.extend(items)
        self.html.append(f"<{tag}>" + "".join(f"<li>{escape(item, quote=False)}</li>" for item in items) + f"</{tag}>")

    def code(self) -> None:
        """A program in some mark-up."""
        language, text = program(self.rng)
        self.gold.append(text)
        self.code_lines.extend(line for line in text.split("\n") if line.strip())
        self.html.append(code_markup(self.rng, language, text, self.prose.pick("Copy", "复制")))

    def formula(self) -> None:
        """A displayed formula."""
        tex, mathml = formula(self.rng)
        self.gold.append(tex)
        self.formulas.append(tex)
        wrapped = formula_markup(self.formula_style, tex, mathml, display=True)
        self.html.append(
            self.rng.choice(('<div class="equation">{}</div>', "<p>{}</p>", "<dl><dd>{}</dd></dl>")).format(wrapped)
        )

    def mathematical(self) -> None:
        """A paragraph with two formulas in the line."""
        parts, shown = [], []
        for number in range(3):
            sentence = self.prose.sentence()
            parts.append(sentence)
            shown.append(escape(sentence, quote=False))
            if number < 2:
                tex, mathml = formula(self.rng)
                self.formulas.append(tex)
                parts.append(tex)
                shown.append(formula_markup(self.formula_style, tex, mathml, display=False))
        self.gold.append(" ".join(parts))
        self.html.append(f"<p>{' '.join(shown)}</p>")

    def table(self, rows: list[list[str]], *, style: int | None = None, caption: str = "") -> None:
        """A table of data with a header row: five mark-ups, from `thead` to cells of plain `td`, to `div` rows by role."""
        self.gold.extend([caption] * bool(caption) + ["\t".join(row) for row in rows])
        self.cells.extend(cell for row in rows for cell in row)
        style = self.rng.randrange(5) if style is None else style
        cells = [[escape(cell, quote=False) for cell in row] for row in rows]
        told = f"<caption>{escape(caption)}</caption>" if caption else ""

        def line(row: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>"

        if style == 0:
            body = "".join(line(row, "td") for row in cells[1:])
            html = f'<table class="table table-striped">{told}<thead>{line(cells[0], "th")}</thead><tbody>{body}</tbody></table>'
        elif style == 1:
            html = f'<table class="wikitable sortable">{told}{line(cells[0], "th")}{"".join(line(row, "td") for row in cells[1:])}</table>'
        elif style == 2:
            rows_ = "".join(
                f"<tr><th scope='row'><p>{row[0]}</p></th>{''.join(f'<td><p>{c}</p></td>' for c in row[1:])}</tr>"
                for row in cells
            )
            html = f'<div class="table-responsive"><table>{told}{rows_}</table></div>'
        elif style == 3:
            rows_ = "\n".join(line([f"<font size=2>{cell}</font>" for cell in row], "td") for row in cells)
            html = f"<table border=1 cellpadding=3>{told}\n{rows_}\n</table>"
        else:
            spans = "".join(
                '<div role="row" class="flex">'
                + "".join(f'<div role="cell" class="w-1/4">{c}</div>' for c in row)
                + "</div>"
                for row in cells
            )
            html = f'<div role="table" class="min-w-full">{f"<div>{escape(caption)}</div>" if caption else ""}{spans}</div>'
        self.html.append(html)

    def numbers(self, rows: int, columns: int) -> list[list[str]]:
        """Rows for a table of figures."""
        units = ("", " %", " mm", " kWh", " €") if self.prose.language == "en" else ("", "%", "毫米", "千瓦时", "元")
        heads = [self.prose.noun() for _ in range(columns)]
        lines = [heads]
        for _ in range(rows):
            unit = self.rng.choice(units)
            figures = [f"{self.rng.uniform(0, 900):.{self.rng.randrange(3)}f}{unit}" for _ in range(columns - 1)]
            lines.append([self.prose.noun(), *figures])
        return lines
