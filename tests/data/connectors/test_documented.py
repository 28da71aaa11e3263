"""docs/data-sources.md says every connector's options, with the words of their docstrings."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from expedition.data.connectors.connector import BUILT_IN, find_connector
from expedition.data.connectors.policy import FetchPolicy

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data-sources.md"


def option_rows(model: type[BaseModel]) -> list[str]:
    """A table row a field: name, default, meaning."""
    (body,) = (node for node in ast.parse(inspect.getsource(model)).body if isinstance(node, ast.ClassDef))
    meanings: dict[str, str] = {}
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(node, ast.Expr):
            meanings[before.target.id] = " ".join(str(ast.literal_eval(node.value)).split()).replace("|", "\\|")
    return [
        f"| `{name}` | {_default(field.get_default(call_default_factory=True))} | {meanings.get(name, '')} |"
        for name, field in model.model_fields.items()
    ]


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value in (None, (), {}):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_option_of_a_connector_is_on_the_page(name: str) -> None:
    page = PAGE.read_text()
    assert f"`{name}`" in page
    missing = [row for row in option_rows(find_connector(name).config) if row not in page]
    assert missing == []


def test_every_option_of_a_fetch_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [row for row in option_rows(FetchPolicy) if row not in page] == []
