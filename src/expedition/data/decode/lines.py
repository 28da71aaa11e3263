"""The block filter after main-content extraction: drops menu, share, cookie, caption and comment blocks, keeps prose.

Rules look at form (length, sentence ends, share of linked words, repetition) and a short list of phrases that are
furniture on any page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"[.!?…。！？؟।։།][\"'”’»)\]]*\s*$")
_FURNITURE = (
    r"share(?: this| on| via)?|tweet|pin it|print|e-?mail(?: this)?|copy link|save|sharing is caring",
    r"facebook|twitter|linkedin|whatsapp|pinterest|reddit|instagram|youtube|follow us\b.*",
    r"advertisement|sponsored|subscribe\b.*|sign (?:up|in)\b.*|log ?in|register|newsletter\b.{0,40}",
    r"read more\b.*|related\b.{0,60}|more (?:from|on|stories|news)\b.*",
    r"recommended\b.{0,40}|most (?:read|popular)\b.*|click here\b.*|load(?:ing)? more\b.*",
    r"copyright\b.*|©.*|all rights reserved.*|terms of (?:use|service)\b.*|privacy policy\b.*",
    r"(?:we|this (?:web)?site) uses? cookies\b.*|accept(?: all)? cookies",
    r"post a comment|\d* ?comments?(?: \(\d+\))?|view (?:all )?comments|image \d+ of.{0,12}|caption",
    r"tags?:.*|filed under\b.*|posted (?:in|by|on)\b.*|categories:.*|written by\b.{0,60}",
    r"previous(?: article| post)?|next(?: article| post)?",
    r"photos?(?: by|:).*|image(?: credit| source)?:.*|getty images|play video|watch(?: now| live)\b.*",
    r"skip to (?:main )?content|back to top|close|menu|search|home",
)
_PHRASE = re.compile(rf"^(?:{'|'.join(_FURNITURE)})\s*[:!.…»>]?\s*$", re.I)
_AFTERWORD = re.compile(
    r"^(?:\d+ (?:responses?|replies|comments?|thoughts?)\b.{0,200}|(?:top rated |reader |user )?comments?\b.{0,20}"
    r"|leave a (?:reply|comment)\b.*|join the (?:discussion|conversation)\b.*|you (?:may|might) also (?:like|enjoy)\b.*"
    r"|about the author|related (?:articles?|posts?|stories|news|content)\b.*|kommentare\b.{0,20}|commentaires\b.{0,20}"
    r"|comentarios\b.{0,20}|coment[áa]rios\b.{0,20}|voc[êe] pode gostar\b.*|das könnte sie auch interessieren\b.*"
    r"|à lire aussi\b.*|评论|相关(?:阅读|文章|新闻)|関連記事|コメント|комментарии)\s*[:!.…»>]*\s*$",
    re.I,
)
_LETTERS = re.compile(r"[^\W\d_]")
_NO_LATIN = bytes(value for value in range(128) if not chr(value).isalpha())
_SEPARATED = re.compile(r"\s[|•·»›/]\s")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_BLOCK = re.compile(r"<(p|h[1-6]|li|pre)\b[^>]{0,200}>|</?(?:ul|ol)\b[^>]{0,200}>|</(?:p|h[1-6]|li|pre)>", re.I)
_LINK = re.compile(r"<a\b[^>]{0,4000}>([^<]{0,4000})</a>", re.I)
_BREAK = re.compile(r"<br\b[^>]{0,20}>", re.I)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,4000}>")
_SHORT = 25
_LONG = 60
_LEAST_PROSE = 150
"""With fewer characters of prose the page is made of short lines (verse, lists, tables): they are all kept."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading, list item or bare text; `linked` is the share of its characters that are links."""

    tag: str
    text: str
    linked: float = 0.0


def blocks_of(markup: str) -> list[Block]:
    """Blocks of reduced HTML (`<p> <h1>…<h6> <ul> <ol> <li> <pre> <br> <a>` only), in order, entities resolved."""
    blocks: list[Block] = []
    tag, at = "text", 0
    for found in _BLOCK.finditer(markup):
        _append(blocks, tag, markup[at : found.start()])
        tag, at = (found.group(1) or "text").lower(), found.end()
    _append(blocks, tag, markup[at:])
    return blocks


def keep_prose(blocks: Sequence[Block]) -> str:
    """The text of the blocks that look like content, one empty line between paragraphs.

    Short blocks count only between prose; a heading needs prose below it; from a heading of the comments or of other
    stories on, nothing is kept. A page with hardly any prose keeps all its blocks but furniture.
    """
    worth = [_worth(block) for block in blocks]
    end = _end_of_story(blocks, worth)
    prose = [index for index in range(end) if worth[index] == 2]
    if sum(len(blocks[index].text) for index in prose) < _LEAST_PROSE:
        return _joined([block for block, value in zip(blocks, worth, strict=True) if value])
    kept, seen = [], set()
    for index in range(prose[0], prose[-1] + 1):
        block = blocks[index]
        if not worth[index] or (len(block.text) > _SHORT and block.text in seen):
            continue
        if worth[index] == 1 and block.tag.startswith("h") and not _leads_prose(blocks, worth, index):
            continue
        seen.add(block.text)
        kept.append(block)
    return _joined(kept)


def _append(blocks: list[Block], tag: str, body: str) -> None:
    linked = sum(len(html.unescape(words).strip()) for words in _LINK.findall(body))
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", body)))
    if tag != "pre":
        text = "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)
    if text.strip():
        blocks.append(Block(tag, text.strip("\n"), linked / len(text.strip())))


def _joined(blocks: Sequence[Block]) -> str:
    parts: list[str] = []
    for number, block in enumerate(blocks):
        listed = number and block.tag == "li" and blocks[number - 1].tag == "li"
        parts.append(("\n" if listed else "\n\n") if number else "")
        parts.append(block.text)
    return "".join(parts)


def _end_of_story(blocks: Sequence[Block], worth: Sequence[int]) -> int:
    """Index of the first block that opens comments or other stories, once enough prose came before it."""
    size = 0
    for index, block in enumerate(blocks):
        if size >= 2 * _LEAST_PROSE and len(block.text) < 200 and _AFTERWORD.match(block.text):
            return index
        size += len(block.text) if worth[index] == 2 else 0
    return len(blocks)


def _leads_prose(blocks: Sequence[Block], worth: Sequence[int], index: int) -> bool:
    for after in range(index + 1, len(blocks)):
        if worth[after] == 2:
            return True
        if blocks[after].tag.startswith("h"):
            return False
    return False


def _worth(block: Block) -> int:
    """2 prose, 1 may be a heading, list item or short paragraph, 0 furniture."""
    text = block.text
    if block.linked >= 0.7 or _PHRASE.match(text):
        return 0
    if not _lettered(text):
        return 0
    # Above four long lines the exact length changes nothing, so nothing is counted.
    length = len(text)
    if length < 4 * _LONG:
        length += 0 if text.isascii() else len(_WIDE.findall(text))
        if length < 4 * _LONG and len(_SEPARATED.findall(text)) >= 2:
            return 0
    if block.tag.startswith("h"):
        return 1
    if length >= _LONG and block.linked < 0.5:
        return 2
    return 2 if length >= _SHORT and block.linked < 0.3 and _SENTENCE_END.search(text) else 1


def _lettered(text: str) -> bool:
    """Whether at least two characters, and three in ten of those that are no space, are letters of any script."""
    least = max(2.0, 0.3 * (len(text) - text.count(" ")))
    latin = len(text.encode("ascii", "ignore").translate(None, _NO_LATIN))
    return latin >= least or len(_LETTERS.findall(text)) >= least
