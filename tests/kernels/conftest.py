"""Where kernels can run here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expedition.kernels.triton_jit import INTERPRETED

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A CUDA device, or the CPU under Triton's interpreter; a test of kernels has no third place."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if INTERPRETED:
        return torch.device("cpu")
    pytest.skip("kernels need a CUDA device, or TRITON_INTERPRET=1 with Triton installed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Parity on a CUDA device is what `pytest -m gpu` runs there; elsewhere the same tests are the interpreter's."""
    if torch.cuda.is_available():
        for item in items:
            if "device" in getattr(item, "fixturenames", ()) and item.path.parent == HERE:
                item.add_marker(pytest.mark.gpu)
