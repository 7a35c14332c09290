"""A real object store on loopback: Versity's S3 gateway, whose buckets are folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.binaries.build import get_binaries
from local_kubernetes.binaries.components import VERSITYGW
from tests.contract.machines.daemons import find_free_port, run_daemon

ACCESS_KEY, SECRET_KEY, REGION = "runners", "the-secret-key-of-the-store", "us-east-1"


@dataclass(frozen=True)
class ObjectStore:
    """A running store with one account."""

    server: str
    """Host and port."""
    buckets: Path

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        (self.buckets / name).mkdir()

    def list_objects(self, bucket: str) -> list[str]:
        """List the names of the objects in a bucket."""
        found = (path for path in (self.buckets / bucket).rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.buckets / bucket)) for path in found)


@contextmanager
def run_object_store(folder: Path) -> Iterator[ObjectStore]:
    """Run a store until the block ends."""
    program, port, buckets = get_binaries(VERSITYGW) / "versitygw", find_free_port(), folder / "buckets"
    buckets.mkdir(parents=True)
    account = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    command = [str(program), "--port", f"127.0.0.1:{port}", "--region", REGION, "posix", str(buckets)]
    with run_daemon(command, port, folder / "store.log", {**os.environ, **account}):
        yield ObjectStore(f"127.0.0.1:{port}", buckets)
