"""A forum that somebody scraped without asking: readable text that must stay out, as nobody approved it."""

from __future__ import annotations

from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.text import prose
from expedition.sampleworld.text.pages import Page, render
from expedition.sampleworld.truth import Planted
from expedition.sampleworld.world import stream


def write_threads(order: Order) -> Parcel:
    """Threads `start`..`stop`, an HTML file each; every one is a line of the truth file."""
    parcel = Parcel()
    for number in range(order.start, order.stop):
        rng = stream(order.seed, order.source, "thread", number)
        text = prose.avoiding(order.forbidden, lambda draw: "\n".join(prose.article(draw)), rng)
        path = f"{order.source}/thread_{number:05d}.html"
        page = Page(f"http://forum.example/{number}", "en", prose.title(rng), tuple(text.split("\n")))
        (order.root / path).write_bytes(render(page, rng))
        parcel.truth.append(Planted("unapproved", order.source, path, None, {"reason": "no approval in the ledger"}))
    return parcel
