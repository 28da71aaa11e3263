"""Pastes the gate table and the scores of a finished voyage into README.md.

python scripts/update_readme.py WORKSPACE
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from expedition.programme.table import plain
from expedition.workspace import Workspace, layout

README = Path(__file__).resolve().parents[1] / "README.md"


def main(place: str) -> None:
    ws = Workspace.open(place)
    text = README.read_text()
    text = _fill(text, "gates", _gates(ws))
    text = _fill(text, "scores", _scores(ws))
    README.write_text(text)


def _fill(text: str, name: str, body: str) -> str:
    return re.sub(
        rf"<!--{name}-->.*?<!--/{name}-->", lambda _: f"<!--{name}-->\n{body}\n<!--/{name}-->", text, flags=re.S
    )


def _gates(ws: Workspace) -> str:
    criteria = ws.read_json(layout.GATES)["criteria"]
    verdicts = [item["verdict"] for item in criteria]
    counts = "   ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("pass", "fail", "no evidence", "waived"))
    return f"```text\n{plain(criteria)}\n\n{counts}\n```"


def _scores(ws: Workspace) -> str:
    results = [json.loads(ws.store.read(key)) for key in ws.store.list("evaluations") if key.endswith("/results.json")]
    final = max((item for item in results if item["run"] == "main"), key=lambda item: item["tokens"])
    lines = ["| task | value | 95 % interval | chance | p | without its evidence |", "|---|---:|---|---:|---:|---:|"]
    for task in final["tasks"]:
        chance = f"{task['chance']:.2f}" if task["chance"] else f"best constant {task['baseline']:.1f}"
        control = f"{task['control']['value']:.2f}" if task["control"] else "–"
        lines.append(
            f"| {task['name']} ({task['metric']}) | {task['value']:.2f} | {task['ci_low']:.2f}–{task['ci_high']:.2f} | "
            f"{chance} | {task['p_value']:.1g} | {control} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1])
