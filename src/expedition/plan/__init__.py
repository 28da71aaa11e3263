"""plan: the programme file, from YAML to one frozen, validated value that every room reads.

Why a room: everything that is decided is data in one place: dates, mix, shapes, rules, prices, criteria. Presets differ
in data, never in code path. It knows no room above it and refuses unknown keys.
Verbs (all that other rooms may call):
    load_programme(preset or path, overrides) -> Programme    raises ProgrammeError with file, line, value, remedy
    dump_programme(programme) -> YAML text                    loading it again gives an equal programme
    Programme, PRESETS                                        the value and the presets' names
Seams: none: a new knob is a field of a section, beside the others of its owner.
Imports: errors, workspace (recorded.py).  Imported by: every room above.
Reads / writes in the workspace: programme.yaml.
Invariants: presets round-trip [test_presets_round_trip]; each bad file names its line and remedy
    [test_bad_programme_files]; the criteria table equals the record list [test_criteria_match_the_table].
Read in this order:
    models.py      the Programme
    schedule.py    weeks, tasks, milestones
    data.py        mix, sources, stages, tokenizer
    media.py       tokens of pictures, clips, sounds
    positions.py   rotary positions
    shapes.py      model shapes
    phases.py      which run starts from which
    loading.py     how batches are made ahead
    runs.py        training runs
    precision.py   compute type, FP8
    rules.py       stop rules
    cluster.py     machines and prices
    criteria.py    acceptance criteria
    evaluation.py  tasks, release
    load.py        presets, overrides, errors
    recorded.py    plans of forks
    yaml_lines.py  YAML with line numbers
    overlay.py     one file on another, lines kept
    difference.py  what differs between two programmes
    section.py     frozen, no unknown keys
Try: expedition programme show --preset w26
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.plan.load import PRESETS, dump_programme, load_programme
    from expedition.plan.models import Programme

__all__ = ["PRESETS", "Programme", "dump_programme", "load_programme"]


def __getattr__(name: str) -> Any:
    if name in ("PRESETS", "dump_programme", "load_programme"):
        from expedition.plan import load

        return getattr(load, name)
    if name == "Programme":
        from expedition.plan.models import Programme

        return Programme
    raise AttributeError(name)
