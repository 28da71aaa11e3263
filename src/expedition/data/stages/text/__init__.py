"""text: sound text told from junk by named rules, in every script.

Why a room: what counts as a sound document is a list of rules with thresholds, adapted to how each script is written.
Verbs (all that other rooms may call):
    measure(text) -> Measures           pure; counts that the rules read
    judge(text, kind, language) -> list[str]    names of the rules that the text breaks
    Quality(kinds, limits)              the stage
Seams: a rule is a row of `rules.RULES` (name, kinds, predicate); add a third by a row there.
Imports: data.stages.stage.  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing.
Invariants: no variety of the Universal Declaration loses more than 5 % [test_no_variety_loses_more_than_five_percent].
Read in this order:
    measures.py     what is counted, script by script
    rules.py        the table of rules, each with its kinds and source
    quality.py      the stage
Try: pytest tests/data/stages/test_text_quality.py
"""

from expedition.data.stages.text.measures import Measures, measure
from expedition.data.stages.text.quality import Quality
from expedition.data.stages.text.rules import RULES, Limits, Rule, judge

__all__ = ["RULES", "Limits", "Measures", "Quality", "Rule", "judge", "measure"]
