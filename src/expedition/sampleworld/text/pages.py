"""Web pages: an article with menus, advertisements and comments around it, in one of many languages."""

from __future__ import annotations

import html as markup
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from expedition.sampleworld.defects import Role, jaccard, reworded, roles
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text import prose
from expedition.sampleworld.text.needles import Needle
from expedition.sampleworld.text.personal import PersonalValue, confession, decoy, personal_value
from expedition.sampleworld.text.rude import tirade
from expedition.sampleworld.text.tongues import TONGUES, Tongue
from expedition.sampleworld.text.warc import response, warcinfo
from expedition.sampleworld.truth import Planted
from expedition.sampleworld.world import NAMES, pick, stream

_SITES = ("kelpnews.example", "littleworld.example", "oldbridge.example", "harbourblog.example", "millstories.example")
_EDITS = 2
_TONGUE_SHARE = 0.02
_BY_TAG = {tongue.tag: tongue for tongue in TONGUES}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its main text is title and paragraphs."""

    url: str
    language: str
    title: str
    paragraphs: tuple[str, ...]
    charset: str = "utf-8"
    personal: tuple[PersonalValue, ...] = ()

    @property
    def text(self) -> str:
        """The main text, a paragraph a line."""
        return "\n".join(self.paragraphs)


@lru_cache(maxsize=8)
def languages(seed: int, source: str, pages: int) -> tuple[str, ...]:
    """The language of each page: every other language a few times, English for the rest."""
    each = max(1, round(pages * _TONGUE_SHARE))
    rng = stream(seed, "languages", source)
    others = [tongue.tag for tongue in TONGUES for _ in range(each)] + ["zh"] * each
    others = [others[int(i)] for i in rng.permutation(len(others))][: pages // 2]
    tags = others + ["en"] * (pages - len(others))
    return tuple(tags[int(i)] for i in rng.permutation(pages))


@lru_cache(maxsize=8)
def page_roles(seed: int, source: str, size: SampleSize) -> dict[int, Role]:
    """The defects of the first wave's pages, on English ones but for Chinese personal data."""
    tags = languages(seed, source, size.pages)
    english = [number for number, tag in enumerate(tags) if tag == "en"]
    chinese = [number for number, tag in enumerate(tags) if tag == "zh"]
    count = size.planted
    wanted = [(kind, count) for kind in ("exact_duplicate", "near_duplicate", "pii", "toxic", "leak")]
    return {
        **roles(seed, source, english, [*wanted, ("decoy", count // 2)]),
        **roles(seed, f"{source}/zh", chinese, [("pii", max(1, count // 2))]),
    }


def page(order: Order, number: int, leaks: tuple[tuple[str, Needle], ...] = ()) -> Page:
    """Page `number` of the order's source with whatever is planted in it."""
    role = _role(order, number)
    made = _plain(order, number if role is None or role.of is None else role.of)
    rng = stream(order.seed, order.source, "planted", number)
    made = _moved(order, made, number)
    if role is None or role.kind == "exact_duplicate":
        return made
    body = list(made.paragraphs)
    personal: tuple[PersonalValue, ...] = ()
    if role.kind == "near_duplicate":
        body = reworded("\n".join(body), _EDITS, rng).split("\n")
    elif role.kind == "pii":
        types = ("cn_id", "cn_mobile") if made.language == "zh" else _types(role.number)
        personal = tuple(personal_value(type_name, rng) for type_name in types)
        body.insert(1, confession(list(personal), rng))
    elif role.kind == "toxic":
        body[1:3] = [tirade(rng), body[1], tirade(rng)]
    elif role.kind == "leak" and leaks:
        leaked = leaks[role.number % len(leaks)][1]
        body.insert(2, f"{leaked.question} {leaked.colour}.")
    elif role.kind == "decoy":
        body.insert(1, decoy(rng))
    return Page(made.url, made.language, made.title, tuple(body), made.charset, personal)


def write_pages(order: Order, leaks: tuple[tuple[str, Needle], ...]) -> Parcel:
    """One WARC file with pages `start`..`stop`, and the truth about them."""
    parcel = Parcel()
    name = _file_name(order, order.start)
    path = f"{order.source}/{name}"
    records = [warcinfo(name)]
    for number in range(order.start, order.stop):
        made = page(order, number, leaks)
        kind = f"text/html; charset={made.charset}" if number % 3 else "text/html"
        rng = stream(order.seed, order.source, "html", number)
        records.append(response(made.url, render(made, rng), kind, number))
        parcel.truth += _truth(order, made, number, path, leaks)
    (order.folder / name).write_bytes(b"".join(records))
    return parcel


def write_broken_warc(order: Order) -> Parcel:
    """A WARC file that was cut off in its third page, as a failed download leaves it."""
    name, parcel = "segment-cut.warc.gz", Parcel()
    path = f"{order.source}/{name}"
    records = [warcinfo(name)]
    for number in range(3):
        rng = stream(order.seed, order.source, "cut", number)
        url = f"http://{_SITES[0]}/cut/{number}.html"
        text = _english(order, rng)
        records.append(response(url, render(Page(url, "en", prose.title(rng), text), rng), "text/html", number))
        if number < 2:
            parcel.truth.append(Planted("language", order.source, path, url, {"language": "en"}))
        else:
            record = f"record {number + 2}"
            parcel.truth.append(Planted("corrupt", order.source, path, record, {"reason": "truncated", "url": url}))
    records[-1] = records[-1][: len(records[-1]) // 2]
    (order.folder / name).write_bytes(b"".join(records))
    return parcel


def render(made: Page, rng: np.random.Generator) -> bytes:
    """The page as HTML in its charset: one of three layouts, the same article."""
    paragraphs = "\n".join(f"<p>{markup.escape(text, quote=False)}</p>" for text in made.paragraphs)
    heading = markup.escape(made.title, quote=False)
    main = f"<h1>{heading}</h1>\n{paragraphs}"
    layout = int(rng.integers(3))
    if layout == 0:
        main = f"<main><article>{main}</article></main>"
    elif layout == 1:
        main = f'<div class="content" id="content"><div class="post entry-content">{main}</div></div>'
    else:
        main = f'<div role="main"><section class="article-body">{main}</section></div>'
    menu = "".join(f'<li><a href="/{word}">{word.title()}</a></li>' for word in ("home", "news", "pictures", "about"))
    advert = f"Buy {int(rng.integers(2, 9))} pencils today, only {int(rng.integers(1, 9))}.99! Free delivery."
    comments = "".join(
        f'<div class="comment"><b>{pick(rng, NAMES)}</b><p>{pick(rng, _COMMENTS)}</p></div>'
        for _ in range(int(rng.integers(1, 4)))
    )
    text = (
        f'<!DOCTYPE html>\n<html lang="{made.language}"><head><meta charset="{made.charset}"><title>{heading}</title>\n'
        f"<style>.ad {{ color: #333 }}</style><script>var page = {int(rng.integers(1_000_000))};</script>"
        "</head>\n<body>\n"
        f'<header><nav class="menu"><ul>{menu}</ul></nav></header>\n'
        f'<aside class="sidebar ad"><p>{advert}</p></aside>\n{main}\n'
        f'<section class="comments" id="comments"><h3>Comments</h3>{comments}</section>\n'
        '<footer class="footer"><a href="/privacy">Privacy</a> | <a href="/terms">Terms</a> | All rights reserved'
        "</footer>\n</body></html>\n"
    )
    return text.encode(made.charset, errors="xmlcharrefreplace")


_COMMENTS = ("Nice!", "I was there too.", "Thanks for sharing.", "First!", "Please write more.", "See my page as well.")


def _file_name(order: Order, number: int) -> str:
    return f"segment-{number // order.size.pages_per_warc:05d}.warc.gz"


def _role(order: Order, number: int) -> Role | None:
    return page_roles(order.seed, order.source, order.size).get(number) if order.wave == 1 else None


def _plain(order: Order, number: int) -> Page:
    rng = stream(order.seed, order.source, "page", number)
    pages = order.size.pages if order.wave == 1 else int(order.size.pages * order.size.second_wave)
    tag = languages(order.seed, order.source, pages)[number]
    if tag == "en":
        return Page("", tag, prose.title(rng), _english(order, rng))
    tongue: Tongue = _BY_TAG[tag]
    paragraphs = tuple(tongue.paragraphs(rng))
    heading = paragraphs[0].split(tongue.joiner or "。")[0] if tag not in ("bo", "hi") else pick(rng, NAMES)
    charset = {"zh": "gb18030", "ru": "windows-1251"}.get(tag, "utf-8") if number % 4 == 0 else "utf-8"
    return Page("", tag, heading[:60], paragraphs, charset)


def _english(order: Order, rng: np.random.Generator) -> tuple[str, ...]:
    text = prose.avoiding(order.forbidden, lambda draw: "\n".join(prose.article(draw)), rng)
    return tuple(text.split("\n"))


def _moved(order: Order, made: Page, number: int) -> Page:
    site = _SITES[number % len(_SITES)]
    url = f"http://{site}/{order.source}/{made.language}/{number:06d}.html"
    return Page(url, made.language, made.title, made.paragraphs, made.charset)


def _types(number: int) -> tuple[str, ...]:
    kinds = ("email", "phone", "card", "ip")
    return kinds[number % 4], kinds[(number + 1) % 4]


def _truth(order: Order, made: Page, number: int, path: str, leaks: tuple[tuple[str, Needle], ...]) -> list[Planted]:
    lines = [Planted("language", order.source, path, made.url, {"language": made.language})]
    role = _role(order, number)
    if role is None or role.kind == "decoy":
        return lines
    details: list[dict[str, object]] = [{}]
    if role.of is not None:
        original = page(order, role.of, leaks)
        of = {"path": f"{order.source}/{_file_name(order, role.of)}", "item": original.url}
        details = [{"of": of, "jaccard": jaccard(original.text, made.text)}]
    elif role.kind == "pii":
        details = [{"type": value.type, "value": value.value} for value in made.personal]
    elif role.kind == "leak":
        details = [{"of": {"path": "eval/needle/items.jsonl", "item": leaks[role.number % len(leaks)][0]}}]
    return lines + [Planted(role.kind, order.source, path, made.url, dict(one)) for one in details]
