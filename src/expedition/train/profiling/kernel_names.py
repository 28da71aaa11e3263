"""Names of the kernels room's own kernels and autograd functions, and the family that each belongs to by its file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import expedition.kernels

_BY_FILE: Final = (
    ("expert_products", re.compile(r"^scaled_products_triton$|^grouped_products|^hopper")),
    ("head", re.compile(r"cross_entropy|head")),
    ("attention", re.compile(r"^attention|varlen|flash|segment")),
    ("norm_rotary", re.compile(r"norm|rope|rotary")),
    ("optimizer", re.compile(r"adamw|muon|optimi[sz]er|rounding")),
    ("gather_sum", re.compile(r"expert|rout|gather|rows|swiglu|permut|balance|top_")),
    ("quantise", re.compile(r"quanti[sz]e|fp8|scaled")),
)
"""By what a file is called, the first that fits. Products are told by their operations, so what is left of a file of
experts is the work around them."""


@cache
def kernel_families() -> Mapping[str, frozenset[str]]:
    """Families by name; several for a name that several files use."""
    found: dict[str, set[str]] = {}
    for path in sorted(Path(str(expedition.kernels.__file__)).parent.glob("*.py")):
        family = next((family for family, pattern in _BY_FILE if pattern.search(path.stem)), None)
        if family is not None:
            for name in _defined(path):
                found.setdefault(name, set()).add(family)
    return {name: frozenset(families) for name, families in found.items()}


def _defined(path: Path) -> Iterator[str]:
    """Names of a file's Triton kernels and autograd functions."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(one) for one in node.decorator_list):
            yield node.name
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Function") for base in node.bases):
            yield node.name
