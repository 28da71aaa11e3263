"""Source code: small programs about the world in six languages, in repositories under different licences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from expedition.sampleworld.defects import Role, jaccard, roles
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text.personal import personal_value
from expedition.sampleworld.truth import Planted
from expedition.sampleworld.world import COLOURS, NAMES, SHAPES, pick, stream

LICENCES: tuple[tuple[str | None, str], ...] = (
    ("MIT", "permissive"),
    ("Apache-2.0", "permissive"),
    ("GPL-3.0-only", "copyleft"),
    (None, "none"),
    ("MIT", "permissive"),
)
"""SPDX identifier (None: no licence file) and group, by repository number."""

_LICENCE_TEXTS = {
    "MIT": "MIT License\n\nCopyright (c) 2026 {owner}\n\nPermission is hereby granted, free of charge, to any person "
    "obtaining a copy of this software and associated documentation files, to deal in the Software without "
    'restriction. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND.\n',
    "Apache-2.0": "Apache License\nVersion 2.0, January 2004\nhttp://www.apache.org/licenses/\n\n"
    "Copyright 2026 {owner}\n\nLicensed under the Apache License, Version 2.0.\n",
    "GPL-3.0-only": "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n\nCopyright (C) 2026 {owner}\n\n"
    "This program is free software: you can redistribute it and/or modify it under the terms of version 3.\n",
}
_VERBS = ("count", "find", "move", "paint", "sort", "pack", "merge", "weigh", "scale", "check", "label", "trace")
_NOUNS = ("boxes", "circles", "squares", "rings", "lamps", "stones", "birds", "boats", "roads", "signs", "maps", "pens")


@dataclass(frozen=True, slots=True)
class _Names:
    """The names and numbers of one function."""

    function: str
    values: str
    limit: int
    factor: int
    colour: str
    shape: str


def _python(n: _Names) -> str:
    return (
        f"def {n.function}({n.values}, limit={n.limit}):\n"
        f'    """Return the {n.colour} {n.shape} total of {n.values} below {n.limit}."""\n'
        f"    total = 0\n    for value in {n.values}:\n        if value < limit:\n"
        f"            total += value * {n.factor}\n    return total\n"
    )


def _c(n: _Names) -> str:
    return (
        f"/* {n.colour} {n.shape}: {n.values} below {n.limit} */\n"
        f"int {n.function}(const int *{n.values}, int size) {{\n"
        f"    int total = 0;\n    for (int i = 0; i < size; i++) {{\n        if ({n.values}[i] < {n.limit}) {{\n"
        f"            total += {n.values}[i] * {n.factor};\n        }}\n    }}\n    return total;\n}}\n"
    )


def _javascript(n: _Names) -> str:
    return (
        f"// {n.colour} {n.shape}: {n.values} below {n.limit}\nexport function {n.function}({n.values}) {{\n"
        f"  let total = 0;\n  for (const value of {n.values}) {{\n    if (value < {n.limit}) {{\n"
        f"      total += value * {n.factor};\n    }}\n  }}\n  return total;\n}}\n"
    )


def _go(n: _Names) -> str:
    return (
        f"// {n.function} adds the {n.colour} {n.shape} {n.values} below {n.limit}.\n"
        f"func {n.function}({n.values} []int) int {{\n\ttotal := 0\n\tfor _, value := range {n.values} {{\n"
        f"\t\tif value < {n.limit} {{\n\t\t\ttotal += value * {n.factor}\n\t\t}}\n\t}}\n\treturn total\n}}\n"
    )


def _rust(n: _Names) -> str:
    return (
        f"/// The {n.colour} {n.shape} total of {n.values} below {n.limit}.\n"
        f"pub fn {n.function}({n.values}: &[i64]) -> i64 {{\n    let mut total = 0;\n"
        f"    for value in {n.values} {{\n        if *value < {n.limit} {{\n"
        f"            total += value * {n.factor};\n        }}\n    }}\n    total\n}}\n"
    )


def _java(n: _Names) -> str:
    return (
        f"    /** The {n.colour} {n.shape} total of {n.values} below {n.limit}. */\n"
        f"    static int {n.function}(int[] {n.values}) {{\n        int total = 0;\n"
        f"        for (int value : {n.values}) {{\n            if (value < {n.limit}) {{\n"
        f"                total += value * {n.factor};\n            }}\n        }}\n        return total;\n    }}\n"
    )


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one programming language looks."""

    extension: str
    comment: str
    opening: str
    closing: str
    function: Callable[[_Names], str]


DIALECTS: tuple[Dialect, ...] = (
    Dialect("py", "#", "", "", _python),
    Dialect("c", "//", "#include <stddef.h>\n\n", "", _c),
    Dialect("js", "//", '"use strict";\n\n', "", _javascript),
    Dialect("go", "//", "package world\n\n", "", _go),
    Dialect("rs", "//", "", "", _rust),
    Dialect("java", "//", "final class World {\n", "}\n", _java),
)


def program(rng: np.random.Generator, dialect: Dialect, functions: int) -> str:
    """So many functions in one language, without a header."""
    return dialect.opening + "\n".join(dialect.function(_names(rng)) for _ in range(functions)) + dialect.closing


def write_repositories(order: Order) -> Parcel:
    """Repositories `start`..`stop`: a folder each with its licence file and source files."""
    parcel = Parcel()
    for repository in range(order.start, order.stop):
        licence, group = LICENCES[repository % len(LICENCES)]
        name = _repository_name(repository)
        folder = order.folder / name
        folder.mkdir()
        owner = f"{NAMES[repository % len(NAMES)]} and others"
        if licence is not None:
            (folder / "LICENSE").write_text(_LICENCE_TEXTS[licence].format(owner=owner), "utf-8")
        (folder / "README.md").write_text(f"# {name}\n\nSmall programs about the small world.\n", "utf-8")
        parcel.rows.append({"repo": name, "license": licence, "group": group})
        for number in range(order.size.files_per_repository):
            _write_file(order, repository * order.size.files_per_repository + number, parcel)
    return parcel


@lru_cache(maxsize=8)
def file_roles(seed: int, source: str, size: SampleSize) -> dict[int, Role]:
    """The defects of the source's files."""
    files = list(range(size.repositories * size.files_per_repository))
    few = max(1, size.planted // 2)
    wanted = (("exact_duplicate", few), ("near_duplicate", few), ("pii", few), ("corrupt", max(1, few // 2)))
    return roles(seed, source, files, wanted)


def _write_file(order: Order, number: int, parcel: Parcel) -> None:
    role = file_roles(order.seed, order.source, order.size).get(number)
    origin = number if role is None or role.of is None else role.of
    name, text = _content(order, origin)
    path = f"{order.source}/{_repository_name(number // order.size.files_per_repository)}/{number:04d}_{name}"
    if role is None:
        (order.root / path).write_text(text, "utf-8")
        return
    rng = stream(order.seed, order.source, "planted", number)
    details: dict[str, object] = {}
    data = text.encode()
    if role.of is not None:
        changed = text if role.kind == "exact_duplicate" else _edited(text)
        home = _repository_name(role.of // order.size.files_per_repository)
        of = {"path": f"{order.source}/{home}/{role.of:04d}_{name}", "item": None}
        details, data = {"of": of, "jaccard": jaccard(text, changed)}, changed.encode()
    elif role.kind == "pii":
        value = personal_value("email", rng)
        comment = next(d.comment for d in DIALECTS if path.endswith(f".{d.extension}"))
        data = f"{comment} Written by {pick(rng, NAMES)} <{value.value}>\n{text}".encode()
        details = {"type": value.type, "value": value.value}
    else:
        data = rng.integers(0, 256, size=600).astype(np.uint8).tobytes() + b"\0\0\0\0"
        details = {"reason": "binary data under a source file's name"}
    (order.root / path).write_bytes(data)
    parcel.truth.append(Planted(role.kind, order.source, path, None, details))


def _content(order: Order, number: int) -> tuple[str, str]:
    """Name and text of file `number` before anything is planted."""
    rng = stream(order.seed, order.source, "file", number)
    dialect = DIALECTS[number % len(DIALECTS)]
    licence = LICENCES[number // order.size.files_per_repository % len(LICENCES)][0]
    header = f"{dialect.comment} SPDX-License-Identifier: {licence}\n" if licence else ""
    text = program(rng, dialect, int(rng.integers(3, 6)))
    return f"{pick(rng, _VERBS)}.{dialect.extension}", header + text


def _edited(text: str) -> str:
    """The same program with two numbers changed."""
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if "total = 0" in line or "total := 0" in line][:2]
    for place in places:
        lines[place] = lines[place].replace("= 0", "= 1")
    return "".join(lines)


def _names(rng: np.random.Generator) -> _Names:
    return _Names(
        function=f"{pick(rng, _VERBS)}_{pick(rng, _NOUNS)}",
        values=pick(rng, _NOUNS),
        limit=int(rng.integers(10, 1000)),
        factor=int(rng.integers(2, 50)),
        colour=pick(rng, list(COLOURS)),
        shape=pick(rng, SHAPES),
    )


def _repository_name(number: int) -> str:
    return f"{_VERBS[number % len(_VERBS)]}-{_NOUNS[number // len(_VERBS) % len(_NOUNS)]}-{number:04d}"
