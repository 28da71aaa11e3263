"""Schema versions of what is written: `name/number`, checked when it is read."""

from __future__ import annotations

from typing import Any

from expedition.errors import InputError


def checked_schema(document: dict[str, Any], name: str, newest: int, where: str) -> int:
    """The schema number of `document`. Raises InputError if it is another kind, or newer than this code knows."""
    schema = document.get("schema")
    if not isinstance(schema, str) or "/" not in schema:
        raise InputError("no schema version", where=where, fix=f"expected a document of schema {name}/{newest}")
    found, _, number = schema.rpartition("/")
    if found != name or not number.isdigit():
        raise InputError(f"schema is {schema!r}, not {name}", where=where)
    if int(number) > newest:
        raise InputError(
            f"schema {schema} is newer than this version of expedition reads ({name}/{newest})",
            where=where,
            fix="install a newer expedition",
        )
    return int(number)
