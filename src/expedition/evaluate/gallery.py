"""The page of cases: one HTML file with its pictures in it, no script, no address outside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from expedition.data.records import Insert
from expedition.evaluate.drawing import thumbnails
from expedition.plan.media import MediaRule

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#102a43;background:#fff}
h2{margin-top:2rem;border-bottom:1px solid #bcccdc}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}
.case{border:1px solid #bcccdc;border-left:6px solid #2f855a;border-radius:6px;padding:.7rem}
.case.failure{border-left-color:#c53030}
.case img{image-rendering:pixelated;height:84px;margin:2px}
dl{display:grid;grid-template-columns:6rem 1fr;gap:.1rem .5rem;margin:.5rem 0 0}
dt{color:#486581}dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){body{background:#102a43;color:#f0f4f8}dt{color:#9fb3c8}}
"""


def gallery_page(
    title: str, cases: Sequence[Mapping[str, Any]], media: Mapping[str, Sequence[tuple[Insert, MediaRule]]]
) -> str:
    """The page. Everything that comes from data or model is escaped."""
    kinds = list(dict.fromkeys(str(case["kind"]) for case in cases))
    body = [f"<h1>Cases of {html.escape(title)}</h1>"]
    for kind in kinds:
        group = [case for case in cases if case["kind"] == kind]
        right = sum(bool(case["success"]) for case in group)
        body.append(f"<h2>{html.escape(kind)}: {right} successes, {len(group) - right} failures</h2>")
        body.append('<div class="cases">')
        body += [_card(case, media[str(case["item"])]) for case in group]
        body.append("</div>")
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}<style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"


def _card(case: Mapping[str, Any], media: Sequence[tuple[Insert, MediaRule]]) -> str:
    pictures = [uri for insert, rule in media for uri in thumbnails(insert, rule)]
    verdict = "success" if case["success"] else "failure"
    shown = ("item", "prompt", "expected", "output", "says", "margin_nats", "error_bins")
    rows = "".join(
        f"<dt>{name.replace('_', ' ')}</dt><dd>{html.escape(str(case[name]))}</dd>"
        for name in shown
        if case.get(name) not in (None, "")
    )
    images = "".join(f'<img alt="" src="{uri}">' for uri in pictures)
    title = f"<b>{html.escape(str(case['task']))}: {verdict}</b>"
    return f'<div class="case {verdict}">{title}<div>{images}</div><dl>{rows}</dl></div>'
