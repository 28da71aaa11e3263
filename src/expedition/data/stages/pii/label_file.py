"""A file of texts into a file of the personal data in each: what `expedition data pii` does."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.data.stages.pii.find import find_pii
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors


def label_file(source: Path, out: Path, *, names: bool = False) -> dict[str, Any]:
    """Read JSON lines {"text"} and write JSON lines {"spans": [{"start", "end", "type"}]}, one a line, in the same order.

    Offsets are characters of the text, `end` exclusive. `names` adds persons, places, organisations, titles and dates.
    Returns the number of texts and of spans by type. Raises InputError with the line of a text that is none. Memory: a
    line; `out` appears when it is complete.
    """
    found: Counter[str] = Counter()
    texts = with_any = 0
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.parent / f"{ASIDE_PREFIX}{out.name[:100]}-{uuid.uuid4().hex[:8]}"
        try:
            with aside.open("w", encoding="utf-8") as file:
                for text in _texts(source):
                    spans = find_pii(text, names=names)
                    texts, with_any = texts + 1, with_any + bool(spans)
                    found.update(span.type for span in spans)
                    named = [{"start": span.start, "end": span.end, "type": span.type} for span in spans]
                    file.write(json.dumps({"spans": named}, separators=(",", ":")) + "\n")
            commit_file(aside, out)
        finally:
            aside.unlink(missing_ok=True)
    return {"texts": texts, "texts_with_personal_data": with_any, "spans": dict(sorted(found.items())), "out": str(out)}


def _texts(source: Path) -> Iterator[str]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(source), fix="give a file of JSON lines"
        ) from error
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f'not a JSON object with "text": {type(error).__name__}',
                    where=f"{source}:{number}",
                    fix='write {"text": "..."} on each line',
                ) from error
            if not isinstance(text, str):
                raise InputError(f'"text" is {type(text).__name__}, not a string', where=f"{source}:{number}")
            yield text
