"""The sources of a sample: what each is, who should approve it, and since which dataset version it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text.tongues import TONGUES

Work = Callable[[Order], Parcel]


@dataclass(frozen=True, slots=True)
class SourceCard:
    """What sources.yaml says about one source."""

    name: str
    kind: str
    licence: str | None
    languages: tuple[str, ...] = ("en",)
    approve: bool = True
    disputed: bool = False
    policy: str = "full"
    reason: str = ""
    since: str = "v0.1"
    manifest: str | None = None
    """File of the source that holds a line for each item, if it has one."""

    @property
    def wave(self) -> int:
        """1 for the first dataset version, 2 for what joins later."""
        return 1 if self.since == "v0.1" else 2

    def entry(self) -> dict[str, Any]:
        """The value under the source's name."""
        return {
            "kind": self.kind,
            "licence": self.licence,
            "languages": list(self.languages),
            "approval": "approve" if self.approve else "refuse",
            "policy": self.policy,
            "reason": self.reason,
            "disputed": self.disputed,
            "since": self.since,
            "wave": self.wave,
        }


_ALL_LANGUAGES = ("en", *(tongue.tag for tongue in TONGUES))
_OWN = "made for this sample world"

SOURCES: tuple[SourceCard, ...] = (
    SourceCard("common_crawl", "web", "CC-BY-4.0", _ALL_LANGUAGES, reason=_OWN),
    SourceCard("github_code", "code", None, ("en",), reason="licence differs by repository", manifest="licenses.jsonl"),
    SourceCard("books", "books", "CC0-1.0", ("en", "zh"), reason=_OWN),
    SourceCard("image_text", "image-text", "CC-BY-4.0", reason=_OWN, manifest="captions.jsonl"),
    SourceCard("video_text", "video-text", "CC-BY-4.0", reason=_OWN, manifest="videos.jsonl"),
    SourceCard(
        "audio_text",
        "audio-text",
        "CC-BY-SA-4.0",
        disputed=True,
        policy="minimal-use",
        reason="speakers agreed to research use only",
        manifest="transcripts.jsonl",
    ),
    SourceCard("driving", "driving", "CC-BY-4.0", reason=_OWN, manifest="scenes.jsonl"),
    SourceCard("synthetic", "synthetic", "CC0-1.0", reason=_OWN),
    SourceCard("scraped_forum", "web", None, approve=False, disputed=True, reason="scraped without permission"),
    SourceCard("common_crawl_2", "web", "CC-BY-4.0", _ALL_LANGUAGES, reason=_OWN, since="v0.2"),
    SourceCard("image_text_2", "image-text", "CC-BY-4.0", reason=_OWN, since="v0.2", manifest="captions.jsonl"),
)


def items_of(card: SourceCard, size: SampleSize) -> int:
    """Items that the source holds at a size (repositories for code)."""
    counts = {
        "web": size.pages,
        "code": size.repositories,
        "books": size.books,
        "image-text": size.pictures,
        "video-text": size.clips,
        "audio-text": size.utterances,
        "driving": size.drives,
        "synthetic": size.notes,
    }
    if card.name == "scraped_forum":
        return size.threads
    return int(counts[card.kind] * (1 if card.wave == 1 else size.second_wave))
