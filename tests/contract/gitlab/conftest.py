"""The simulator as a server in a separate thread: python-gitlab and the control client block."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import gitlab
from gitlab_simulator.control import Simulator, send_over_http
from gitlab_simulator.server import build_app, build_state

START_SECONDS = 10


@dataclass(frozen=True)
class Site:
    """A running simulator."""

    url: str
    control: Simulator

    def connect(self, token: str) -> gitlab.Gitlab:
        return gitlab.Gitlab(self.url, private_token=token, timeout=10)


@dataclass(frozen=True)
class TlsSite(Site):
    """One that is reached by HTTPS, with a certificate of an unknown authority."""

    ca: str
    """The authority's certificate, in PEM."""


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve on a free port of the loopback until the test is over."""
    with serve() as url:
        yield Site(url, Simulator(send_over_http(url)))


@pytest.fixture
def tls_site(tmp_path: Path) -> Iterator[TlsSite]:
    """Serve by HTTPS."""
    certificate = create_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "gitlab.crt", tmp_path / "gitlab.key")
    trusting = ssl.create_default_context(cadata=certificate)
    with serve(context) as url:
        yield TlsSite(url, Simulator(send_over_http(url, trusting)), certificate)


def create_certificate(folder: Path) -> str:
    """Make a certificate for 127.0.0.1 that vouches for itself, and its key; return the certificate in PEM."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "GitLab simulator")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    (folder / "gitlab.crt").write_text(pem)
    (folder / "gitlab.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pem


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a free port of the loopback; return the URL."""
    ready: list[tuple[str, asyncio.Event, asyncio.AbstractEventLoop]] = []
    started = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        state = build_state("http://127.0.0.1")
        runner = web.AppRunner(build_app(state))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        host, port = runner.addresses[0][:2]
        state.external_url = f"{'https' if context else 'http'}://{host}:{port}"
        ready.append((state.external_url, stop, asyncio.get_running_loop()))
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(START_SECONDS), "the simulator has not started"
    url, stop, loop = ready[0]
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
