"""The labelled lines that the packaged language profiles are trained on, and the packaged model from them.

    python -m benchmarks.quality.language_lines --articles languages/udhr_articles.tsv --out lines.tsv
    expedition data train-language --lines lines.tsv --out src/expedition/data/stages/language/profiles.npz

Lines: the odd articles of the Universal Declaration (public domain), and interface texts that come inside packages, a few
strings a line: Django's translations (BSD-3-Clause), OOUI's and jquery.uls' (MIT), OpenStreetMap's tagging presets (ISC).
Chinese and Japanese are left out. Packages are unpacked under .cache/language once, by pip and npm, at pinned versions.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.stages.language.letters import OTHER, class_counts
from expedition.data.stages.language.tags import tag_of

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "language"
WHEEL = "django==5.2.19"
TARS = {
    "ooui": "oojs-ui@0.54.2",
    "uls": "jquery.uls@0.1.0",
    "osm": "@openstreetmap/id-tagging-schema@6.19.2",
}
LEFT_OUT = frozenset({"zh", "gan", "yue", "wuu", "lzh", "ja", "cdo", "hak", "nan", "und"})
MAX_LINES = 400
"""Lines of one language and package."""
_FIELDS = re.compile(r"%\([^)]*\)[a-z]|%[a-z]|\{[^}]*\}|\$\d|<[^>]*>|&[a-z]+;|https?://\S+|\[\[|\]\]|PLURAL:|GENDER:")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TRANSLATED = re.compile(r'msgstr(?:\[\d\])? ((?:"(?:[^"\\]|\\.)*"\s*)+)')
_SOURCE = re.compile(r'msgid ((?:"(?:[^"\\]|\\.)*"\s*)+)')


def packages() -> dict[str, Path]:
    """Name → folder of each package, unpacked."""
    folders = {name: CACHE / name for name in ("django", *TARS)}
    CACHE.mkdir(parents=True, exist_ok=True)
    if not folders["django"].exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), WHEEL], check=True
        )
        with zipfile.ZipFile(next(CACHE.glob("[dD]jango-*.whl"))) as wheel:
            wheel.extractall(folders["django"])
    for name, package in TARS.items():
        if not folders[name].exists():
            packed = subprocess.run(
                ["npm", "pack", "-s", package], cwd=CACHE, check=True, stdout=subprocess.PIPE, text=True
            ).stdout.split()[-1]
            with tarfile.open(CACHE / packed) as tar:
                tar.extractall(folders[name], filter="data")
    return folders


def plain(text: str) -> str:
    """A message without its fields and markup."""
    return " ".join(_FIELDS.sub(" ", text).split())


def tag_of_locale(name: str) -> str:
    """BCP-47 tag of a file name such as "sr_Latn", "tg-cyrl", "pt_BR"."""
    return tag_of(re.split("[-_@]", name)[0])


def django(folder: Path) -> Iterator[tuple[str, str]]:
    """(tag, message) of Django's catalogues; English from the message ids."""
    for path in sorted(folder.glob("django/**/locale/*/LC_MESSAGES/django.po")):
        name = path.parts[-3]
        if name.startswith("en_"):
            continue
        content = path.read_text("utf-8")
        pattern = _SOURCE if name == "en" else _TRANSLATED
        for entry in pattern.findall(content)[1:]:
            yield tag_of_locale(name), "".join(_STRING.findall(entry)).replace("\\n", " ").replace('\\"', '"')


def messages(folder: Path) -> Iterator[tuple[str, str]]:
    """(tag, message) of i18n folders in the banana format."""
    for path in sorted(folder.glob("**/i18n/*.json")):
        if path.stem != "qqq":
            found = json.loads(path.read_text("utf-8"))
            yield from (
                (tag_of_locale(path.stem), text)
                for key, text in found.items()
                if key[0] != "@" and isinstance(text, str)
            )


def presets(folder: Path) -> Iterator[tuple[str, str]]:
    """(tag, label) of OpenStreetMap's presets; labels left in English are passed over."""
    files = [path for path in sorted(folder.glob("**/translations/*.json")) if ".min" not in path.name]
    english = next(path for path in files if path.stem == "en")
    untranslated = set(_labels(json.loads(english.read_text("utf-8"))))
    for path in files:
        if path.stem == "index" or path.stem.startswith("en-"):
            continue
        for label in _labels(json.loads(path.read_text("utf-8"))):
            if path.stem == "en" or label not in untranslated:
                yield tag_of_locale(path.stem), label


def _labels(tree: dict[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _labels(value)
        elif isinstance(value, str) and key not in ("terms", "aliases"):
            yield value


def joined(texts: dict[tuple[str, str], list[str]], seed: int = 1) -> Iterator[tuple[str, str, str]]:
    """(tag, line, package): messages in random order, some to a line of 30 to 140 characters."""
    rng = random.Random(seed)
    for (tag, package), found in sorted(texts.items()):
        strings = [text for text in dict.fromkeys(map(plain, found)) if sum(map(str.isalpha, text)) >= 2]
        rng.shuffle(strings)
        lines, line = [], ""
        for text in strings:
            line = f"{line}. {text}" if line else text
            if len(line) > rng.randint(30, 140):
                lines.append(line[:400])
                line = ""
        yield from ((tag, text, package) for text in [*lines, line][:MAX_LINES] if text)


def in_one_script(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Without lines in mixed scripts, or in a script in which few of a language's lines are: they are not translated."""
    counts = class_counts([text for _, text, _ in rows])[:, :OTHER]
    main = counts.argmax(axis=1).tolist()
    pure = (counts.max(axis=1) >= 0.8 * np.maximum(counts.sum(axis=1), 1)).tolist()
    pairs = Counter((tag, script) for (tag, _, _), script in zip(rows, main, strict=True))
    of_tag = Counter(tag for tag, _, _ in rows)
    return [
        row
        for row, script, alone in zip(rows, main, pure, strict=True)
        if alone and pairs[row[0], script] >= 0.3 * of_tag[row[0]]
    ]


def main() -> None:
    """Write the lines: label TAB text TAB group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folders = packages()
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    readers = {"django": django, "ooui": messages, "uls": messages, "osm": presets}
    for package, read in readers.items():
        for tag, text in read(folders[package]):
            if tag not in LEFT_OUT:
                texts[tag, package].append(text)
    articles = [line.split("\t") for line in options.articles.read_text("utf-8").splitlines()[1:]]
    rows = [(code, text, f"article {number}") for code, _, _, number, text in articles]
    rows += in_one_script(list(joined(texts)))
    options.out.write_text("".join(f"{tag}\t{text}\t{group}\n" for tag, text, group in rows), "utf-8")
    print(f"{len(rows)} lines in {options.out}")


if __name__ == "__main__":
    main()
