"""A folder of web pages into one file of their main texts."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from expedition.data.decode.archives import unpack_stream
from expedition.data.decode.html import read_page
from expedition.data.decode.piece import Refused
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import Format
from expedition.data.extract.page import Setting
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors

SUFFIXES: Final = (".html", ".htm", ".xhtml", ".html.gz", ".htm.gz", ".xhtml.gz")


def extract_folder(folder: Path, out: Path, setting: Setting = "fast") -> dict[str, Any]:
    """Write the main text of every page of `folder` to `out`, JSON lines {file, text, title, language} in order of name.

    Pages are files named .html, .htm or .xhtml, plain or gzipped; `file` is the base name. A page that cannot be read has
    the text "" and the reason under "refused". Returns counts. Raises InputError where the folder holds no page.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", where="--html", fix="give the folder that holds the pages")
    pages = sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(SUFFIXES))
    if not pages:
        raise InputError(f"{folder} holds no page", where="--html", fix=f"names that count: *{', *'.join(SUFFIXES)}")
    refused: Counter[str] = Counter()
    characters = empty = 0
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.parent / f"{ASIDE_PREFIX}{out.name[:100]}-{uuid.uuid4().hex[:8]}"
        try:
            with aside.open("w", encoding="utf-8") as lines:
                for row in _rows(pages, setting):
                    lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                    characters += len(row["text"])
                    empty += not row["text"]
                    refused.update([row["refused"]] if "refused" in row else [])
            commit_file(aside, out)
        finally:
            aside.unlink(missing_ok=True)
    return {
        "pages": len(pages),
        "empty": empty,
        "refused": dict(sorted(refused.items())),
        "characters": characters,
        "setting": setting,
        "out": str(out),
    }


def _rows(pages: list[Path], setting: Setting) -> Iterator[dict[str, Any]]:
    limits = Limits()
    for path in pages:
        row: dict[str, Any] = {"file": path.name, "text": ""}
        try:
            page = read_page(_bytes(path, limits), limits, setting=setting)
            row |= {"text": page.text, "title": page.title, "language": page.language}
        except Refused as refused:
            row["refused"] = str(refused.reason)
        except OSError as error:
            raise InputError(f"{path.name} cannot be read: {error.strerror}", where=str(path)) from error
        yield row


def _bytes(path: Path, limits: Limits) -> bytes:
    """Content of a page; more than what is read of a page is left away."""
    with path.open("rb") as file:
        if path.suffix.lower() == ".gz":
            return unpack_stream(file, Format.GZIP, limits)[0]
        return file.read(limits.html_bytes + 1)
