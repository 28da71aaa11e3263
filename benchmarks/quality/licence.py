"""Licences of code folders against labels: python -m benchmarks.quality.licence [--quick] [--out F.json]

Sets: code/licenses.jsonl of the open set, {repo, license (SPDX or null), group: permissive|copyleft|none}, one folder each;
and, as a check of spreading, the packages installed beside this one that state a License-Expression: what their licence
files alone are found to be. No peer is run. Definitions:
    SPDX id      the same licences joined by the same operator, in any order; "-only" and "-or-later" left off, as the labels do
    group        class of the expression; none where nothing licenses the folder
    class of packages   the same class as that of the expression that the package states
    rate         folders a second of processor time, files read beforehand
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any

from benchmarks.quality.open_set import open_set
from expedition.data.decode.charset import readable_text
from expedition.data.decode.piece import Refused
from expedition.data.stages.code import class_of, repository_match
from expedition.data.stages.code.declared import ids_of
from expedition.data.stages.code.licence import is_licence_file

MAX_BYTES = 1 << 20
"""Larger files say nothing of a licence."""
Files = dict[str, str]


def texts_of(folder: Path) -> Files:
    """Path → text of every readable file of a repository."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < MAX_BYTES:
            try:
                found[path.relative_to(folder).as_posix()] = readable_text(path.read_bytes())[0]
            except Refused:
                continue
    return found


def same(found: str | None, label: str | None) -> bool:
    """Whether two expressions hold the same licences by the same operator."""
    if found is None or label is None:
        return found is label
    return ids_of(found) == ids_of(label) and (" OR " in found) == (" OR " in label)


def spdx_and_group(files: Mapping[str, str]) -> tuple[str | None, str]:
    """What is found for a folder, in the terms of the labels."""
    match = repository_match(files)
    return (None, "none") if match is None else (match.spdx, class_of(match.spdx))


def folders(folder: Path, rounds: int) -> dict[str, Any]:
    """Found and labelled, folder by folder, with and without their licence files."""
    labels = [json.loads(line) for line in (folder / "licenses.jsonl").read_text("utf-8").splitlines() if line.strip()]
    texts = {label["repo"]: texts_of(folder / label["repo"]) for label in labels}
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        found = {repo: spdx_and_group(files) for repo, files in texts.items()}
        seconds.append(time.process_time() - started)
    table = []
    for label in labels:
        repo = label["repo"]
        spdx, group = found[repo]
        bare = {path: text for path, text in texts[repo].items() if not is_licence_file(path)}
        table.append({**label, "found": spdx, "found_group": group, "without_licence_files": spdx_and_group(bare)[0]})
    return {
        "folders": table,
        "spdx_right": sum(same(row["found"], row["license"]) for row in table),
        "group_right": sum(row["found_group"] == row["group"] for row in table),
        "total": len(table),
        "folders_per_s": round(len(table) / max(min(seconds), 1e-9), 1),
        "elsewhere": _elsewhere(table),
    }


def _elsewhere(table: list[dict[str, Any]]) -> dict[str, int]:
    """What metadata and READMEs say where the licence files are taken away."""
    told = [row for row in table if row["without_licence_files"] is not None]
    return {"told": len(told), "right": sum(same(row["without_licence_files"], row["license"]) for row in told)}


def packages() -> dict[str, Any]:
    """Installed packages that state an expression: those whose licence files are found to be of another class."""
    total, same_ids, others = 0, 0, []
    for package in distributions():
        stated = "".join(package.metadata.get_all("License-Expression") or ())
        files = _licence_files(package) if stated else {}
        if not files:
            continue
        spdx, group = spdx_and_group(files)
        total += 1
        same_ids += same(spdx, stated)
        if group != class_of(stated):
            others.append({"package": package.metadata["Name"], "stated": stated, "found": spdx, "found_class": group})
    return {"packages": total, "same_class": total - len(others), "same_ids": same_ids, "other_class": others}


def _licence_files(package: Distribution) -> Files:
    found: Files = {}
    for path in package.files or ():
        name = path.as_posix().partition(".dist-info/")[2].removeprefix("licenses/")
        if name and is_licence_file(name):
            try:
                found[name] = readable_text(path.locate().read_bytes())[0]  # type: ignore[attr-defined]
            except (Refused, OSError):
                continue
    return found


def measured(folder: Path, *, quick: bool) -> dict[str, Any]:
    """All figures and rows."""
    ours, installed = folders(folder / "code", 1 if quick else 3), {} if quick else packages()
    rows = [
        _row(f"licence of code folders, {name}", ours[key], ours["total"], "100 %", ours[key] == ours["total"])
        for name, key in (("SPDX id", "spdx_right"), ("group", "group_right"))
    ]
    if installed:
        share = installed["same_class"] >= 0.95 * installed["packages"]
        rows.append(
            _row("licence class of installed packages", installed["same_class"], installed["packages"], "≥ 95 %", share)
        )
    return {"figures": {"folders": ours, "packages": installed}, "rows": rows}


def _row(what: str, right: int, total: int, goal: str, met: bool) -> dict[str, Any]:
    figure = round(right / max(total, 1), 4)
    return {
        "what": what,
        "ours": f"{right}/{total}",
        "peer": None,
        "ratio_or_figure": figure,
        "goal": goal,
        "met": bool(met),
    }


def main() -> int:
    """Run, print, write. Exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, no installed packages")
    parser.add_argument("--open", type=Path, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = open_set(options.open)
    if folder is None:
        print(json.dumps({"error": "no labelled sets: give --open DIR"}))
        return 2
    found = measured(folder, quick=options.quick)
    own = {name: version(name) for name in ("expedition-programme", "licenseclassifier")}
    found["versions"] = {**own, "python": platform.python_version()}
    document = json.dumps(found, ensure_ascii=False, indent=1)
    if options.out:
        options.out.write_text(document + "\n", "utf-8")
    print(document)
    return int(not all(row["met"] for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
