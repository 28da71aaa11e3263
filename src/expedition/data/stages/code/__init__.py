"""code: source files judged by licence, by whether a person wrote them, and by secrets they hold.

Why a room: code is judged as code: prose rules would delete it.
Verbs (all that other rooms may call):
    licence_of(text) -> Licence | None      SPDX id and class, from a header or a licence text
    repository_licence(files) -> Licence | None   from the licence files of a repository
    machine_made(path, text) -> str | None  why a file counts as generated, minified, vendored or data
    find_secrets(text) -> list[Secret]      keys, tokens, passwords
    CodeLicence(kinds), CodeFile(kinds), CodeSecrets(kinds)     the stages
Seams: a licence is a row of the tables in `licence.py`.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.sources (repository_licence).
Reads / writes in the workspace: nothing.
Invariants: a file without a licence is not trained on [test_no_licence_is_refused].
Read in this order:
    licence.py      SPDX ids, texts, classes
    artefacts.py    generated, minified, vendored, data
    secrets.py      credentials
    code.py         the stages
Try: pytest tests/data/stages/test_code.py
"""

from expedition.data.stages.code.artefacts import machine_made
from expedition.data.stages.code.code import CodeFile, CodeLicence, CodeSecrets
from expedition.data.stages.code.licence import Licence, licence_of, repository_licence
from expedition.data.stages.code.secrets import Secret, find_secrets

__all__ = [
    "CodeFile",
    "CodeLicence",
    "CodeSecrets",
    "Licence",
    "Secret",
    "find_secrets",
    "licence_of",
    "machine_made",
    "repository_licence",
]
