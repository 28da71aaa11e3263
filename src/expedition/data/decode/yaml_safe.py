"""YAML from outside, within bounds: no objects, no alias bombs, no depth. Counted before anything is built."""

from __future__ import annotations

from typing import Any

import yaml

from expedition.data.decode.piece import Refused
from expedition.data.decode.reasons import Reason

_MAX_NODES = 100_000
_MAX_DEPTH = 64
_MAX_BYTES = 4 << 20
_PLAIN_TAGS = ("tag:yaml.org,2002:", "!")
_UNSAFE = ("python/", "ruby/", "java", "php/", "perl/")


def load_yaml(data: bytes) -> Any:
    """The value of a YAML text.

    Raises Refused: TOO_LARGE, TOO_DEEP, UNPACKED_TOO_LARGE (aliases that multiply), UNSAFE_TAG (a tag that would
    build an object), CORRUPT (not YAML).
    """
    check_yaml(data)
    try:
        return yaml.safe_load(data)
    except yaml.constructor.ConstructorError as error:
        raise Refused(Reason.UNSAFE_TAG, str(error.problem)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refused(Reason.CORRUPT, _first_line(error)) from None


def check_yaml(data: bytes) -> None:
    """Walk the events of a YAML text without building a value; raises as `load_yaml` does."""
    if len(data) > _MAX_BYTES:
        raise Refused(Reason.TOO_LARGE, f"YAML of {len(data)} bytes")
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = []
    total = 0
    try:
        for event in yaml.parse(data, Loader=yaml.SafeLoader):
            grown = _event_size(event, sizes, stack)
            total += grown
            if total > _MAX_NODES:
                raise Refused(Reason.UNPACKED_TOO_LARGE, f"more than {_MAX_NODES} nodes with aliases expanded")
            if len(stack) > _MAX_DEPTH:
                raise Refused(Reason.TOO_DEEP, f"more than {_MAX_DEPTH} levels")
    except yaml.YAMLError as error:
        raise Refused(Reason.CORRUPT, _first_line(error)) from None
    except RecursionError:
        raise Refused(Reason.TOO_DEEP, "YAML nesting") from None


def _event_size(event: yaml.Event, sizes: dict[str, int], stack: list[tuple[str | None, int]]) -> int:
    """Nodes that an event adds with aliases expanded; keeps the sizes of anchored collections."""
    tag = getattr(event, "tag", None)
    if isinstance(tag, str) and (any(part in tag for part in _UNSAFE) or not tag.startswith(_PLAIN_TAGS)):
        raise Refused(Reason.UNSAFE_TAG, tag[:80])
    size = 0
    if isinstance(event, yaml.AliasEvent):
        size = sizes.get(event.anchor or "", 1)
    elif isinstance(event, yaml.ScalarEvent):
        size = 1
        if event.anchor:
            sizes[event.anchor] = 1
    elif isinstance(event, yaml.CollectionStartEvent):
        stack.append((event.anchor, 1))
        return 1
    elif isinstance(event, yaml.CollectionEndEvent):
        anchor, inside = stack.pop()
        if anchor:
            sizes[anchor] = inside
        if stack:
            stack[-1] = (stack[-1][0], stack[-1][1] + inside)
        return 0
    if stack and size:
        stack[-1] = (stack[-1][0], stack[-1][1] + size)
    return size


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:160]
