"""What a caption is worth: pure rules on its words, which know scripts without spaces."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_FILE_NAME: Final = re.compile(
    r"^(?:img|dsc|dscn|dcim|image|photo|picture|screenshot|untitled|scan|mvimg|pxl|p)?[\s_()\d.-]*"
    r"(?:\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic))?$"
    r"|^[\w()\[\]%+~-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|svg)$",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"^(?:https?://|www\.)\S+$|^\S+@\S+\.\w+$", re.IGNORECASE)
_EMPTY_TEXT: Final = (
    "image images picture pictures photo photos photograph img thumbnail thumb logo icon banner null none nan n/a alt "
    "caption untitled undefined placeholder loading avatar figure 图片 照片 图像 插图 图 無題 画像 写真 이미지 사진 bild foto "
    "abbildung imagen imagem immagine изображение фото картинка صورة"
)
_EMPTY_WORDS: Final = frozenset(_EMPTY_TEXT.split())
_LEAD: Final = re.compile(
    r"^(?:(?:this|here|the following)\s+(?:is|shows)\s+)?(?:an?|the|some)?\s*(?:close[- ]?up\s+)?"
    r"(?:image|picture|photo|photograph|illustration|screenshot|graphic|figure|stock photo|file photo)\s*"
    r"(?:of|by|from|for|credit|courtesy(?: of)?|shows|showing|source|may contain|\d+(?:\s*(?:of|/)\s*\d+)?|:)*\s*[:.\-–—]*\s*",
    re.IGNORECASE,
)
_PHRASES: Final = re.compile(
    r"^(?:click|tap|press|hover)(?: here| on)?\b.{0,40}\b(?:enlarge|zoom|view|expand|larger|bigger|image|photo)\b.{0,30}$"
    r"|^(?:view|see|show|open) (?:full[- ]?size|larger|original|gallery|image|photo|more).{0,30}$"
    r"|^no (?:description|caption|alt(?:ernative)? text|image|photo)(?: (?:is )?available| provided)?\W*$"
    r"|^(?:image|photo|picture|file)(?: is)? (?:not found|unavailable|coming soon|missing|removed)\W*$"
    r"|^(?:share|pin|follow) (?:this |us )?(?:on|it|post|image).{0,30}$"
    r"|^(?:点击|點擊).{0,6}(?:放大|查看|看大).{0,6}$|^(?:暂无|暫無|没有|沒有)(?:图片|圖片|描述|说明)$",
    re.IGNORECASE,
)
_SPACELESS: Final = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_WORD: Final = re.compile(r"[^\W_]+(?:[\u0300-\u036f'’-][^\W_]+)*")

MIN_LETTERS: Final = 3
MIN_LETTER_SHARE: Final = 0.4
STUFFED_WORDS: Final = 12
STUFFED_DISTINCT: Final = 0.35
STUFFED_LOOK: Final = 40
"""Words looked at: the share of different ones falls with the length of any text."""


def caption_fault(caption: str) -> str | None:
    """Why a caption is of no use, or None: the reasons that `ImageFilter` names."""
    if says_nothing(caption):
        return "caption says nothing"
    if _ADDRESS.match(caption):
        return "caption is an address"
    if _PHRASES.match(caption) or says_nothing(_LEAD.sub("", caption, count=1)):
        return "caption is boilerplate"
    if _letter_share(caption) < MIN_LETTER_SHARE:
        return "caption is mostly symbols"
    if _stuffed(caption):
        return "caption repeats itself"
    return None


def says_nothing(caption: str, min_characters: int = MIN_LETTERS) -> bool:
    """Whether a caption is a file name, a lone generic word or too short. One Chinese character is a word."""
    plain = caption.strip().strip(".:!…-–— ").strip()
    letters = sum(map(str.isalnum, plain)) + 2 * len(_SPACELESS.findall(plain))
    if letters < min_characters:
        return True
    return plain.lower() in _EMPTY_WORDS or _FILE_NAME.match(plain) is not None


def words_in(text: str) -> float:
    """Words of a text; in scripts without spaces two characters count as one."""
    dense = len(_SPACELESS.findall(text))
    return len(_WORD.findall(_SPACELESS.sub(" ", text))) + dense / 2


def shares_a_word(caption: str, other: str) -> bool:
    """Whether two texts on one picture have a word of four letters, or two characters without spaces, in common."""
    return not _telling(caption).isdisjoint(_telling(other))


def _telling(text: str) -> set[str]:
    folded = text.casefold()
    words = {word.rstrip("s")[:6] for word in _WORD.findall(_SPACELESS.sub(" ", folded)) if len(word) >= 4}
    return words | {folded[at : at + 2] for at in range(len(folded) - 1) if _SPACELESS.match(folded[at : at + 2])}


def _letter_share(text: str) -> float:
    """Share of letters, marks and numbers among what is no space: marks are letters' parts in Indic and Thai scripts."""
    shown = [character for character in text if not character.isspace()]
    return sum(unicodedata.category(character)[0] in "LMN" for character in shown) / max(1, len(shown))


def _stuffed(text: str) -> bool:
    """Whether a caption is a few words over and over, as pages do that are written for search machines."""
    words = _WORD.findall(text.casefold())[:STUFFED_LOOK]
    return len(words) >= STUFFED_WORDS and len(set(words)) / len(words) < STUFFED_DISTINCT
