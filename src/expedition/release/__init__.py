"""release: the last checkpoint as something that a stranger can load, check, judge and reproduce.

Why a room: whoever gets the model has none of this project's code. What leaves the voyage is decided here, once, and
is whole, signed and described, or it is not a release.
Verbs (all that other rooms may call):
    build_release(ws, programme, run, checkpoint, data_dir) -> report     release/<version>/, reports/release.json
    export_checkpoint(ws, programme, run, checkpoint, out) -> facts    the folder that transformers loads, alone
    verify_release(folder, public_key) -> facts       hashes and signature of a bare folder; CheckFailed names the file
    stranger_test(ws, programme) -> report            the kit in an empty folder; writes reports/stranger.json
    write_card(ws, programme, run, checkpoint) -> card    the model card as it would be now; writes reports/model-card.md
Seams: none.
Imports: errors, workspace, plan, data, watch, model, train, evaluate.  Imported by: voyage, cli.
Reads: runs/, data/, evaluations/, reports/, incidents/, compliance/.  Writes: release/, reports/.
Invariants: transformers' own class gives our logits for every modality [test_release_loads_in_transformers]; a changed
    byte is found and named [test_one_changed_byte_is_named]; a kill and the same command give the same bytes
    [test_killed_build_ends_with_the_same_bytes]; the kit runs without this package [test_stranger_reproduces_a_number];
    a card claims nothing that is not on record [test_card_without_evidence_says_so].
Read in this order:
    build.py            the whole way
    weights.py          a checkpoint in the layout of transformers' class
    contents.py         what belongs to a release
    sign.py             its signature
    parity.py           against transformers' class
    evidence.py         what is known
    tables.py           how it is shown
    drawing.py          its figures
    carbon.py           hours to energy
    card.py             the model card
    technical_report.py the report
    reproduction.py     the kit's number
    kit.py              the kit
    kit_files/          its scripts
    stranger.py         the kit in strange hands
Try: expedition release --help; pytest tests/release
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.release.build import build_release
    from expedition.release.card import write_card
    from expedition.release.sign import verify_release
    from expedition.release.stranger import stranger_test
    from expedition.release.weights import export_checkpoint

__all__ = ["build_release", "export_checkpoint", "stranger_test", "verify_release", "write_card"]

_HOME = {
    "build_release": "build",
    "export_checkpoint": "weights",
    "stranger_test": "stranger",
    "verify_release": "sign",
    "write_card": "card",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"expedition.release.{_HOME[name]}"), name)
