"""language: the language of a text as a BCP-47 tag, minority languages and Chinese varieties included.

Why a room: no single model knows all; here is the cascade that decides between them, and says "und" where none can.
Verbs (all that other rooms may call):
    identify(text) -> Guess             pure given the packaged models; tag, confidence 0..1, which step decided
    Language(kinds)                     the stage
Seams: a recogniser is a function text -> (tag, confidence) used in `cascade.py`.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.quality.
Reads / writes in the workspace: nothing. The models come inside the packages; nothing is fetched.
Invariants: Hans and Hant are told apart [test_simplified_and_traditional_are_told_apart]; a text without letters is
"und" [test_no_letters_is_undetermined].
Read in this order:
    scripts.py      which script a text is in, and the languages that own a script
    chinese.py      Hans or Hant; Cantonese, Wu, Min Nan, Hakka, Gan, Xiang by their own words
    models.py       the packaged recognisers, loaded once a process
    profiles.py     own character n-gram profiles for languages that the packages do not know
    tags.py         codes of the recognisers as BCP-47
    cascade.py      who is asked, in which order
    language.py     the stage
Try: pytest tests/data/stages/test_language.py
"""

from expedition.data.stages.language.cascade import Guess, identify
from expedition.data.stages.language.language import Language

__all__ = ["Guess", "Language", "identify"]
