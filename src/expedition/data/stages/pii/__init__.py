"""pii: personal data in text, found by structure and checksum, for redaction or refusal by source.

Why a room: one place says what counts as personal data and what is done about it.
Verbs (all that other rooms may call):
    find_pii(text, types) -> list[Span]     pure; spans do not overlap, sorted by start
    redact(text, spans) -> str              typed placeholders; idempotent together with find_pii
    Pii(kinds, policy)                      the stage
Seams: a detector is a function text -> spans in `detectors.py`'s table; add a third by a row there.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.quality.
Reads / writes in the workspace: nothing.
Invariants: every pattern takes linear time [test_regexes_take_linear_time]; redaction is idempotent
[test_redaction_is_idempotent].
Read in this order:
    checksums.py    Luhn, resident identity numbers, IBAN, SSN
    detectors.py    the table of types and how each is found
    find.py         overlaps, redaction
    pii.py          the stage and the policy by source
Try: pytest tests/data/stages/test_pii.py
"""

from expedition.data.stages.pii.find import Span, find_pii, redact
from expedition.data.stages.pii.pii import Pii, PiiPolicy

__all__ = ["Pii", "PiiPolicy", "Span", "find_pii", "redact"]
