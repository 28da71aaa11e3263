"""A stage of one's own: drop documents that shout.

    python examples/custom_stage.py

A stage is a pure function on a batch of documents that says why it dropped each. In a package of your own, name it as an
entry point, install the package beside Expedition, and name the stage in the programme's `data.stages`:

    [project.entry-points."expedition.stages"]
    no_shouting = "your_package.no_shouting:NoShouting"
"""

from __future__ import annotations

import pyarrow as pa

from expedition.data.records import Document, document_batch
from expedition.data.stages.stage import Dropped, StageResult


class NoShouting:
    """Drops documents of which more than `share` of the letters are capitals."""

    name = "no_shouting"

    def __init__(self, kinds: frozenset[str], share: float = 0.7) -> None:
        self.kinds, self.share = kinds, share

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        rows = zip(batch["kind"].to_pylist(), batch["text"].to_pylist(), strict=True)
        shouts = [kind in self.kinds and self._shouts(text) for kind, text in rows]
        ids = batch["id"].to_pylist()
        dropped = tuple(Dropped(name, "shouting") for name, bad in zip(ids, shouts, strict=True) if bad)
        return StageResult(batch.filter(pa.array([not bad for bad in shouts])), dropped)

    def _shouts(self, text: str) -> bool:
        letters = [letter for letter in text if letter.isalpha()]
        return bool(letters) and sum(letter.isupper() for letter in letters) / len(letters) > self.share


if __name__ == "__main__":
    calm = Document("1", "demo", "web", "a.txt", "A calm page about two red circles.")
    loud = Document("2", "demo", "web", "b.txt", "BUY NOW, ONLY TODAY")
    print(NoShouting(frozenset({"web"}))(document_batch([calm, loud])).dropped)
