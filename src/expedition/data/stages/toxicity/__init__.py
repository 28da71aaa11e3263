"""toxicity: hateful and abusive text scored by a compact lexicon in English, Chinese and German.

Why a room: the lexicon and the way that words add up to a score live here, apart from what is done about it.
Verbs (all that other rooms may call):
    toxicity_score(text) -> Score       pure; 0..1 and what was found, by category
    Toxicity(kinds, policy)             the stage
Seams: the lexicon is a JSON file of the same shape as `lexicon.json`; a policy may name another.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.quality.
Reads / writes in the workspace: nothing.
Invariants: words count whole, never inside others [test_words_are_matched_whole].
Read in this order:
    lexicon.py      the word lists and their patterns
    score.py        sentence by sentence to one score
    toxicity.py     the stage and the policy by source
Try: pytest tests/data/stages/test_toxicity.py
"""

from expedition.data.stages.toxicity.score import Score, toxicity_score
from expedition.data.stages.toxicity.toxicity import Toxicity, ToxicityPolicy

__all__ = ["Score", "Toxicity", "ToxicityPolicy", "toxicity_score"]
