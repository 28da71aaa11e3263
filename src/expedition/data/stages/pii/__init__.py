"""pii: personal data in text, found by structure, checksum and context, for redaction or refusal by source.

Why a room: one place says what counts as personal data and what is done about it.
Verbs (all that other rooms may call):
    find_pii(text, types, names) -> list[Span]      pure; spans do not overlap, sorted by start
    redact(text, spans) -> str                      typed placeholders; idempotent together with find_pii
    label_file(source, out, names) -> dict          the spans of each text of a file
    train_names(target, seed) -> dict               the names model, from lists in packages
    Pii(kinds, policy)                              the stage; PiiPolicy: what is done, by source
Seams: a detector is a function text -> spans in `detectors.py`'s table; add a third by a row there.
Imports: data.stages.stage, workspace, errors.  Imported by: data.stages.catalogue, data.quality, cli.
Reads / writes in the workspace: nothing. Optional extra: expedition[names-training], to train names only.
Invariants: every pattern takes linear time [test_regexes_take_linear_time]; redaction is idempotent
[test_redaction_is_idempotent]; offsets are those of the original text [test_hidden_data_is_found_at_its_own_offsets];
no finding is lost to the scan [test_the_scan_loses_no_finding].
Read in this order:
    checksums.py        Luhn, resident identity numbers, IBAN, SSN
    scan.py             kernel: which detectors can find anything in a text
    detectors.py        the table of types
    emails.py           written and spelled
    identifiers.py      cards, accounts, Chinese and US numbers
    national.py         numbers of thirty countries
    network.py          IP, MAC, wallets, web addresses
    phones.py           telephone numbers
    chinese.py          WeChat, QQ, plates, Chinese addresses
    street_words.py     words of addresses
    addresses.py        street addresses in Latin script
    postcodes.py        postal codes
    view.py             the text without what hides data in it
    find.py             overlaps, redaction
    tagger.py           an averaged perceptron
    name_features.py    what the names models look at
    names.py            persons, places, organisations
    name_sources.py     lists of names, from packages
    name_templates.py   sentences with places for names
    name_training.py    the training
    label_file.py       a file of texts
    pii.py              the stage and the policy by source
Try: expedition data pii --help; pytest tests/data/stages/test_pii.py
"""

from pathlib import Path
from typing import Any

from expedition.data.stages.pii.find import Span, find_pii, redact
from expedition.data.stages.pii.label_file import label_file
from expedition.data.stages.pii.pii import Pii, PiiPolicy

__all__ = ["Pii", "PiiPolicy", "Span", "find_pii", "label_file", "redact", "train_names"]


def train_names(target: Path, *, seed: int = 20) -> dict[str, Any]:
    """Train the names model and write it to `target`; see `name_training.py`."""
    from expedition.data.stages.pii.name_training import train_names as train

    return train(target, seed=seed)
