"""Names of checkpoints: `checkpoint_1.5T_tokens`, a function of tokens that no two checkpoints of a run share."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"), (1, ""))
_NAME = re.compile(r"^checkpoint_\d+(?:\.\d+)?[kMBT]?_tokens$")


def checkpoint_name(tokens: int, step_tokens: int) -> str:
    """Name of the checkpoint after `tokens` tokens in a run whose smallest step has `step_tokens` tokens.

    The number has the fewest decimals whose rounding error is below half of `step_tokens`. Two checkpoints lie at least
    `step_tokens` apart, so no two of a run can have the same number: 1,500,003,123,200 tokens with steps of 16.8M are
    "1.5T", and the step after is "1.50002T".
    """
    if tokens < 0 or step_tokens < 1:
        raise ValueError(f"no checkpoint has {tokens} tokens in steps of {step_tokens}")
    unit, suffix = next(((unit, suffix) for unit, suffix in _UNITS if tokens >= unit), _UNITS[-1])
    exact = Decimal(tokens) / unit
    for decimals in range(13):
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
        if 2 * abs(rounded * unit - tokens) < step_tokens:
            return f"checkpoint_{rounded}{suffix}_tokens"
    raise AssertionError("twelve decimals of any unit are exact")


def is_checkpoint_name(name: str) -> bool:
    """Whether a folder is named like a checkpoint."""
    return _NAME.match(name) is not None
