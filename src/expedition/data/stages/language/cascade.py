"""Who is asked, in which order: script, then Chinese by its own words, then three recognisers that vote.

1. no letters → "und"; 2. Kana → Japanese; 3. Chinese characters → `chinese`; 4. lid.176, CLD2 and the own profiles name
candidates with probabilities, and the weighted sum decides; 5. a script that one language owns decides where they are
silent; 6. below the threshold "und".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from expedition.data.stages.language import chinese, models
from expedition.data.stages.language.profiles import packaged_profiles
from expedition.data.stages.language.scripts import SOLE_LANGUAGE, script_shares
from expedition.data.stages.language.tags import tag_of

MAX_CHARACTERS: Final = 3000
"""Characters of a text that are looked at."""
_NOISE: Final = re.compile(
    r"https?://[!-~]{1,400}|www\.[!-~]{1,400}|[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,63}\.[A-Za-z0-9.-]{1,63}"
    r"|[\d\ufffc_#*<>|=~^`\\/{}\[\]]+"
)
_SPACE: Final = re.compile(r"\s+")
_MIN_LETTERS: Final = 3
_WEIGHTS: Final = {"lid176": 1.0, "cld2": 0.9, "profiles": 0.9}
_UNKNOWING: Final = 0.2
"""Factor on the vote of a recogniser that does not know the language that the profiles name with some certainty."""
_CERTAIN: Final = 0.7
_AGREED: Final = 0.5
_THRESHOLD: Final = 0.30
"""Weighted sum below which no language is named."""
_LETTERS_A_CHARACTER: Final = {"Han": 3.0, "Kana": 2.0, "Hang": 2.0}
"""Letters that a character of a script stands for, when the main script of a mixed text is looked for."""
_FORMS_TEXT: Final = (
    "az:Cyrl=az-Cyrl uz:Cyrl=uz-Cyrl sr:Latn=sr-Latn ug:Latn=ug-Latn kk:Arab=kk-Arab bs:Cyrl=bs-Cyrl tk:Cyrl=tk-Cyrl "
    "ku:Arab=ckb ms:Arab=ms-Arab pa:Arab=pnb tt:Latn=tt-Latn "
    "ja:Latn=ja-Latn zh:Latn=zh-Latn hi:Latn=hi-Latn ru:Latn=ru-Latn"
)
_FORMS: Final = dict(pair.split("=") for pair in _FORMS_TEXT.split())
"""Tag for a language in a script that is not its usual one."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A BCP-47 tag ("und" if none is named), a confidence from 0 to 1, and the step that decided."""

    tag: str
    confidence: float
    by: str


UNDETERMINED: Final = Guess("und", 0.0, "none")


def identify(text: str) -> Guess:
    """The language of a text. Deterministic; looks at the first `MAX_CHARACTERS` characters."""
    sample = _SPACE.sub(" ", _NOISE.sub(" ", text[:MAX_CHARACTERS])).strip()
    shares = script_shares(sample)
    if sum(map(str.isalpha, sample)) < _MIN_LETTERS or not shares:
        return UNDETERMINED
    script = max(shares, key=lambda name: shares[name] * _LETTERS_A_CHARACTER.get(name, 1.0))
    if shares.get("Kana", 0.0) > 0.08 and script in ("Kana", "Han"):
        return Guess("ja", 0.99, "script")
    if script == "Han":
        return _chinese(sample)
    if script == "Latn" and chinese.is_romanised_min_nan(sample):
        return Guess("nan-Latn", 0.9, "own words")
    return _vote(sample, script)


def _chinese(sample: str) -> Guess:
    tag, confidence = chinese.identify_chinese(sample)
    if not tag.startswith("zh"):
        return Guess(tag, confidence, "own words")
    return Guess(tag, confidence, "own characters")


def _vote(sample: str, script: str) -> Guess:
    heard = {"lid176": _tagged(models.lid176(sample)), "cld2": _tagged(models.cld2(sample)), "profiles": ()}
    if not _is_settled(heard):
        heard["profiles"] = packaged_profiles().rank(sample, script)
    votes = _sum(heard)
    tag, weight = max(votes.items(), key=lambda item: (item[1], item[0]), default=("und", 0.0))
    if weight < _THRESHOLD:
        sole = SOLE_LANGUAGE.get(script)
        return Guess(sole, 0.6, "script") if sole else UNDETERMINED
    confidence = min(0.99, weight / sum(_WEIGHTS.values()))
    return Guess(_FORMS.get(f"{tag}:{script}", tag), round(confidence, 3), "vote")


def _sum(heard: dict[str, models.Ranked]) -> dict[str, float]:
    votes: dict[str, float] = {}
    for name, weight in _weights(heard).items():
        for tag, probability in heard[name]:
            votes[tag] = votes.get(tag, 0.0) + weight * probability
    return votes


def _is_settled(heard: dict[str, models.Ranked]) -> bool:
    """Whether lid.176 and CLD2 agree so clearly that the profiles, which take the most time, cannot outvote them."""
    if not _agree(heard):
        return False
    votes = sorted(_sum(heard).values(), reverse=True)
    return votes[0] - (votes[1] if len(votes) > 1 else 0.0) > _WEIGHTS["profiles"]


def _agree(heard: dict[str, models.Ranked]) -> bool:
    lid, cld = heard["lid176"], heard["cld2"]
    return bool(lid and cld) and lid[0][0] == cld[0][0] and lid[0][1] > _AGREED


def _tagged(ranked: models.Ranked) -> models.Ranked:
    return tuple((tag, probability) for code, probability in ranked if (tag := tag_of(code)) != "und")


def _weights(heard: dict[str, models.Ranked]) -> dict[str, float]:
    """The weights of the vote. A recogniser cannot name a language it does not know: where the profiles are certain of
    one, such a recogniser counts little, unless lid.176 and CLD2 agree with each other."""
    own = heard["profiles"]
    if _agree(heard) or not own or own[0][1] < _CERTAIN:
        return _WEIGHTS
    known = {"lid176": models.known_to_lid176(), "cld2": models.known_to_cld2()}
    return {
        name: weight * (_UNKNOWING if name in known and own[0][0] not in known[name] else 1.0)
        for name, weight in _WEIGHTS.items()
    }
