"""What an approval's policy asks of the data: full use, minimal use, or anonymised."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.data.compliance.ledger import Entry
from expedition.errors import UsageError


@dataclass(frozen=True, slots=True)
class Handling:
    """What the build does with an approved source."""

    redact_pii: bool
    """Personal data is redacted whatever the source's own PII action says."""
    withhold: bool
    """URL, title, speaker and the like are not carried into the shards: only what training needs is."""
    share: float
    """Largest share of the source's documents that may be used, in (0, 1]."""


def handling(entry: Entry) -> Handling:
    """How to treat a source under `entry`.

    minimal-use is data minimisation: nothing but what training needs enters a shard. Its `policy_detail` may also name
    the largest share of documents that is used, a number in (0, 1]. Raises UsageError if it is anything else.
    """
    if entry.policy == "full":
        return Handling(redact_pii=False, withhold=False, share=1.0)
    if entry.policy == "anonymise":
        return Handling(redact_pii=True, withhold=True, share=1.0)
    return Handling(redact_pii=True, withhold=True, share=_share(entry))


def keeps(document_id: str, share: float) -> bool:
    """Whether a document falls into the used share: decided by its id alone, so every build agrees."""
    return int(document_id[:8], 16) < share * 2**32


def _share(entry: Entry) -> float:
    if entry.policy_detail is None:
        return 1.0
    try:
        share = float(entry.policy_detail)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise UsageError(
            f"policy detail {entry.policy_detail!r} of {entry.id} is no share",
            where=entry.source,
            fix="minimal-use takes a number above 0, at most 1: --policy-detail 0.1",
        )
    return share
