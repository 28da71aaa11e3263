"""What an approval's policy asks of the data: full use, minimal use within caps, or anonymised by named stages.

A cap keeps the documents with the smallest ids. An id is a content hash, so which documents these are has nothing to
do with the order of work, and a smaller cap always keeps a subset of what a larger one keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from expedition.errors import UsageError

if TYPE_CHECKING:
    from expedition.data.compliance.ledger import Entry

Policy = Literal["full", "minimal-use", "anonymise"]
POLICIES: tuple[Policy, ...] = ("full", "minimal-use", "anonymise")
STRICTNESS = {"full": 0, "minimal-use": 1, "anonymise": 2}
ANONYMISE_STAGES = ("pii",)
"""What an anonymise approval asks for when it names no stages."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be used of a source; None: no such bound."""

    share: float | None = None
    """Part of its documents, in (0, 1]."""
    documents: int | None = None
    tokens: int | None = None
    """Stored tokens, as the version's tokenizer counts them."""
    bytes: int | None = None
    """Bytes of text (UTF-8) and media."""

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def told(self) -> str:
        """The bounds in words."""
        return ", ".join(f"{name} ≤ {value:g}" for name, value in asdict(self).items() if value is not None) or "none"


def parse_caps(parts: Iterable[str]) -> Caps:
    """Caps from what a person types: `share=0.1`, `documents=1000`, `tokens=1e9`, `bytes=5e10`. Raises UsageError."""
    found: dict[str, float] = {}
    for part in parts:
        name, _, text = part.partition("=")
        try:
            found[name.strip()] = float(text)
        except ValueError:
            raise UsageError(f"cap {part!r} has no number", fix="write --cap share=0.1 or --cap tokens=1e9") from None
    return caps_of(found)


def caps_of(values: Mapping[str, float | None]) -> Caps:
    """Checked caps. Raises UsageError for an unknown name, a share outside (0, 1] or a bound below 1."""
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if name not in Caps.__slots__:
            raise UsageError(f"there is no cap {name!r}", fix=f"known: {', '.join(Caps.__slots__)}")
        if name == "share" and not 0.0 < value <= 1.0:
            raise UsageError(f"share {value:g} is outside (0, 1]", fix="write --cap share=0.1")
        if name != "share" and (value < 1 or value != int(value)):
            raise UsageError(f"cap {name} of {value:g} is no whole number above 0", fix=f"write --cap {name}=1000")
    share = given.pop("share", None)
    return Caps(share=share, **{name: int(value) for name, value in given.items()})


@dataclass(frozen=True, slots=True)
class Handling:
    """What the build does with an approved source."""

    redact_pii: bool
    """Personal data is redacted whatever the source's own PII action says."""
    withhold: bool
    """URL, title, speaker and the like are not carried into the shards: only what training needs is."""
    caps: Caps = Caps()
    """The most that may be used."""
    stages: tuple[str, ...] = ()
    """Stages that every document of the source must pass; one of a kind whose list lacks one of them is left out."""

    @property
    def share(self) -> float:
        """Largest share of the source's documents that may be used, in (0, 1]."""
        return 1.0 if self.caps.share is None else self.caps.share


def handling(entry: Entry) -> Handling:
    """How to treat a source under `entry`.

    minimal-use is data minimisation: nothing but what training needs enters a shard, within the entry's caps.
    anonymise: besides, the named stages must run for each of its documents.
    """
    if entry.policy == "full":
        return Handling(redact_pii=False, withhold=False)
    if entry.policy == "anonymise":
        return Handling(redact_pii=True, withhold=True, caps=entry.caps, stages=entry.stages or ANONYMISE_STAGES)
    return Handling(redact_pii=True, withhold=True, caps=entry.caps)


def keeps(document_id: str, share: float) -> bool:
    """Whether a document falls into the used share: decided by its id alone, so every build agrees."""
    return int(document_id[:8], 16) < share * 2**32


def missing_stages(required: Sequence[str], stages: Sequence[str]) -> list[str]:
    """The required stages that a kind's stage list lacks."""
    return [name for name in required if name not in stages]


def looser(used: Entry, now: Entry) -> list[str]:
    """In what the approval that something was built under allows more than the one now in force; empty: in nothing."""
    more: list[str] = []
    if STRICTNESS[used.policy] < STRICTNESS[now.policy]:
        more.append(f"policy {used.policy}, now {now.policy}")
    for name, bound in asdict(now.caps).items():
        before = getattr(used.caps, name)
        if bound is not None and (before is None or before > bound):
            more.append(f"{name} cap {'none' if before is None else format(before, 'g')}, now {bound:g}")
    lacking = missing_stages(now.stages, used.stages)
    if lacking:
        more.append(f"without the stages {', '.join(lacking)}")
    return more
