"""Which blocks of the main region are text: by form first, then by a short list of phrases that are furniture anywhere."""

from __future__ import annotations

import html
import re
from typing import Any

from expedition.data.extract import layout, weigh
from expedition.data.extract.hints import BODY
from expedition.data.extract.table import Place, places
from expedition.data.extract.tags import TAG

_PHRASES = (
    r"share(?: this| on| via)?(?: (?:article|story|post|page))?|tweet|pin it|print|e-?mail(?: this)?|copy link|save",
    r"sharing is caring",
    r"facebook|twitter|linkedin|whatsapp|pinterest|reddit|instagram|youtube|follow us\b.*",
    r"advertisement|sponsored|subscribe\b.*|sign (?:up|in)\b.*|log ?in|register|newsletter\b.{0,40}|anzeige|werbung|publicit[ée]",
    r"read (?:more|also|next)\b.*|see also\b.{0,80}|related\b.{0,60}|more (?:from|on|stories|news)\b.*|mehr (?:zum thema|dazu)\b.*",
    r"recommended\b.{0,40}|most (?:read|popular)\b.*|click here\b.*|load(?:ing)? more\b.*",
    r"copyright\b.*|©.*|all rights reserved.*|terms of (?:use|service)\b.*|privacy policy\b.*",
    r"(?:we|this (?:web)?site) uses? cookies\b.*|accept(?: all)? cookies",
    r"post a comment|\d* ?comments?(?: \(\d+\))?|view (?:all )?comments|image \d+ of.{0,12}|caption",
    r"tags?:.*|filed under\b.*|posted (?:in|by|on)\b.*|categories:.*|written by\b.{0,60}",
    r"(?:last )?updated:?.{0,40}|published:?.{0,40}",
    r"previous(?: article| post)?|next(?: article| post)?|story continues below.{0,20}|continue reading.{0,40}",
    r"photos?(?: by|:).*|image(?: credit| source)?:.*|getty images|play video|watch(?: now| live)\b.*|foto:.*|bild:.*|quelle:.*",
    r"分享(?:到|至)?\s*[:：]?.{0,40}|微信|微博|复制链接|广告|登录|注册|返回顶部|上一[篇页].{0,60}|下一[篇页].{0,60}|责任编辑.{0,20}|来源[:：].{0,30}|"
    r"点赞|收藏|举报|回复|引用|阅读全文|加载更多|查看更多|(?:延伸|相关)阅读[:：]?.{0,60}|标签[:：].*|版权所有.*|关注我们.{0,20}",
    r"skip to (?:main )?content|back to top|close|menu|search|home|by [A-Z][\w.'-]+(?: [A-Z][\w.'-]+){0,3}",
)
_PHRASE = re.compile(rf"^(?:{'|'.join(_PHRASES)})\s*[:!.…»>]?\s*$", re.I)
_TALK = re.compile(
    r"^(?:\d+ (?:responses?|replies|comments?|thoughts?)\b.{0,200}|(?:top rated |reader |user |latest )?comments?\b.{0,20}"
    r"|leave a (?:reply|comment)\b.*|join the (?:discussion|conversation)\b.*|kommentare\b.{0,20}|commentaires\b.{0,20}"
    r"|comentarios\b.{0,20}|coment[áa]rios\b.{0,20}|(?:最新|发表|全部|网友|用户)?评论(?:区)?|コメント|комментарии)\s*[:!.…»>]*\s*$",
    re.I,
)
"""Opens what readers say."""
_ONWARD = re.compile(
    r"^(?:(?:you )?(?:may|might) also (?:like|enjoy)\b.*|about (?:the author|us)"
    r"|related (?:articles?|posts?|stories|news|content)\b.*"
    r"|more (?:[\w’']+ ){0,3}(?:stories|news|articles|coverage|reading)\b.{0,40}"
    r"|similar (?:threads|products|items|questions)|(?:customers also|people also|recently) (?:viewed|bought|asked)\b.*"
    r"|voc[êe] pode gostar\b.*|das könnte (?:sie|dich) auch interessieren\b.*|à lire aussi\b.*|相关(?:阅读|文章|新闻|推荐)|猜你喜欢"
    r"|热门(?:文章|推荐|阅读)|推荐阅读|关于(?:作者|我们)|相似(?:主题|商品)|大家都在看|関連記事)\s*[:!.…»>]*\s*$",
    re.I,
)
"""Opens other stories, or what stands below every page of a site."""
_SEPARATED = re.compile(r"\s[|•·»›/]\s")
_LEAST_PROSE = 150
"""With fewer characters of prose the region is made of short lines (verse, lists, tables): they are all kept."""
_CLOSING = re.compile(
    r"^[\W_]*(?:(?:(?:additional |with )?(?:reporting|writing|editing|research)|edited|compiled|translated|photographs?) by\b.*"
    r"|.{3,160}\bcontributed (?:to (?:this|the) (?:report|story|article)|reporting)\b.{0,40}"
    r"|(?:follow|like|join|find) .{2,80}\bon (?:twitter|facebook|instagram|youtube|x|threads|linkedin|telegram)\b.*"
    r"|(?:subscribe to|sign up (?:for|to)|click here|download (?:the|our)|get the (?:latest|best|app|newsletter)) .{3,150}"
    r"|(?:listen to|watch) (?:live\b|.{2,60}\blive\b|now\b|the (?:full )?(?:video|interview|episode)).{0,100}"
    r"|this (?:article|story|post|piece) (?:was|has been|originally|first|is)\b.{5,200}"
    r"|(?:the )?post .{3,200} (?:first )?appeared (?:first )?on .{2,60}"
    r"|(?:updated|published|posted|first published|last modified)\b.{4,90}"
    r"|https?://\S+|[\w.+-]+@[\w.-]+\.\w+|(?:www\.)?[\w.-]+\.(?:com|org|net)/?\S*"
    r"|(?:copyright|©|\(c\)) .*|note: .{0,120}\b(?:comments?|moderat).*)\s*$",
    re.I,
)
"""What stands below a story: who helped, where to follow, where it appeared first."""
OTHER_STORIES, COMMENTS_OF_READERS = 3, 4
_CLOSING_BLOCKS = 6
_FLOWING = frozenset(
    TAG[name] for name in ("p", "li", "td", "th", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "dd", "dt", "blockquote")
)
_HEAD = frozenset(TAG[name] for name in ("h1", "h2", "h3", "h4", "h5", "h6"))
_LISTS = frozenset(TAG[name] for name in ("li", "dt", "dd"))
_CELLS = frozenset(TAG[name] for name in ("td", "th"))


def keep(scanned: Any, element: int, lead: int, dropped: Any, *, strict: bool) -> tuple[list[int], dict[int, Place]]:
    """Numbers of the blocks that are main text, in order, and where those in tables of data lie."""
    row = element * layout.EL_WIDTH
    inside, last = int(scanned.elements[row + layout.EL_FIRST]), int(scanned.elements[row + layout.EL_LAST])
    first = lead
    feature = scanned.feature[first * weigh.WIDTH : last * weigh.WIDTH]
    rows = np_rows(feature, weigh.WIDTH)
    pre = scanned.rows
    numbers = [n for n in range(first, last) if not dropped[n] and (n >= inside or rows[n - first][weigh.WEIGHT])]
    tables = places(scanned, numbers)
    worth: dict[int, int] = {}
    for n in numbers:
        f = rows[n - first]
        firm = n in tables or _has_formula(scanned, n)
        worth[n] = 2 if firm else _worth(scanned, n, f, int(pre[n * layout.B_WIDTH + layout.B_PRE]))
    numbers = numbers[: _end_of_story(numbers, worth, rows, first)]
    prose = sum(rows[n - first][weigh.SIZE] for n in numbers if worth[n] == 2)
    if strict:
        _judge_again(scanned, numbers, worth, rows, first, tables)
    considered = [n for n in numbers if worth[n] in (1, 2)]
    if prose < _LEAST_PROSE:
        return considered, tables
    return _between(scanned, considered, worth, rows, first, _named_body(scanned, element), tables), tables


def _judge_again(
    scanned: Any, numbers: list[int], worth: dict[int, int], rows: list[list[int]], first: int, tables: dict[int, Place]
) -> None:
    """The second look of `precise`: captions without a name, and what closes a story below its last paragraph."""
    for n in numbers:
        f = rows[n - first]
        pictured = scanned.rows[n * layout.B_WIDTH + layout.B_IMAGE] and f[weigh.TAG] not in _FLOWING
        pictured = pictured and n not in tables and not _has_formula(scanned, n)
        if worth[n] in (1, 2) and pictured and f[weigh.STOPS] < 2 and f[weigh.CHARS] < 200:
            worth[n] = 0
    for n in [n for n in numbers if worth[n] in (1, 2)][-_CLOSING_BLOCKS:]:
        if n not in tables and rows[n - first][weigh.CHARS] < 260 and _CLOSING.match(html.unescape(scanned.text_of(n))):
            worth[n] = 0


def _end_of_story(numbers: list[int], worth: dict[int, int], rows: list[list[int]], first: int) -> int:
    """Place of the first block that opens comments or other stories, once enough prose came before it and little follows.

    The same words stand between paragraphs, too, above a link or two: then the story goes on below.
    """
    opened = [place for place, n in enumerate(numbers) if worth[n] >= OTHER_STORIES]
    if not opened:
        return len(numbers)
    before, total = [], 0
    for n in numbers:
        before.append(total)
        total += rows[n - first][weigh.SIZE] if worth[n] == 2 else 0
    for place in opened:
        n = numbers[place]
        headed = worth[n] == COMMENTS_OF_READERS and rows[n - first][weigh.TAG] in _HEAD
        most = 4 if headed else 2 if worth[n] == COMMENTS_OF_READERS else 1
        if before[place] >= 2 * _LEAST_PROSE and total - before[place] <= most * before[place]:
            return place
    return len(numbers)


def _has_formula(scanned: Any, n: int) -> bool:
    if not len(scanned.special):
        return False
    row = n * layout.B_WIDTH
    return layout.MARK in scanned.text[scanned.rows[row + layout.B_START] : scanned.rows[row + layout.B_END]]


def _named_body(scanned: Any, element: int) -> bool:
    """Whether the region, or what wraps nothing but it, is named the body of an article: then its edges are content too."""
    elements = scanned.elements
    first, last = (
        elements[element * layout.EL_WIDTH + layout.EL_FIRST],
        elements[element * layout.EL_WIDTH + layout.EL_LAST],
    )
    e = element
    for _ in range(6):
        row = e * layout.EL_WIDTH
        wider = (elements[row + layout.EL_LAST] - elements[row + layout.EL_FIRST]) - (last - first)
        if wider > 4:
            return False
        if elements[row + layout.EL_HINTS] & BODY:
            return True
        if not e:
            return False
        e = int(elements[row + layout.EL_PARENT])
    return False


def np_rows(flat: Any, width: int) -> list[list[int]]:
    """Rows of a flat array as lists of numbers."""
    if isinstance(flat, list):
        return [flat[i : i + width] for i in range(0, len(flat), width)]
    rows: list[list[int]] = flat.reshape(-1, width).tolist()
    return rows


def _between(
    scanned: Any,
    numbers: list[int],
    worth: dict[int, int],
    rows: list[list[int]],
    first: int,
    whole: bool,
    tables: dict[int, Place],
) -> list[int]:
    """Blocks from the first prose to the last; a heading needs prose below it, a repeated line goes."""
    prose = [n for n in numbers if worth[n] == 2]
    kept: list[int] = []
    seen: set[str] = set()
    led = False
    for n in reversed(numbers):
        if not whole and not prose[0] <= n <= prose[-1]:
            continue
        tag = rows[n - first][weigh.TAG]
        if worth[n] == 2:
            led = True
        elif tag in _HEAD:
            if not led:
                continue
            led = True
        kept.append(n)
    kept.reverse()
    result = []
    for n in kept:
        if rows[n - first][weigh.SIZE] > weigh.SHORT and n not in tables:
            text = scanned.text_of(n)
            if text in seen:
                continue
            seen.add(text)
        result.append(n)
    return result


def _worth(scanned: Any, n: int, f: list[int], pre: int) -> int:
    """4 opens comments, 3 other stories, 2 prose, 1 may be a heading, list item or short paragraph, 0 furniture."""
    size, linked = f[weigh.SIZE], f[weigh.LINKED]
    if pre:
        return 2
    if f[weigh.CHARS] < 200:
        text = scanned.text_of(n)
        if _TALK.match(text):
            return COMMENTS_OF_READERS
        if _ONWARD.match(text):
            return OTHER_STORIES
        if _PHRASE.match(text):
            return 0
    else:
        text = ""
    if linked >= 70:
        return 0
    if f[weigh.LETTERS] < 2 or 10 * f[weigh.LETTERS] < 3 * (f[weigh.CHARS] - f[weigh.WORDS]):
        return 0
    if size < 240 and text and len(_SEPARATED.findall(text)) >= 2:
        return 0
    if f[weigh.TAG] in _HEAD:
        return 1
    if size >= weigh.LONG and linked < 50:
        return 2
    return 2 if size >= weigh.SHORT and linked < 30 and f[weigh.ENDS] else 1
