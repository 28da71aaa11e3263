"""Forty wrong programme files: each is refused with exit code 2, the line, and what would fit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from expedition.errors import ProgrammeError
from expedition.plan import load_programme

HEAD = "extends: rehearsal\n"

CASES: list[tuple[str, str, int, str]] = [
    # name, text after HEAD, line of the message (from 1), a part of the message
    ("unknown section", "clutser: {gpus: 8}", 2, "did you mean 'cluster'"),
    ("unknown key", "cluster:\n  gpu_count: 8", 3, "unknown key 'gpu_count'"),
    ("near key", "cluster:\n  price_usd_per_gpu_hr: 4", 3, "did you mean 'price_usd_per_gpu_hour'"),
    ("word for a number", "cluster:\n  gpus: many", 3, "many"),
    ("negative gpus", "cluster:\n  gpus: -8", 3, "greater than or equal to 1"),
    ("zero gpus", "cluster: {gpus: 0}", 2, "greater than or equal to 1"),
    ("half a node", "cluster: {gpus: 12, gpus_per_node: 8}", 2, "multiple of gpus_per_node"),
    ("negative price", "cluster:\n  price_usd_per_gpu_hour: -1", 3, "greater than or equal to 0"),
    ("shares do not sum", "data:\n  mix:\n    total_tokens: 31.0e12", 3, "shares sum to"),
    ("unknown kind in the mix", "data:\n  mix:\n    shares:\n      - {kind: webs, tokens: 30.0e12}", 5, "did you mean 'web'"),
    ("kind twice", "data:\n  mix:\n    total_tokens: 2\n    shares:\n      - {kind: web, tokens: 1}\n      - {kind: web, tokens: 1}", 3, "two lines"),
    ("no tokens", "data:\n  mix:\n    shares:\n      - {kind: web, tokens: 0}", 5, "greater than 0"),
    ("share above one", "data:\n  mix:\n    driving_share_of_video: 1.5", 4, "less than or equal to 1"),
    ("bands do not divide", "data:\n  dedup: {permutations: 100, bands: 14}", 3, "does not divide"),
    ("held-out half", "data:\n  heldout_fraction: 0.5", 3, "less than 0.5"),
    ("pii action", "data:\n  sources:\n    books: {kind: books, pii: hide}", 4, "'drop', 'redact' or 'keep'"),
    ("stages of an unknown kind", "data:\n  stages:\n    webs: [repair]", 4, "'web'"),
    ("task in no workstream", "schedule:\n  tasks:\n    - {id: x, workstream: datas, title: X, start_week: 0, weeks: 1}", 2, "unknown workstream 'datas'"),
    ("task waits for nothing", "schedule:\n  tasks:\n    - {id: kit, after: [ghost]}", 2, "which is no task"),
    ("tasks wait for each other", "schedule:\n  tasks:\n    - {id: proof_of_concept, after: [kit]}", 2, "wait for each other"),
    ("negative weeks", "schedule:\n  tasks:\n    - {id: kit, weeks: -1}", 4, "greater than 0"),
    ("no date", "schedule:\n  start: someday", 3, "date"),
    ("gate of no milestone", "criteria:\n  - {id: a.b, gate: W99, title: t, comparator: pass, evidence: e}", 1, "is no milestone"),
    ("criterion without a threshold", "criteria:\n  - {id: a.b, gate: W2, title: t, comparator: '>=', evidence: e}", 1, "needs a threshold"),
    ("criterion comparator", "criteria:\n  - {id: a.b, gate: W2, title: t, comparator: '=>', evidence: e}", 1, "input should be '>='"),
    ("run of an unknown model", "runs:\n  main:\n    model: 10x", 1, "known models"),
    ("duration without unit", "runs:\n  main:\n    length: 500B", 4, "1.5T tokens"),
    ("half a step", "runs:\n  main:\n    length: 0.5 steps", 4, "whole number"),
    ("batch that does not divide", "runs:\n  main:\n    micro_batches: 5", 3, "does not divide"),
    ("floor above peak", "runs:\n  main:\n    learning_rate: {peak: 1.0e-4, floor: 1.0e-3}", 4, "above peak"),
    ("segments out of order", "runs:\n  main:\n    segments: [{from_step: 5, version: v0.1}]", 3, "must begin at 0"),
    ("precision", "runs:\n  main:\n    precision: {compute: fp16}", 4, "'fp32' or 'bf16'"),
    ("experts do not fit", "runs:\n  main:\n    parallel: {ep: 3}", 4, "does not divide"),
    ("top_k above experts", "models:\n  tiny:\n    top_k: 99", 3, "at most experts"),
    ("heads do not divide", "models:\n  tiny:\n    kv_heads: 3", 3, "multiple of kv_heads"),
    ("rotary sections", "models:\n  tiny:\n    mrope_section: [1, 1, 1]", 3, "head_dim / 2"),
    ("tab", "cluster:\n\tgpus: 8", 3, "not valid YAML"),
    ("open bracket", "cluster: [", 3, "not valid YAML"),
    ("key twice", "workers: 1\nworkers: 2", 3, "is there twice"),
    ("object tag", "name: !!python/object/apply:os.getcwd []", 2, "not allowed"),
    ("a list", "- extends\n- rehearsal", 0, "mapping of sections"),
    ("alias bomb", "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]", 0, "too large"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "line", "part"), CASES, ids=[case[0] for case in CASES])
def test_bad_programme_files(name: str, text: str, line: int, part: str, tmp_path: Path) -> None:
    file = tmp_path / "programme.yaml"
    file.write_text(text if name == "a list" else HEAD + text + "\n")
    with pytest.raises(ProgrammeError) as caught:
        load_programme(file)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert part in message, message
    if line > 1:
        assert f"{file}:{line}" in message, message
    else:
        assert re.search(r"\.yaml:\d+", message), message


def test_forty_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("cluster.gpus", "a.b=value"),
        ("cluster.gpuz=8", "--set cluster.gpuz=8 cluster.gpuz: unknown key 'gpuz'"),
        ("cluster.gpus=[", "no YAML"),
        ("schedule.tasks.main_rum.weeks=3", "did you mean 'main_run'"),
        ("name.first=x", "is a value"),
    ],
)
def test_bad_overrides(override: str, part: str) -> None:
    with pytest.raises(ProgrammeError, match=re.escape(part)):
        load_programme("rehearsal", [override])


def test_missing_file_and_unknown_preset_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ProgrammeError, match="rehearsal"):
        load_programme(tmp_path / "none.yaml")
    with pytest.raises(ProgrammeError, match="did you mean 'rehearsal'"):
        load_programme("rehersal")


def test_the_command_exits_2_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "programme.yaml"
    file.write_text(HEAD + "cluster:\n  gpus: many\n")
    done = subprocess.run(
        [sys.executable, "-m", "expedition", "programme", "check", "--programme", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{file}:3" in done.stderr and "Traceback" not in done.stderr
