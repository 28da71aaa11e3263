"""A backward pass that writes over what the forward pass kept, and so can run once."""

from __future__ import annotations

__all__ = ["Once"]


class Once:
    """Held by the autograd context; `spend` raises RuntimeError from the second call on."""

    def __init__(self) -> None:
        self.spent = False

    def spend(self) -> None:
        """Call first in the backward pass."""
        if self.spent:
            raise RuntimeError(
                "the backward pass of the experts runs once: it writes over the hidden rows that it reads"
            )
        self.spent = True
