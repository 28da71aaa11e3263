"""Our text rules against datatrove's filters, page by page: python -m benchmarks.quality.rules [--open DIR] [--out F.json]

The English pages of the open set twice: their main text, and all their visible text, of which more breaks a rule. Both sides
judge the same strings: datatrove 0.10 by its C4, Gopher quality, Gopher repetition and FineWeb filters at their defaults (C4
without its rule on end marks, as FineWeb has it), ours by `Limits.published()`, the papers' bounds, and by the adapted
bounds that a build uses. A filter of datatrove tells the first reason alone, so a reason of theirs is compared with all rules
that a text breaks of ours, and a rule of ours counts as alone where their whole filter keeps the text.

`CLASSES` says of every kind of disagreement why it is there; one that is in no class has "unexplained", which fails the row.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.data import peers
from benchmarks.quality.open_set import open_set

SAME: Final = {
    "C4": {
        "lorem_ipsum": ("filler text (C4)",),
        "curly_bracket": ("curly bracket (C4)",),
        "too_few_sentences": ("too few sentences (C4)",),
    },
    "Gopher quality": {
        "gopher_short_doc": ("too short (Gopher)",),
        "gopher_long_doc": ("too long (Gopher)",),
        "gopher_below_avg_threshold": ("mean word length (Gopher)",),
        "gopher_above_avg_threshold": ("mean word length (Gopher)",),
        "gopher_too_many_hashes": ("hash signs (Gopher)",),
        "gopher_too_many_ellipsis": ("ellipses (Gopher)",),
        "gopher_too_many_bullets": ("bullet lines (Gopher)",),
        "gopher_too_many_end_ellipsis": ("lines cut off (Gopher)",),
        "gopher_below_alpha_threshold": ("words without letters (Gopher)",),
        "gopher_enough_stop_words": ("no stop words (Gopher)",),
    },
    "Gopher repetition": {
        "dup_para_frac": ("repeated paragraphs (Gopher)",),
        "dup_para_char_frac": ("repeated paragraphs (Gopher)",),
        "dup_line_frac": ("repeated lines (Gopher)",),
        "dup_line_char_frac": ("characters in repeated lines (Gopher)",),
        **{f"top_{n}_gram": ("one phrase again and again (Gopher)",) for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": ("repeated phrases (Gopher)",) for n in range(5, 11)},
    },
    "FineWeb": {
        "line_punct_ratio": ("line ends (FineWeb)",),
        "short_line_ratio": ("short lines (FineWeb)",),
        "char_dup_ratio": ("characters in repeated lines (FineWeb)",),
        "list_ratio": ("list of words (FineWeb)",),
    },
}
"""Of each filter, a reason and our rules that say the same."""

CLASSES: Final = {
    ("theirs", "char_dup_ratio"): "datatrove's bound is 0.01 where the paper says 0.1, which is ours: all lie between",
    ("theirs", "gopher_below_alpha_threshold"): (
        "their words are spaCy's, of which a comma or the hyphen of a list is one without a letter; ours stand between spaces"
    ),
    ("theirs", "line_punct_ratio"): (
        "ours takes closing quotes and brackets, colons and semicolons as ends, as lines of speech and lists have them"
    ),
    ("theirs", "gopher_too_many_end_ellipsis"): "ours says nothing of fewer than five lines",
    (
        "ours",
        "too few sentences (C4)",
    ): "ours counts ends that are marked, theirs what punkt takes as sentences: a headline too",
}
"""(who alone drops, under which reason) → why; each was read off the pages. None is a fault: the papers leave it open."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Texts of which both keep, both drop, ours alone drops, theirs alone drops; and the reasons of those alone."""

    both_keep: int
    both_drop: int
    ours_alone: Counter[str]
    theirs_alone: Counter[str]

    @property
    def texts(self) -> int:
        return self.both_keep + self.both_drop + self.ours_alone.total() + self.theirs_alone.total()

    @property
    def share(self) -> float:
        """Texts of which both say the same."""
        return (self.both_keep + self.both_drop) / max(self.texts, 1)


def agreement(family: str, theirs: Sequence[str], ours: Sequence[Sequence[str]]) -> Agreement:
    """Of one filter: their first reason for each text, and all rules that it breaks with us. Pure."""
    rules = {name for names in SAME[family].values() for name in names}
    keep = drop = 0
    alone: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for reason, broken in zip(theirs, ours, strict=True):
        mine = [name for name in broken if name in rules]
        keep += not reason and not mine
        drop += bool(reason and mine)
        if mine and not reason:
            alone[0][mine[0]] += 1
        if reason and not mine:
            alone[1][reason] += 1
    return Agreement(keep, drop, *alone)


def texts_of(folder: Path) -> dict[str, list[str]]:
    """English texts: main text and all visible text of the pages."""
    from expedition.data.decode.charset import decode_bytes
    from expedition.data.extract import extract, visible_text
    from expedition.data.stages.language.cascade import identify_many

    found: dict[str, list[str]] = {"main text": [], "visible text": []}
    for path in sorted((folder / "web" / "html").iterdir()):
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        markup = decode_bytes(body, None).text
        main = extract(markup, "fast").text
        if main.strip() and identify_many([main])[0].tag == "en":
            found["main text"].append(main)
            found["visible text"].append(visible_text(markup))
    return found


def measure(folder: Path) -> dict[str, Any]:
    """The document: by kind of text, filter and our bounds the agreement, and every class of disagreement."""
    from expedition.data.stages.text import Limits, judge

    tables: list[dict[str, Any]] = []
    unexplained: Counter[str] = Counter()
    versions: dict[str, str] = {}
    for kind, texts in texts_of(folder).items():
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "texts.jsonl"
            source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
            answer = peers.run("datatrove_pipeline", "judge", str(source), timeout_s=900)
        versions = answer["versions"]
        for bounds, limits in (("published", Limits.published()), ("adapted", Limits())):
            ours = [judge(text, "web", "en", limits=limits) for text in texts]
            for family in SAME:
                found = agreement(family, [row[family] for row in answer["found"]], ours)
                alone = [("ours", found.ours_alone), ("theirs", found.theirs_alone)]
                if bounds == "published":
                    unexplained.update(
                        f"{who}: {name}" for who, names in alone for name in names if (who, name) not in CLASSES
                    )
                tables.append(
                    {
                        "texts": kind,
                        "our_bounds": bounds,
                        "filter": family,
                        "pages": found.texts,
                        "both_keep": found.both_keep,
                        "both_drop": found.both_drop,
                        "ours_alone": dict(found.ours_alone),
                        "theirs_alone": dict(found.theirs_alone),
                        "agreement": round(found.share, 4),
                    }
                )
    classes = {f"{who}: {name}": why for (who, name), why in CLASSES.items() if _met((who, name), tables)}
    return {
        "tables": tables,
        "classes": classes,
        "unexplained": dict(unexplained),
        "versions": versions,
        "rows": rows(tables, unexplained),
    }


def _met(key: tuple[str, str], tables: Iterable[dict[str, Any]]) -> bool:
    return any(key[1] in table[f"{key[0]}_alone"] for table in tables if table["our_bounds"] == "published")


def rows(tables: Sequence[dict[str, Any]], unexplained: Counter[str]) -> list[dict[str, Any]]:
    """Rows of the table: a row a kind of text and filter at the papers' bounds, one for what has no class."""

    def told(names: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(names.items())) or "none"

    made = [
        {
            "what": f"text rules on {table['texts']}, {table['filter']}: pages kept or dropped alike",
            "ours": f"alone drops: {told(table['ours_alone'])}",
            "peer": f"datatrove alone drops: {told(table['theirs_alone'])}",
            "ratio_or_figure": table["agreement"],
            "goal": None,
            "met": None,
        }
        for table in tables
        if table["our_bounds"] == "published"
    ]
    return [
        *made,
        {
            "what": "text rules: kinds of disagreement without an explanation",
            "ours": told(dict(unexplained)),
            "peer": None,
            "ratio_or_figure": len(unexplained),
            "goal": "0",
            "met": not unexplained,
        },
    ]


def main() -> None:
    """Compare, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: it is quick")
    parser.add_argument("--open", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = open_set(options.open)
    if folder is None:
        raise SystemExit("no labelled sets: give --open DIR")
    text = json.dumps(measure(folder), indent=1, ensure_ascii=False)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
