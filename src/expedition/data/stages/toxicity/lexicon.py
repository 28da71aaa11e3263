"""The word lists and how they are found: whole words in spaced scripts, longest matches in Chinese."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from expedition.data.stages.toxicity.disguise import (
    chinese_variants,
    parts_of,
    plain_spellings,
    typo_table,
)
from expedition.errors import InputError

CATEGORIES: Final = (
    *("slur", "ambiguous", "dehumanise", "derogate", "hostile", "hate", "implied", "profanity", "group"),
    *("intent", "positive", "negation", "counter", "reclaim", "sense", "neutral"),
)
BIT: Final[Mapping[str, int]] = {name: 1 << place for place, name in enumerate(CATEGORIES)}
TRIGGERS: Final = sum(BIT[name] for name in CATEGORIES[:9])
"""A sentence without any of these is not looked at."""
_DISGUISABLE: Final = sum(
    BIT[name] for name in ("slur", "ambiguous", "dehumanise", "derogate", "hostile", "hate", "profanity", "group")
)
_NEUTRAL: Final = BIT["neutral"]
_NAMING: Final = BIT["group"] | BIT["slur"]
_TOKEN: Final = re.compile(r"[a-z0-9@$ß-ɏ][a-z0-9@$*!ß-ɏ]*(?:['_-][a-z0-9@$*!ß-ɏ]+)*")
_STEM_KEY: Final = 4
_JOINED_FROM: Final = 10
"""Letters from which a word that begins like a term may be two joined terms."""
_CACHED_WORDS: Final = 200_000
_WORD_END: Final = ("", "s", "es", "e", "en", "er", "n", "ed", "ing")


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding: place in the sentence (words; characters in Chinese), length there, category bits, term, disguised."""

    at: int
    size: int
    bits: int
    term: str
    disguised: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is to be read: plain spelling and category bits."""

    plain: str
    bits: int
    disguised: bool = False


@dataclass(frozen=True, slots=True)
class SpacedWords:
    """Terms of a language that writes spaces."""

    language: str
    exact: Mapping[str, int]
    stems: Mapping[str, tuple[tuple[str, int], ...]]
    """First four letters (fewer for shorter stems) to stems and their bits."""
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], bool, int], ...]]
    """First word to (all words, whether the last is a stem, bits), the longest first."""
    starts: frozenset[str]
    """First words of phrases that name a group or abuse; they may be disguised too."""
    typos: Mapping[str, str]
    common: frozenset[str]
    friends: frozenset[str]
    """Words of the language that look like a disguised term and are none."""
    cache: dict[str, tuple[Word, ...]] = field(default_factory=dict, compare=False)

    def bits(self, word: str) -> int:
        """Category bits of a plain word; 0 for words of no list."""
        found = self.exact.get(word, 0)
        for size in (_STEM_KEY, 3):
            for stem, bits in self.stems.get(word[:size], ()):
                if word.startswith(stem) and len(word) - len(stem) <= 12:
                    found |= bits
        return _NEUTRAL if found & _NEUTRAL else found

    def _is_term(self, part: str) -> bool:
        """Whether a part of joined words is a term that may be disguised, inflected at most."""
        if self.exact.get(part, 0) & _DISGUISABLE or part in self.starts:
            return True
        return any(
            bits & _DISGUISABLE and part.startswith(stem) and part[len(stem) :] in _WORD_END
            for size in (_STEM_KEY, 3)
            for stem, bits in self.stems.get(part[:size], ())
        )

    def read(self, token: str) -> tuple[Word, ...]:
        """The words that a token stands for; one, unless words were joined. Kept for the next time."""
        found = self.cache.get(token)
        if found is None:
            found = self._read(token)
            if len(self.cache) < _CACHED_WORDS:
                self.cache[token] = found
        return found

    def _read(self, token: str) -> tuple[Word, ...]:
        bits = self.bits(token)
        if bits and len(token) >= _JOINED_FROM and token not in self.friends and not self._is_term(token):
            parts = parts_of(token, self._is_term, self.common)
            if sum(map(self._is_term, parts)) > 1:
                return tuple(Word(part, self.bits(part), True) for part in parts)
        if bits or token in self.common or token in self.friends:
            return (Word(token, bits),)
        base = token.removesuffix("'s")
        if base != token:
            words = self.read(base)
            return words if any(word.bits or word.disguised for word in words) else (Word(token, 0),)
        if "-" in token or "_" in token:
            return tuple(word for piece in re.split("[-_]", token) if piece for word in self.read(piece))
        return self._undisguised(token) or (Word(token, 0),)

    def _undisguised(self, token: str) -> tuple[Word, ...]:
        token = token.strip("!*") or token
        for plain in (token, *plain_spellings(token)):
            bits = self.bits(plain)
            if bits & _DISGUISABLE or plain in self.starts:
                return (Word(plain, bits, True),)
            if plain != token and plain in self.typos:
                return (Word(self.typos[plain], self.bits(self.typos[plain]), True),)
        if "*" in token:
            return self._masked(token)
        word = self.typos.get(token)
        if word is not None:
            return (Word(word, self.bits(word), True),)
        parts = parts_of(token, self._is_term, self.common)
        return tuple(Word(part, self.bits(part), True) for part in parts)

    def _masked(self, token: str) -> tuple[Word, ...]:
        """A word with stars for letters ("f**k"): the first term of abuse that fits."""
        if sum(map(str.isalpha, token)) < 2:
            return ()
        pattern = re.compile("".join(r"\w" if letter == "*" else re.escape(letter) for letter in token) + r"\w{0,3}")
        abusive = BIT["slur"] | BIT["ambiguous"] | BIT["profanity"]
        stems = (pair for pairs in self.stems.values() for pair in pairs)
        for term, bits in sorted([*self.exact.items(), *stems]):
            if bits & abusive and pattern.fullmatch(term):
                return (Word(term, bits, True),)
        return ()

    def words(self, sentence: str) -> list[Word]:
        """The words of a folded sentence."""
        read = self.read
        return [word for token in _TOKEN.findall(sentence) for word in read(token)]

    def hits(self, words: Sequence[Word]) -> list[Hit]:
        """Terms in order; a phrase takes the place of its words where it is longer."""
        found: list[Hit] = []
        at, size = 0, len(words)
        while at < size:
            word = words[at]
            hit = self._phrase(words, at) if word.plain in self.phrases else None
            if hit is None and word.bits:
                hit = Hit(at, 1, word.bits, word.plain, word.disguised)
            if hit is not None and hit.bits != _NEUTRAL:
                found.append(hit)
            at += hit.size if hit is not None else 1
        return found

    def _phrase(self, words: Sequence[Word], at: int) -> Hit | None:
        following = words[at + 1].plain if at + 1 < len(words) else ""
        for terms, stem, bits in self.phrases[words[at].plain]:
            size = len(terms)
            # Nearly all phrases end here: the second word is another.
            if size > 1 and following != terms[1] and not (size == 2 and stem and following.startswith(terms[1])):
                continue
            if at + size > len(words) or any(words[at + k].plain != terms[k] for k in range(1, size - 1)):
                continue
            last = words[at + size - 1].plain
            if last == terms[-1] or (stem and last.startswith(terms[-1])):
                disguised = any(word.disguised for word in words[at : at + size])
                return Hit(at, size, bits, " ".join(terms), disguised)
        return None


@dataclass(frozen=True, slots=True)
class ChineseWords:
    """Terms of Chinese. Words that only look like a term stand among them with no bits, so that they win by length."""

    language: str
    terms: Mapping[str, int]
    variants: Mapping[str, str]
    """Homophone or pinyin spelling to its term."""
    lengths: Mapping[str, tuple[int, ...]]
    """First character to the lengths of terms and variants, the longest first."""
    components: Mapping[str, str]
    """Parts of a character, as characters, to the character."""
    taken_apart: re.Pattern[str]
    simplified: Mapping[int, str]

    def plain(self, sentence: str) -> str:
        """Simplified characters, and characters put together that were taken apart."""
        return self.taken_apart.sub(lambda match: self.components[match.group()], sentence.translate(self.simplified))

    def hits(self, sentence: str) -> list[Hit]:
        """Terms in order, the longest at each place. With components closed up only if that shows more."""
        plain = sentence.translate(self.simplified)
        found = self._scan(plain)
        if all(hit.disguised or not hit.bits & TRIGGERS for hit in found):
            # A homophone by itself is chance; beside a term that is written out, or an address, it is a disguise.
            addressed = any(sign in plain for sign in "你妳们这那")
            found = [hit for hit in found if addressed or not hit.disguised]
        together = self.plain(sentence)
        if together != plain:
            again = [
                Hit(hit.at, hit.size, hit.bits, hit.term, hit.disguised or hit.term not in plain)
                for hit in self._scan(together)
            ]
            if sum(bool(hit.bits & _DISGUISABLE) for hit in again) > sum(bool(h.bits & _DISGUISABLE) for h in found):
                return again
        return found

    def _scan(self, sentence: str) -> list[Hit]:
        found: list[Hit] = []
        lengths, terms, variants = self.lengths, self.terms, self.variants
        at, size = 0, len(sentence)
        while at < size:
            step = 1
            for length in lengths.get(sentence[at], ()):
                piece = sentence[at : at + length]
                term = piece if piece in terms else variants.get(piece)
                if term is not None:
                    step = length
                    if terms[term] & ~_NEUTRAL:
                        found.append(Hit(at, length, terms[term], term, term != piece))
                    break
            at += step
        return found


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All languages: those with spaces by name, and Chinese if the lexicon has it."""

    spaced: Mapping[str, SpacedWords]
    chinese: ChineseWords | None

    def languages(self) -> tuple[str, ...]:
        return (*self.spaced, *(("zh",) if self.chinese else ()))


def word_set(text: str) -> frozenset[str]:
    """The words of a text with spaces between."""
    return frozenset(text.split())


def compile_lexicon(words: Mapping[str, Any], disguises: Mapping[str, Any]) -> Lexicon:
    """Tables of a lexicon as read from JSON; keys that hold no categories are passed over.

    Raises InputError for a category that is none.
    """
    lists = {language: terms for language, terms in words.items() if isinstance(terms, dict)}
    for language, terms in lists.items():
        unknown = sorted(set(terms) - set(CATEGORIES))
        if unknown:
            raise InputError(
                f"{unknown[0]!r} is no category of a toxicity lexicon",
                where=language,
                fix=f"choose from: {', '.join(CATEGORIES)}",
            )
    spaced = {language: _spaced(language, terms, disguises) for language, terms in lists.items() if language != "zh"}
    return Lexicon(spaced, _chinese(lists["zh"], disguises) if "zh" in lists else None)


def _bits(lists: Mapping[str, Sequence[str]]) -> dict[str, int]:
    table: dict[str, int] = {}
    for category, terms in lists.items():
        for term in terms:
            table[term] = table.get(term, 0) | BIT[category]
    return table


def _listed(told: Mapping[str, Any], name: str) -> Sequence[str]:
    """Words of a list: a JSON list, or one string with spaces between."""
    words = told.get(name, ())
    return words.split() if isinstance(words, str) else list(words)


def _spaced(language: str, lists: Mapping[str, Sequence[str]], disguises: Mapping[str, Any]) -> SpacedWords:
    exact: dict[str, int] = {}
    stems: dict[str, list[tuple[str, int]]] = {}
    phrases: dict[str, list[tuple[tuple[str, ...], bool, int]]] = {}
    for term, bits in _bits(lists).items():
        stem, words = term.endswith("*"), tuple(_TOKEN.findall(term.rstrip("*").replace("-", " ")))
        if len(words) > 1:
            phrases.setdefault(words[0], []).append((words, stem, bits))
        elif stem:
            stems.setdefault(term[: min(_STEM_KEY, len(term) - 1)], []).append((term[:-1], bits))
        else:
            exact[term] = bits
    friends = frozenset(_listed(disguises.get("false_friends", {}), language))
    common = frozenset(_listed(disguises.get("common", {}), language))
    starts = frozenset(
        first for first, found in phrases.items() if len(first) > 4 and any(bits & _NAMING for _, _, bits in found)
    )
    return SpacedWords(
        language,
        exact,
        {key: tuple(found) for key, found in stems.items()},
        {key: tuple(sorted(found, key=lambda phrase: -len(phrase[0]))) for key, found in phrases.items()},
        starts,
        typo_table([*_disguisable(exact, stems), *starts], friends | common),
        common,
        friends,
    )


def _disguisable(exact: Mapping[str, int], stems: Mapping[str, Sequence[tuple[str, int]]]) -> Iterator[str]:
    yield from (word for word, bits in exact.items() if bits & _DISGUISABLE and len(word) > 2)
    for pairs in stems.values():
        for stem, bits in pairs:
            if bits & _DISGUISABLE:
                yield from (stem + end for end in _WORD_END if len(stem + end) > 3)


def _chinese(lists: Mapping[str, Sequence[str]], disguises: Mapping[str, Any]) -> ChineseWords:
    told = disguises.get("chinese", {})
    terms = {word: 0 for word in _listed(told, "false_friends")} | _bits(lists)
    variants: dict[str, str] = {}
    homophones = told.get("homophones", {})
    pinyin = {item[0]: item[1:] for item in _listed(told, "pinyin")}
    real = frozenset(_listed(told, "words"))
    for term, bits in terms.items():
        if bits & _DISGUISABLE:
            for variant in chinese_variants(term, homophones, pinyin):
                if variant not in terms and variant not in real:
                    variants.setdefault(variant, term)
    components: dict[str, str] = told.get("components", {})
    lengths: dict[str, set[int]] = {}
    for term in (*terms, *variants):
        lengths.setdefault(term[0], set()).add(len(term))
    return ChineseWords(
        "zh",
        terms,
        variants,
        {first: tuple(sorted(sizes, reverse=True)) for first, sizes in lengths.items()},
        components,
        re.compile("|".join(sorted(map(re.escape, components), key=lambda parts: (-len(parts), parts))) or r"(?!)"),
        str.maketrans(told.get("simplified", {})),
    )


@functools.cache
def packaged_lexicon() -> Lexicon:
    """The lexicon that comes with the package."""
    folder = importlib.resources.files(__package__)
    return compile_lexicon(
        json.loads((folder / "lexicon.json").read_text("utf-8")),
        json.loads((folder / "disguises.json").read_text("utf-8")),
    )
