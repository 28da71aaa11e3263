"""language: the language of a text as a BCP-47 tag, minority languages and Chinese varieties included.

Why a room: no single model knows all; here is the cascade that decides between them, and says "und" where none can.
Verbs (all that other rooms may call):
    identify(text, model) -> Guess              pure given the models; tag, confidence 0..1, which step decided
    identify_many(texts, model) -> list[Guess]  the same for many texts at once, some hundred times as fast
    identify_documents(texts, model)            with shares by paragraph of mixed pages
    identify_file(source, out, model) -> dict   a tag a line; writes `out` aside first
    train_model(source, out, settings) -> dict  own profiles from labelled lines, and the model's card
    TrainingSettings                            how profiles are made
    Language(kinds)                             the stage
Seams: a recogniser is a function lines -> ranked tags used in `combine.py`; a fastText file by path.
Imports: errors, data.stages.stage, workspace.atomic.  Imported by: data.stages.catalogue, data.quality, cli.
Reads / writes in the workspace: nothing. The models come inside the packages; nothing is fetched.
Invariants: Hans and Hant are told apart [test_simplified_and_traditional_are_told_apart]; a text without letters is
"und" [test_no_letters_is_undetermined]; a text's guess does not depend on its neighbours
[test_a_guess_does_not_depend_on_its_neighbours]; the same lines train the same bytes
[test_the_same_lines_train_the_same_bytes].
Read in this order:
    scripts.py        scripts by their ranges, and the languages that own a script
    letters.py        letters, words and capitals of many lines at once
    undetermined.py   lines that are in no language
    chinese.py        Hans or Hant; Cantonese, Wu, Min Nan, Hakka, Gan, Xiang by their own words
    ngrams.py         character n-grams of many lines at once
    profiles.py       own n-gram profiles of some five hundred languages
    recognisers.py    lid.176, CLD2 and a fastText file of the user's
    tags.py           codes of the recognisers as BCP-47
    combine.py        profiles, lid.176 and CLD2 in one model
    cascade.py        who decides, cheapest first
    language.py       the stage
    files.py          a file of lines into a file of tags
    training.py       profiles from labelled lines
Try: expedition data identify-language --help; pytest tests/data/stages/test_language.py
"""

from expedition.data.stages.language.cascade import Guess, identify, identify_many
from expedition.data.stages.language.files import identify_file
from expedition.data.stages.language.language import Language, identify_documents
from expedition.data.stages.language.training import Settings as TrainingSettings
from expedition.data.stages.language.training import train_model

__all__ = [
    "Guess",
    "Language",
    "TrainingSettings",
    "identify",
    "identify_documents",
    "identify_file",
    "identify_many",
    "train_model",
]
