"""toxicity: hateful and abusive text scored by structure over lexicons in English, Chinese and German, or by your model.

Why a room: what is found in a text, how that adds up to a probability, and what is done about it, each in its place.
Verbs (all that other rooms may call):
    toxicity_score(text) -> Score           pure; calibrated 0..1 and what was found, by category
    explain(text) -> list[Finding]          sentence by sentence: terms by category, features that weighed most
    score_lines(input, output, model)       {text} lines to {score} lines, in order; writes the output whole or not at all
    train_lines(input, output) -> figures   labelled {text, label} lines to a model file
    resolve_classifier(name) -> Classifier  packaged, a model file, ONNX or an entry point of `expedition.toxicity`
    Toxicity(kinds, policy)                 the stage
Seams: Classifier (classifier.py: texts to probabilities): packaged, linear file, ONNX, entry point `expedition.toxicity`.
Imports: errors, data.stages.stage.  Imported by: data.stages.catalogue, data.quality.  Optional extra: expedition[onnx].
Reads / writes in the workspace: nothing.
Invariants: words count whole, never inside others [test_words_are_matched_whole]; a disguise does not hide a term
[test_disguises_do_not_hide_a_term]; sound texts stay below the threshold [test_sound_texts_stay_below_the_threshold].
Read in this order:
    disguise.py     look-alike letters, leet, typos, joined and spelled-out words, Chinese variants
    lexicon.py      the word lists and how they are found
    reading.py      a sentence as what was found in it
    features.py     what the linear model sees
    model.py        the linear model: predict, train, file
    examples.py     made sentences for the packaged model
    score.py        text to probability, and why
    classifier.py   models of others
    lines.py        files of lines in and out
    toxicity.py     the stage and the policy by source
Try: expedition data toxicity --help; pytest tests/data/stages/test_toxicity.py
"""

from expedition.data.stages.toxicity.classifier import Classifier, resolve_classifier
from expedition.data.stages.toxicity.lines import score_lines, train_lines
from expedition.data.stages.toxicity.score import Finding, Score, explain, toxicity_score
from expedition.data.stages.toxicity.toxicity import Toxicity, ToxicityPolicy

__all__ = [
    "Classifier",
    "Finding",
    "Score",
    "Toxicity",
    "ToxicityPolicy",
    "explain",
    "resolve_classifier",
    "score_lines",
    "toxicity_score",
    "train_lines",
]
