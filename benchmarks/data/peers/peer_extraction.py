"""trafilatura and resiliparse: main text of HTML files, each at the settings named.

`extract FOLDER OUT SETTING …` writes OUT/<setting>.jsonl, {file, text}, for each of: trafilatura-fast, trafilatura-default,
trafilatura-precision, trafilatura-recall, trafilatura-markdown, resiliparse, resiliparse-structure; prints processor seconds
a setting, decoding included.
"""

import gzip
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding


def _trafilatura(**options):
    return lambda data: trafilatura.extract(data, include_comments=False, deduplicate=False, **options) or ""


def _resiliparse(**options):
    return lambda data: extract_plain_text(bytes_to_str(data, detect_encoding(data)), main_content=True, **options)


SETTINGS = {
    "trafilatura-fast": _trafilatura(fast=True),
    "trafilatura-default": _trafilatura(),
    "trafilatura-precision": _trafilatura(favor_precision=True),
    "trafilatura-recall": _trafilatura(favor_recall=True),
    "trafilatura-markdown": _trafilatura(output_format="markdown", include_formatting=True, include_images=True),
    "resiliparse": _resiliparse(alt_texts=False),
    "resiliparse-structure": _resiliparse(preserve_formatting=True, list_bullets=False, alt_texts=True, comments=True),
}


def extract(folder: str, out: str, settings: list[str]) -> dict[str, object]:
    """Texts of all pages of a folder, read into memory before."""
    pages = {
        path.name: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in sorted(Path(folder).iterdir())
    }
    seconds = {}
    for setting in settings:
        run, texts, started = SETTINGS[setting], {}, time.process_time()
        for name, data in pages.items():
            try:
                texts[name] = run(data)
            except Exception as error:
                texts[name] = ""
                sys.stderr.write(f"{setting}: {name}: {error}\n")
        seconds[setting] = time.process_time() - started
        with (Path(out) / f"{setting}.jsonl").open("w", encoding="utf-8") as lines:
            for name, text in texts.items():
                lines.write(json.dumps({"file": name, "text": text}, ensure_ascii=False) + "\n")
    versions = {name: version(name) for name in ("trafilatura", "resiliparse")}
    return {"pages": len(pages), "cpu_s": seconds, "versions": versions}


if __name__ == "__main__":
    print(json.dumps(extract(sys.argv[2], sys.argv[3], sys.argv[4:])))
