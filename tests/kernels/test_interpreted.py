"""The kernels' own tests under Triton's interpreter: parity on a machine without a GPU, in an environment of its own.

A CPU build of torch comes without Triton; its package is put beside the tests' environment and `TRITON_INTERPRET=1` runs
every kernel on CPU tensors. What needs a real device stays marked `gpu` and is skipped there too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from expedition.kernels.triton_jit import triton
from tests.peers import peer_package

HERE = Path(__file__).resolve().parent
TRITON = "triton==3.6.0"
LEAST = 40
"""Fewer passed tests mean that the kernels were skipped."""


@pytest.mark.skipif(triton is not None, reason="Triton is installed: the kernels' tests run here as they are")
def test_every_kernel_equals_its_reference_under_the_interpreter() -> None:
    package = peer_package("triton", TRITON)
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rN", "-o", "addopts=", "-p", "no:cacheprovider", str(HERE)]
    done = subprocess.run(
        [*command, f"--ignore={HERE / Path(__file__).name}"],
        capture_output=True,
        text=True,
        timeout=900,
        env=environ,
        cwd=HERE.parents[1],
        check=False,
    )
    said = done.stdout[-4000:] + done.stderr[-2000:]
    assert done.returncode == 0, said
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= LEAST, said
