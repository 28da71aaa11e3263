"""The word lists: patterns by category, whole words in spaced scripts, substrings in Chinese."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ABUSE: Final = ("slur", "dehumanise", "derogate", "hostile", "hate", "profanity", "group")
"""Categories of which one must be there before a sentence is looked at closely."""
CONTEXT: Final = ("intent", "positive", "negation", "counter")
CATEGORIES: Final = (*ABUSE, *CONTEXT)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One pattern for each language and category; `any_term` matches where one of `ABUSE` does."""

    patterns: Mapping[str, Mapping[str, re.Pattern[str]]]
    any_term: Mapping[str, re.Pattern[str]]

    def languages(self) -> tuple[str, ...]:
        return tuple(self.patterns)


def compile_lexicon(words: Mapping[str, Any]) -> Lexicon:
    """Patterns of a lexicon as read from JSON; keys that hold no categories are passed over."""
    patterns = {
        language: {category: _pattern(lists[category], language) for category in CATEGORIES}
        for language, lists in words.items()
        if isinstance(lists, dict)
    }
    any_term = {
        language: _pattern([term for category in ABUSE for term in words[language][category]], language)
        for language in patterns
    }
    return Lexicon(patterns, any_term)


def _pattern(terms: list[str], language: str) -> re.Pattern[str]:
    ordered = sorted(terms, key=lambda term: (-len(term), term))
    if language == "zh":
        return re.compile("|".join(re.escape(term) for term in ordered))
    alternatives = (re.escape(term[:-1]) + r"\w{0,12}" if term.endswith("*") else re.escape(term) for term in ordered)
    return re.compile(r"(?<!\w)(?:" + "|".join(alternatives) + r")(?!\w)")


@functools.cache
def packaged_lexicon() -> Lexicon:
    """The lexicon that comes with the package."""
    text = (importlib.resources.files(__package__) / "lexicon.json").read_text("utf-8")
    return compile_lexicon(json.loads(text))
