"""Lines that are no text: notices, counters, navigation. They are removed; a document that is mostly such is dropped.

From C4 (Raffel et al. 2020, section 2.2: lines on Javascript, on cookies and terms of use, without an end mark, of fewer
than 3 words) and RefinedWeb (Penedo et al. 2023, appendix G.2: upper case, digits alone, counters, one word, short lines of
navigation). `adapted` keeps the rules that are sure in every script and beside code, tables and headings; `published` has
all of them, those on end marks, case and words only for scripts that have these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from expedition.data.stages.text.limits import LineRules
from expedition.data.stages.text.measures import TERMINAL, Measures

_SCRIPT_NOTICE: Final = re.compile(
    r"(?:enable|activat\w+|turn on|requires?|need|without|support\w*|disabled?|aktivier\w+|activ\w+|habilit\w+|"
    r"включ\w+|启用|启动|开启|啟用|有効)"
    r"[^.\n]{0,60}javascript|javascript[^.\n]{0,60}(?:enabled?|disabled?|required|support\w*|aktivier\w+|deaktiviert|"
    r"désactivé|desactivado|"
    r"отключ\w+|启用|禁用|啟用|停用|有効|無効)",
    re.I,
)
_POLICY: Final = re.compile(
    r"terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|verwende[tn]? cookies|utilise des cookies|"
    r"utiliza cookies|использу\w+ (?:файлы )?cookie|"
    r"使用\s?cookie|隐私政策|隱私政策|用户协议|クッキーを使用",
    re.I,
)
_POLICY_WORDS: Final = 40
_COUNTER: Final = re.compile(
    r"[\W_]*\d[\d.,\s]*[kKmM+]?\s*(?:likes?|shares?|comments?|views?|replies|retweets?|followers?|votes?|ratings?|Kommentare?|Aufrufe|"
    r"commentaires?|vues|comentarios?|visitas|"
    r"просмотр\w*|комментари\w*|条评论|次浏览|次阅读|人点赞|个赞|則留言|件のコメント)[\W_]*"
    r"|(?:点赞|收藏|评论|阅读|浏览|转发|分享)\s*[(（]?\s*\d+\s*[)）]?",
    re.I,
)
_NAVIGATION: Final = re.compile(
    r"\W*(?:sign[- ]?in|sign[- ]?up|log[- ]?in|log[- ]?out|register|skip to (?:main )?content|back to top|"
    r"add to (?:cart|wish ?list)|"
    r"\d* ?items? in (?:your )?cart|share (?:this|on)[^.]{0,40}|follow us[^.]{0,40}|subscribe(?: now| to our newsletter)?|"
    r"load more|show more|"
    r"anmelden|registrieren|zum inhalt springen|nach oben|in den warenkorb|se connecter|s'inscrire|haut de page|ajouter au panier|"
    r"iniciar sesión|regístrate|volver arriba|añadir al carrito|войти|регистрация|наверх|в корзину|"
    r"登录|登入|注册|註冊|返回顶部|回到頂部|加入购物车|加入購物車|分享到[^。]{0,20}|ログイン|新規登録|トップへ戻る|カートに入れる)"
    r"(?:\s*[|/·•»>]\s*[\w\s-]{0,30})?\W*",
    re.I,
)
_CONTINUED: Final = re.compile(
    r".{0,120}(?:read more|learn more|continue reading|see more|weiterlesen|mehr lesen|lire la suite|leer más|читать далее|"
    r"阅读全文|閱讀全文|查看更多|続きを読む)\s*(?:\.{3}|…|→|»|>+)?\s*",
    re.I,
)
_NAVIGATION_WORDS: Final = 10
"""RefinedWeb: words of a short line."""
_LONGEST: Final = 400
"""Characters of the longest line that an adapted rule looks at."""
_LETTER: Final = re.compile(r"[^\W\d_]")
_PLACEHOLDER: Final = "\ufffc"
_POLICY_WORDING: Final = ("terms of use", "policy", "cookie", "隐私政策", "隱私政策", "用户协议", "クッキー")
_CONTINUED_WORDING: Final = (
    "read more",
    "learn more",
    "continue reading",
    "see more",
    "weiterlesen",
    "mehr lesen",
    "lire la suite",
    "leer más",
    "читать далее",
    "阅读全文",
    "閱讀全文",
    "查看更多",
    "続きを読む",
)


@dataclass(frozen=True, slots=True)
class Lines:
    """A text without the lines that were removed."""

    text: str
    removed: Counter[str]
    """Rule → lines."""
    flagged_word_share: float
    """Words in removed lines over all words."""


_WORDING: Final = {
    "script notices (C4)": ("javascript",),
    "policy notices (C4)": _POLICY_WORDING,
    "teasers (RefinedWeb)": _CONTINUED_WORDING,
}
"""A text without any of these, in lower case, has no line that breaks the rule."""

Broken = Callable[[str, int], bool]
"""`broken(line without space at its ends, words)`."""

ADAPTED: Final[dict[str, Broken]] = {
    "script notices (C4)": lambda line, words: words <= _POLICY_WORDS and _SCRIPT_NOTICE.search(line) is not None,
    "policy notices (C4)": lambda line, words: words <= _NAVIGATION_WORDS * 2 and _POLICY.search(line) is not None,
    "counters (RefinedWeb)": lambda line, words: words <= _NAVIGATION_WORDS and _COUNTER.fullmatch(line) is not None,
    "navigation (RefinedWeb)": lambda line, words: (
        words <= _NAVIGATION_WORDS and _NAVIGATION.fullmatch(line) is not None
    ),
    "teasers (RefinedWeb)": lambda line, words: (
        words <= _NAVIGATION_WORDS and len(line) < 200 and _CONTINUED.fullmatch(line) is not None
    ),
}
_MOST_WORDS: Final = {
    **dict.fromkeys(ADAPTED, _NAVIGATION_WORDS),
    "policy notices (C4)": _NAVIGATION_WORDS * 2,
    "script notices (C4)": _POLICY_WORDS,
}
"""Words of the longest line that an adapted rule looks at."""
PUBLISHED: Final[dict[str, Broken]] = {
    "script notices (C4)": lambda line, words: "javascript" in line.lower(),
    "policy notices (C4)": lambda line, words: _POLICY.search(line) is not None,
    "counters (RefinedWeb)": ADAPTED["counters (RefinedWeb)"],
    "navigation (RefinedWeb)": ADAPTED["navigation (RefinedWeb)"],
    "teasers (RefinedWeb)": ADAPTED["teasers (RefinedWeb)"],
    "digits alone (RefinedWeb)": lambda line, words: _LETTER.search(line) is None and any(map(str.isdigit, line)),
}
PUBLISHED_SPACED: Final[dict[str, Broken]] = {
    "no end mark (C4)": lambda line, words: not line.endswith(TERMINAL) or line.endswith(("...", "…")),
    "fewer than three words (C4)": lambda line, words: words < 3,
    "upper case (RefinedWeb)": lambda line, words: _mostly_upper(line),
}
"""Where words are set apart and ends of sentences are marked."""


def without_flagged_lines(text: str, measures: Measures, rules: LineRules) -> Lines:
    """Remove the lines that break a rule; never one with U+FFFC, nor a row of a table (tab or bar), nor an indented one."""
    if rules == "off":
        return Lines(text, Counter(), 0.0)
    plain = text.lower()
    table = dict(ADAPTED if rules == "adapted" else PUBLISHED)
    for rule, wording in _WORDING.items():
        if not any(part in plain for part in wording):
            del table[rule]
    if rules == "published" and measures.sentence_marks and measures.unspaced_share <= 0.3:
        table |= PUBLISHED_SPACED
    longest, most = (
        (len(text), len(text)) if rules == "published" else (_LONGEST, max(map(_MOST_WORDS.__getitem__, table)))
    )
    removed: Counter[str] = Counter()
    kept: list[str] = []
    flagged = 0
    spaced = measures.unspaced_share <= 0.3
    for line in text.split("\n"):
        kept.append(line)
        words = len(line.split()) if len(line) <= longest else 0
        if not 0 < words <= most or _kept_anyway(line):
            continue
        bare = line.strip()
        name = _first_broken(bare, words, table)
        if name is not None:
            kept.pop()
            removed[name] += 1
            flagged += words if spaced else len(bare)
    if not removed:
        return Lines(text, removed, 0.0)
    total = len(text.split()) if spaced else sum(len(line.strip()) for line in text.split("\n"))
    return Lines("\n".join(kept).strip("\n"), removed, flagged / max(total, 1))


def _kept_anyway(line: str) -> bool:
    return _PLACEHOLDER in line or "\t" in line or "|" in line or line.startswith("  ")


def _first_broken(line: str, words: int, table: dict[str, Broken]) -> str | None:
    for name, broken in table.items():
        if broken(line, words):
            return name
    return None


def _mostly_upper(line: str) -> bool:
    letters = _LETTER.findall(line)
    cased = [letter for letter in letters if letter.lower() != letter.upper()]
    return len(cased) >= 4 and sum(map(str.isupper, cased)) > len(cased) / 2
