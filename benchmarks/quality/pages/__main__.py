"""Write the made pages: python -m benchmarks.quality.pages DIR [--seed N]"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from benchmarks.quality.pages import made_pages


def main() -> None:
    """DIR/html/*.html and DIR/gold.jsonl: {file, kind, language, layout, text, code_lines, cells, formulas}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    (options.folder / "html").mkdir(parents=True, exist_ok=True)
    with (options.folder / "gold.jsonl").open("w", encoding="utf-8") as gold:
        for page in made_pages(options.seed):
            (options.folder / "html" / page.file).write_text(page.html, encoding="utf-8")
            row = dataclasses.asdict(page)
            del row["html"]
            gold.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
