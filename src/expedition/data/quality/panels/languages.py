"""Languages of a version, with dialects and minority languages as groups of their own."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from expedition.data.quality.panels.amounts import DOCUMENTS, NO_VERSION, VERSION, expanded, share
from expedition.data.quality.panels.holdings import Holdings
from expedition.data.quality.panels.panel import Column, Panel

CHINESE: Final = ("yue", "wuu", "nan", "hak", "gan", "hsn", "cdo", "cjy", "cpx", "czh", "czo", "mnp", "hnm", "lzh")
ARABIC: Final = ("apc", "ary", "arz", "acm", "acq", "acw", "aeb", "afb", "ajp", "apd", "ars", "ayl", "ayn", "shu")
GERMAN: Final = ("gsw", "bar", "nds", "pfl", "ksh", "swg", "vmf", "gmw", "sxu", "wae")
ITALIAN: Final = ("lmo", "vec", "nap", "scn", "pms", "lij", "egl", "rgn", "fur")
DIALECTS: Final = frozenset((*CHINESE, *ARABIC, *GERMAN, *ITALIAN))
"""ISO 639-3 codes of varieties that are written beside a large standard language."""
LARGE: Final = frozenset(
    ("en", "zh", "es", "fr", "de", "ja", "ru", "pt", "it", "ko", "ar", "hi", "id", "tr", "vi", "nl", "pl", "fa", "uk",
     "cs", "sv", "ro", "el", "hu", "th", "he", "bn", "ur", "da", "fi", "no", "nb", "ta", "te", "mr",
     "eng", "cmn", "zho", "spa", "fra", "deu", "jpn", "rus", "por", "ita", "kor", "ara", "arb", "hin", "ind", "tur",
     "vie", "nld", "pol", "fas", "pes", "ukr", "ces", "swe", "ron", "ell", "hun", "tha", "heb", "ben", "urd", "dan",
     "fin", "nor", "nob", "tam", "tel", "mar")
)  # fmt: skip
"""Languages with large corpora; every other named one counts as a minority language."""
GROUPS: Final = ("large", "dialect", "minority", "unknown")
_ENDONYM: Final = {
    "large": "large languages",
    "dialect": "dialects",
    "minority": "minority languages",
    "unknown": "undetermined",
}


def language_class(code: str | None) -> str:
    """One of `GROUPS` for a BCP-47 tag or an ISO 639-3 code; Chinese with a region's subtag stays large."""
    base, *rest = (code or "").replace("_", "-").lower().split("-")
    if base in ("und", "", "zxx", "mul", "mis"):
        return "unknown"
    # An extended subtag (zh-yue) or a private one (zh-x-wuhan) names a variety.
    if base in DIALECTS or "x" in rest or any(part in DIALECTS for part in rest):
        return "dialect"
    return "large" if base in LARGE else "minority"


def group_title(group: str) -> str:
    """A group's name for people."""
    return _ENDONYM[group]


def languages(held: Holdings) -> Panel:
    """Tokens, documents and share by version and language, largest first."""
    rows = []
    for version in held.versions:
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row in version.statistics:
            cell = sums[row["language"] or "und"]
            cell[0] += expanded(row)
            cell[1] += row["documents"]
        total = sum(tokens for tokens, _ in sums.values())
        rows += [
            {
                "version": version.version,
                "language": language,
                "group": language_class(language),
                "documents": documents,
                "expanded_tokens": tokens,
                "share": share(tokens, total),
            }
            for language, (tokens, documents) in sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
        ]
    return Panel(
        "languages",
        "Languages",
        "Share of expanded tokens by BCP-47 tag. Dialects are varieties beside a large standard language (yue, wuu, "
        "nan, arz, gsw …); minority languages are all other named ones without a large corpus; und is undetermined.",
        (
            VERSION,
            Column("language", "text", "BCP-47"),
            Column("group", "text", ", ".join(GROUPS)),
            DOCUMENTS,
            Column("expanded_tokens", "tokens"),
            Column("share", "share", "of the version's expanded tokens"),
        ),
        tuple(rows),
        NO_VERSION,
    )
