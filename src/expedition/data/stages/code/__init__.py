"""code: source files judged by licence, by whether a person wrote them, and by secrets they hold.

Why a room: code is judged as code: prose rules would delete it.
Verbs (all that other rooms may call):
    licence_of(text) -> Licence | None      SPDX expression and class that the head of a source file declares
    repository_licence(files) -> Licence | None   of a repository: licence files, metadata, tags, README
    is_licence_evidence(path) -> bool       which of its files that takes
    repository_match(files), match_licence_text(text) -> LicenceMatch   the same with score, evidence and regions
    class_of(spdx) -> LicenceClass          permissive, copyleft, restricted or unknown, of an id or expression
    machine_made(path, text) -> str | None  why a file counts as generated, minified, vendored or data
    find_secrets(text) -> list[Secret]      keys, tokens, passwords
    repository_order(files) -> list[str]    README, then what is imported before what imports it, then tests
    CodeLicence(kinds), CodeFile(kinds), CodeSecrets(kinds)     the stages
Seams: a licence's class is a row of the tables in `licence.py`; the texts are those of `licenseclassifier`.
Imports: data.stages.stage, data.decode (languages, tags).  Imported by: data.stages.catalogue, data.sources, data.connectors.
Reads / writes in the workspace: nothing.
Invariants: a file without a licence is not trained on [test_no_licence_is_refused]; a licence
    is what its text says, not what its file is called [test_licence_is_found_by_text_whatever_the_file_is_called].
Read in this order:
    spdx.py         what a text is: one licence, a choice, several, or none that is known
    declared.py     what package metadata, READMEs and tags name
    licence.py      of a file, of a repository, and its class
    artefacts.py    generated, minified, vendored, data
    secrets.py      credentials
    order.py        files of a repository for one context
    code.py         the stages
Try: pytest tests/data/stages/test_code.py
"""

from expedition.data.stages.code.artefacts import machine_made
from expedition.data.stages.code.code import CodeFile, CodeLicence, CodeSecrets
from expedition.data.stages.code.licence import (
    Licence,
    class_of,
    is_licence_evidence,
    licence_of,
    repository_licence,
    repository_match,
)
from expedition.data.stages.code.order import repository_order
from expedition.data.stages.code.secrets import Secret, find_secrets
from expedition.data.stages.code.spdx import LicenceMatch, match_licence_text

__all__ = [
    "CodeFile",
    "CodeLicence",
    "CodeSecrets",
    "Licence",
    "LicenceMatch",
    "Secret",
    "class_of",
    "find_secrets",
    "is_licence_evidence",
    "licence_of",
    "machine_made",
    "match_licence_text",
    "repository_licence",
    "repository_match",
    "repository_order",
]
