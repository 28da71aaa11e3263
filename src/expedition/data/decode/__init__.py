"""decode: one raw file of any known format into documents that have no name yet, or into a reason.

Why a room: everything that comes from outside is hostile until it is decoded here: within bounds of size, depth, time
and memory, in memory only, nothing unpickled, nothing written. It judges form, never quality: that is the stages' work.
Verbs (all that other rooms may call):
    decode(raw, rules) -> pieces and faults     one raw file or archive, lazily; never raises for bad input
    read_robots(data) -> Robots                 .allowed(agent, path) by RFC 9309; .faulty_lines
    load_yaml(data) -> value                    plain YAML within bounds; Refused for bombs and object tags
    actions_of(value) -> bins, ActionCode       a trajectory as action bins; ActionCode.decode goes back
    DecodeRules, Limits                         how media are stored, and every bound
    Piece, Fault, Repair, Reason, Refused, Raw, Companion    the nouns
Seams: a format is a member of `sniff.Format` and a branch of `route.py`; its decoder is one file.
Imports: plan.media, data.records, data.extract.  Imported by: data.sources, data.connectors (read_robots).
Reads / writes in the workspace: nothing.
Invariants: every hostile file ends in its stated outcome within 5 s and 256 MiB [test_every_bad_file_has_its_outcome,
    test_every_bad_file_stays_within_time_and_memory]; action bins go back to within half a bin
    [test_actions_go_back_to_within_half_a_bin]; text of any bytes has no control characters and no placeholder
    [test_any_bytes_become_clean_text_or_are_refused]; PyAV is imported by
    `video.py` alone [test_only_one_module_imports_av].
Read in this order:
    reasons.py  piece.py  rules.py              vocabulary, nouns, bounds
    sniff.py  route.py                          what a file is, and who decodes it
    clean.py  charset.py  text.py               bytes → text
    html.py  webarchive.py                      pages (their main text: data.extract), WARC and ARC
    books.py  chapters.py  reflow.py  licence.py    EPUB, PDF, plain books
    code.py                                     source files
    jsonl.py  tables.py  parquet.py  yaml_safe.py  robots.py    rows and rules
    archives.py                                 gzip, zip, tar and others, within bounds
    companion.py  media.py                      media with the texts that belong to them
    chat.py                                     conversations
    scenes.py                                   cuts between shots of a clip
    image.py  audio.py  video.py  subtitles.py  interleaved.py    pictures, sounds, clips, cues, pages of pictures
    trajectory.py  driving.py                   actions, rigs of cameras
Try: pytest tests/data/decode tests/data/test_bad_inputs.py
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ActionCode",
    "Companion",
    "DecodeRules",
    "Fault",
    "Limits",
    "Piece",
    "Raw",
    "Reason",
    "Refused",
    "Repair",
    "Robots",
    "actions_of",
    "decode",
    "load_yaml",
    "read_robots",
]

_HOMES = {
    "ActionCode": "trajectory",
    "Companion": "companion",
    "DecodeRules": "rules",
    "Fault": "piece",
    "Limits": "rules",
    "Piece": "piece",
    "Raw": "route",
    "Reason": "reasons",
    "Refused": "piece",
    "Repair": "piece",
    "Robots": "robots",
    "actions_of": "trajectory",
    "decode": "route",
    "load_yaml": "yaml_safe",
    "read_robots": "robots",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"expedition.data.decode.{_HOMES[name]}"), name)
