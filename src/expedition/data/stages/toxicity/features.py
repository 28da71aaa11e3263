"""What the linear model sees of a sentence: named features of its structure, and its skeleton in short sequences.

Every feature has a name, so a score can say what spoke for it. Structure: who is spoken of (a group, the reader, a person,
nobody), what is said, whether it is denied, quoted or denounced. Skeleton: the sentence with terms replaced by their
category and other content words by "_", cut into sequences of two and three. Neither knows a content word, so what
is learned on made sentences holds for others. A model may add character n-grams, hashed; see `character_features`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from expedition.data.stages.toxicity.lexicon import BIT, CATEGORIES, Hit, word_set
from expedition.data.stages.toxicity.reading import Reading

ABUSE: Final = ("slur", "ambiguous", "dehumanise", "derogate", "hostile", "hate", "implied", "profanity")
_ABUSE_BITS: Final = sum(BIT[name] for name in ABUSE)
_ORDER: Final = (
    *("slur", "ambiguous", "group", "dehumanise", "hate", "hostile", "derogate", "profanity"),
    *("counter", "negation", "implied", "positive", "intent", "sense", "reclaim"),
)
_LABEL: Final = tuple((BIT[name], name.upper()) for name in _ORDER)
_KEPT: Final = {
    "en": word_set(
        "a all an and any are as at be because been but by can do does for from had has have he her him"
        " his how i if in into is it its just like me my no not of on only or our she should so some"
        " such than that the their them then there these they this those to too us very was we were what"
        " when where which who why will with would you your i'm they're you're said says called call"
        " word am being"
    ),
    "de": word_set(
        "aber alle als also am an auch auf aus bei bin bist da das dass dem den der des die doch du ein"
        " eine einem einen einer er es euch für hat habe haben ich ihm ihn ihr im in ist ja kann man"
        " mich mir mit nach nur oder ob schon sein seid sich sie sind so sogar solche um und uns vom von"
        " war waren warum was weil wenn wer wie wir wird wurde wurden zu zum zur sollte sollten müssen"
        " diese dieser diesen sagt sagte nannte wort"
    ),
    "zh": frozenset("的是都这那我你他她们有没在像样一把被让比对和会就只应该吗呢人说叫为什么很最更也还得要谁不上"),
}
_REACH: Final = {"zh": 6}
_REACH_WORDS: Final = 4
_REACH_WORTH: Final = {"zh": 12}
_REACH_WORTH_WORDS: Final = 8
"""Worth and rights are denied from further away ("no … can ever be a valuable …")."""
_REACH_BACK: Final = {"de": 5}
"""German puts "nicht" behind the object: units after a term within which a negation still denies it."""
_NEAR: Final = {"zh": 14}
_NEAR_WORDS: Final = 9
_HASHED: Final = 1 << 16
_GRAMS: Final = (3, 4, 5)


def sentence_features(reading: Reading) -> dict[str, float]:
    """Named features of one sentence, all 0 or 1."""
    found = dict.fromkeys(_structure(reading), 1.0)
    found.update(dict.fromkeys(_sequences(reading), 1.0))
    return found


def character_features(sentence: str) -> dict[str, float]:
    """Hashed character n-grams (3 to 5) inside words, as `c<bucket>`; scaled to unit length."""
    grams: set[int] = set()
    for word in sentence.split():
        padded = f" {word[:40]} "
        for size in _GRAMS:
            grams.update(
                zlib.crc32(padded[at : at + size].encode()) % _HASHED for at in range(max(1, len(padded) - size + 1))
            )
    scale = len(grams) ** -0.5 if grams else 0.0
    return {f"c{bucket}": scale for bucket in grams}


def target_of(reading: Reading) -> str:
    """Whom the sentence is about: `group`, `linked` (a group of the sentence beside), `you`, `person` or `none`."""
    if reading.bits & (BIT["group"] | BIT["slur"]):
        return "group"
    if reading.linked:
        return "linked"
    return next((kind for kind in ("you", "person", "they") if kind in reading.pronouns), "none")


def _structure(reading: Reading) -> Iterator[str]:
    target = target_of(reading)
    places = {name: [hit for hit in reading.hits if hit.bits & BIT[name]] for name in CATEGORIES}
    for name, hits in places.items():
        if hits:
            yield name
            yield f"{name} @{target}"
        if len(hits) > 1:
            yield f"{name} twice"
    yield from (f"says {kind}" for kind in reading.pronouns)
    yield f"target {target}"
    yield f"length {_length(reading)}"
    if reading.question:
        yield "question"
    abusive = [hit for hit in reading.hits if hit.bits & _ABUSE_BITS]
    if not abusive:
        yield "no abuse"
        yield from (f"no abuse, {name}" for name in ("positive", "intent") if places[name])
    yield from _denied(reading, places, target)
    yield from _framed(reading, places, abusive)
    yield from _aimed(reading, places)
    if any(hit.disguised for hit in reading.hits):
        yield "disguised"
        yield f"disguised @{target}"


def _length(reading: Reading) -> str:
    words = reading.size / (2 if reading.language == "zh" else 1)
    return next((str(limit) for limit in (5, 10, 18, 30) if words <= limit), "more")


def _is_denied(hit: Hit, negations: list[Hit], language: str) -> bool:
    back = _REACH_BACK.get(language, 0)
    if hit.bits & BIT["positive"]:
        reach = _REACH_WORTH.get(language, _REACH_WORTH_WORDS)
    else:
        reach = _REACH.get(language, _REACH_WORDS)
    return any(0 < hit.at - other.at <= reach + other.size - 1 for other in negations) or any(
        0 < other.at - hit.at <= back for other in negations
    )


def _denied(reading: Reading, places: dict[str, list[Hit]], target: str) -> Iterator[str]:
    negations = places["negation"]
    for name in (*ABUSE, "positive"):
        hits = places[name]
        if not hits:
            continue
        denied = [_is_denied(hit, negations, reading.language) for hit in hits]
        if any(denied):
            yield f"denied {name}"
            yield f"denied {name} @{target}"
            if name == "positive" and not any(hit.bits & _ABUSE_BITS for hit in reading.hits):
                yield f"worth denied, no abuse @{target}"
        if not all(denied):
            yield f"plain {name} @{target}"
    hateful = [hit for name in ("dehumanise", "derogate", "hostile", "hate") for hit in places[name]]
    if hateful and all(_is_denied(hit, negations, reading.language) for hit in hateful):
        yield "all denied"


def _framed(reading: Reading, places: dict[str, list[Hit]], abusive: list[Hit]) -> Iterator[str]:
    if reading.quote:
        yield "quote"
    if abusive and any(hit.at in reading.quoted for hit in abusive):
        yield "abuse quoted"
        yield "abuse quoted, counter" if places["counter"] else "abuse quoted, no counter"
    if places["counter"] and abusive:
        yield "counter before" if places["counter"][0].at < abusive[0].at else "counter after"
        if reading.question:
            yield "counter question"
        if "me" in reading.pronouns:
            yield "counter me"
    if places["ambiguous"]:
        for name in ("reclaim", "sense", "positive", "group", "profanity", "derogate", "intent"):
            yield f"ambiguous {'with' if places[name] else 'without'} {name}"
        if "me" in reading.pronouns:
            yield "ambiguous me"
        at = places["ambiguous"][0].at
        yield f"ambiguous after {_kept(reading, at - 1)}"


def _aimed(reading: Reading, places: dict[str, list[Hit]]) -> Iterator[str]:
    near = _NEAR.get(reading.language, _NEAR_WORDS)
    groups = [*places["group"], *places["slur"], *places["ambiguous"]]
    for name in ("dehumanise", "derogate", "hostile", "hate", "implied", "profanity", "positive"):
        distances = [hit.at - group.at for hit in places[name] for group in groups if hit is not group]
        if not distances:
            continue
        close = min(distances, key=abs)
        yield f"{name} {'near' if abs(close) <= near else 'far from'} group"
        yield f"group {'before' if close > 0 else 'after'} {name}"
    if places["hostile"]:
        intent = any(-near <= hit.at - other.at <= near for hit in places["hostile"] for other in places["intent"])
        yield f"hostile {'with' if intent else 'without'} intent"
        if groups:
            yield f"hostile {'with' if intent else 'without'} intent, group"


def _kept(reading: Reading, at: int) -> str:
    if not 0 <= at < reading.size:
        return "^"
    return reading.plain[at] if reading.plain[at] in _KEPT.get(reading.language, ()) else "_"


def skeleton(reading: Reading) -> list[str]:
    """The sentence as categories, kept function words and "_" for the rest; repeats of "_" are one."""
    found, at = ["^"], 0
    starts = {hit.at: hit for hit in reading.hits}
    while at < reading.size:
        hit = starts.get(at)
        label = _kept(reading, at) if hit is None else next((name for bit, name in _LABEL if hit.bits & bit), "_")
        if label != found[-1]:
            found.append(label)
        at += hit.size if hit is not None else 1
    found.append("$")
    return found


def _sequences(reading: Reading) -> Iterator[str]:
    labels = skeleton(reading)
    for size in (2, 3):
        for at in range(len(labels) - size + 1):
            piece = labels[at : at + size]
            if any(label.isupper() for label in piece):
                yield f"{reading.language}:{' '.join(piece)}"
