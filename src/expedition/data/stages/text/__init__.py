"""text: sound text told from junk by named rules, in every script.

Why a room: what counts as a sound document is a list of rules with thresholds, adapted to how each script is written.
Verbs (all that other rooms may call):
    measure(text) -> Measures           pure; counts that the rules read
    judge(text, kind, language) -> list[str]    names of the rules that the text breaks
    without_flagged_lines(text, measures, rules) -> Lines   the text without notices, counters, navigation
    train_quality(good, bad) -> QualityModel    a learned score; save_model, load_model keep it as one file
    train_quality_model(good, bad, out) -> card     the same over files
    Quality(kinds, limits, learned)     the stage; LearnedScore is a model with its threshold
Seams: a rule is a row of `rules.RULES` (name, paper, scripts, kinds, predicate); add a third by a row there.
Imports: data.stages.stage.  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing; a model is a file that the programme names.
Invariants: no variety of the Universal Declaration loses more than 5 % to any rule
    [test_no_variety_loses_more_than_five_percent]; the same texts make the same model
    [test_training_is_deterministic_whatever_the_order]; plain kernels measure the same [test_plain_kernels_measure_the_same].
Read in this order:
    characters.py   what each code point is, as a table
    scan.py         kernels: characters, words, lines, paragraphs, n-grams
    measures.py     what is counted, script by script
    repetition.py   n-grams that repeat
    limits.py       thresholds: adapted, and as published
    rules.py        the table of rules, each with its paper and scripts
    line_rules.py   lines that are no text
    learned.py      the learned score; training.py makes one from files
    quality.py      the stage
Try: pytest tests/data/stages/test_text_quality.py
"""

from expedition.data.stages.text.learned import QualityModel, load_model, save_model, train_quality
from expedition.data.stages.text.limits import Limits
from expedition.data.stages.text.line_rules import without_flagged_lines
from expedition.data.stages.text.measures import Measures, measure
from expedition.data.stages.text.quality import LearnedScore, Quality
from expedition.data.stages.text.rules import RULES, Rule, judge
from expedition.data.stages.text.training import train_quality_model

__all__ = [
    "RULES",
    "LearnedScore",
    "Limits",
    "Measures",
    "Quality",
    "QualityModel",
    "Rule",
    "judge",
    "load_model",
    "measure",
    "save_model",
    "train_quality",
    "train_quality_model",
    "without_flagged_lines",
]
