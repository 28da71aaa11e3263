"""Where the site listens and whom it answers: this machine, by its own name, unless somebody says otherwise."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from expedition.errors import UsageError
from expedition.watch.web.address import LOOPBACK_NAMES, Address, answered, url_of
from expedition.workspace import Workspace


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "10.0.0.1"])
def test_host_that_others_reach_needs_leave(host: str) -> None:
    with pytest.raises(UsageError, match="no password"):
        Address(host).checked()
    assert Address(host, allow_remote=True).checked().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_loopback_needs_none(host: str) -> None:
    assert Address(host).checked().loopback


@pytest.mark.parametrize(
    ("host", "origin", "fits"),
    [
        ("127.0.0.1:8642", None, True),
        ("localhost:8642", "http://localhost:8642", True),
        ("[::1]:8642", "http://[::1]:8642", True),
        ("LOCALHOST:8642", None, True),
        ("evil.example:8642", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("127.0.0.1:8642", "http://evil.example", False),
        ("127.0.0.1:8642", "http://127.0.0.1:9999", False),
        ("127.0.0.1:8642", "null", False),
        ("[::1", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
def test_only_its_own_address_is_answered(host: str | None, origin: str | None, fits: bool) -> None:
    assert answered(host, origin, LOOPBACK_NAMES) is fits


def test_other_machines_may_use_any_name_but_not_other_sites() -> None:
    assert answered("cluster.internal:80", "http://cluster.internal:80", None)
    assert not answered("cluster.internal:80", "http://evil.example", None)


def test_port_that_is_taken_is_an_error_for_people() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen"):
            Address(port=taken.getsockname()[1]).bound()


def test_url_is_one_that_a_browser_here_can_open() -> None:
    assert url_of("0.0.0.0", 80) == "http://127.0.0.1:80/" and url_of("::1", 8) == "http://[::1]:8/"


def test_command_refuses_a_public_host(tmp_path: Path) -> None:
    Workspace.open(tmp_path / "w", create=True)
    command = [sys.executable, "-m", "expedition", "watch", "--workspace", str(tmp_path / "w"), "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--allow-remote" in done.stderr and "Traceback" not in done.stderr


def test_training_and_help_load_no_page() -> None:
    code = (
        "import sys, expedition.watch; "
        "print(sorted({'nicegui', 'fastapi', 'pyarrow', 'expedition.data.quality'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "nicegui" not in done.stdout and "fastapi" not in done.stdout and "data.quality" not in done.stdout
