"""Lists of names, places and words, out of packages whose licences allow a model made from them to be shipped.

Faker (MIT): given and family names, towns, countries, occupations. The time zone database (public domain): cities of
the world. pyspellchecker (MIT): frequent English words. The language's own documentation (PSF licence): plain prose.
jieba (MIT): Chinese words with their classes. Needed for training only: `pip install 'expedition-programme[names-training]'`.
"""

from __future__ import annotations

import gzip
import json
import pkgutil
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from expedition.errors import MissingExtra

_LATIN: Final = re.compile(r"[^\W\d_]+(?:[ '’.\-][^\W\d_]+)*\.?")
_NOT_LATIN: Final = re.compile(r"[\u0370-\u1dff\u2c00-\uffff]")
_WORDS_KEPT: Final = 300
"""Occurrences in the package's corpus that make a word of English frequent."""


@dataclass(frozen=True, slots=True)
class NameSources:
    """Sorted lists without doubles."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    places: tuple[str, ...]
    countries: tuple[str, ...]
    jobs: tuple[str, ...]
    words: tuple[str, ...]
    prose: tuple[str, ...]
    chinese_surnames: tuple[str, ...]
    chinese_given: tuple[str, ...]
    chinese_words: tuple[str, ...]
    chinese_weights: tuple[int, ...]


def name_sources() -> NameSources:
    """Read the packages. Raises MissingExtra if one is missing."""
    try:
        return _read()
    except ImportError as error:
        raise MissingExtra(
            f"{error.name} is not installed",
            fix="pip install 'expedition-programme[names-training]' (Faker, pyspellchecker, jieba)",
        ) from error


def _read() -> NameSources:
    people = _faker_lists("person")
    addresses, jobs = _faker_lists("address"), import_module("faker.providers.job").Provider.jobs
    first = _latin(item for name, items in people if "first_name" in name for item in items)
    last = _latin(item for name, items in people if "last_name" in name for item in items)
    towns = _latin(
        item
        for name, items in addresses
        if re.search(r"^(?:cities|city|towns|municip|states|state|provinces|regions|villages)", name)
        for item in items
    )
    countries = _latin(item for name, items in addresses if name.startswith("countr") for item in items)
    zones = {zone.rpartition("/")[2].replace("_", " ") for zone in zoneinfo.available_timezones() if "/" in zone}
    words, weights, given = _chinese()
    return NameSources(
        first=tuple(sorted(first)),
        last=tuple(sorted(last)),
        places=tuple(sorted(towns | {zone for zone in zones if zone.isascii() and not re.search(r"[\dA-Z]{2}", zone)})),
        countries=tuple(sorted(countries)),
        jobs=tuple(sorted(jobs)),
        words=_frequent_words(),
        prose=_prose(),
        chinese_surnames=_chinese_surnames(),
        chinese_given=given,
        chinese_words=words,
        chinese_weights=weights,
    )


def _faker_lists(provider: str) -> list[tuple[str, list[str]]]:
    """(attribute, strings) of all locales of a provider."""
    package = import_module(f"faker.providers.{provider}")
    found = []
    for module in sorted(item.name for item in pkgutil.iter_modules(package.__path__)):
        # Languages in other scripts carry Latin forms too.
        owner = import_module(f"faker.providers.{provider}.{module}").Provider
        for name in sorted(vars(owner)):
            found.append((name, _strings(getattr(owner, name))))
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = list(value)
    if not isinstance(value, (list, tuple, set, frozenset)):
        return []
    flat = [item[0] if isinstance(item, (tuple, list)) and item else item for item in value]
    return sorted({item for item in flat if isinstance(item, str)})


def _latin(items: Iterable[str]) -> set[str]:
    return {
        item.strip()
        for item in items
        if _LATIN.fullmatch(item.strip())
        and not _NOT_LATIN.search(item)
        and 2 <= len(item.strip()) <= 30
        and item[0].isupper()
    }


def _frequent_words() -> tuple[str, ...]:
    package = import_module("spellchecker")
    data = gzip.decompress((Path(str(package.__file__)).parent / "resources" / "en.json.gz").read_bytes())
    counts: dict[str, int] = json.loads(data)
    return tuple(sorted(word for word, count in counts.items() if count >= _WORDS_KEPT and word.isalpha()))


def _prose() -> tuple[str, ...]:
    """Sentences and lines of the language's documentation, without code."""
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    text = "\n".join(topics[name] for name in sorted(topics))
    paragraphs = [re.sub(r"\s+", " ", part).strip() for part in text.split("\n\n")]
    return tuple(part for part in paragraphs if 40 <= len(part) <= 400 and part[0].isupper() and part.endswith("."))


def _chinese_surnames() -> tuple[str, ...]:
    provider = import_module("faker.providers.person.zh_CN").Provider
    return tuple(sorted({name for name in _strings(provider.last_names) if 1 <= len(name) <= 2}))


def _chinese() -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Words with their frequencies, and given names out of the class of personal names."""
    path = Path(str(import_module("jieba").__file__)).parent / "dict.txt"
    surnames = set(_chinese_surnames())
    provider = import_module("faker.providers.person.zh_CN").Provider
    given, words = set(_strings(provider.first_names)), {}
    for line in path.read_text("utf-8").splitlines():
        word, count, kind = line.split(" ")
        if not re.fullmatch("[\u4e00-\u9fff]{1,4}", word):
            continue
        if kind in ("nr", "nrfg"):
            if len(word) in (2, 3) and word[0] in surnames and word[:2] not in surnames:
                given.add(word[1:])
        elif kind[0] in "nvadtsl" and kind not in ("nrt", "ng", "zg") and int(count) >= 20:
            words[word] = int(count)
    ordered = sorted(words)
    return tuple(ordered), tuple(int(words[word] ** 0.75) + 1 for word in ordered), tuple(sorted(given))
