"""Keys and certificates of one cluster, made once and thrown away with it.

The layout is what the Kubernetes documentation calls a single root CA (PKI certificates and requirements).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local_kubernetes.local.network import ClusterNetwork

VALID_DAYS = 365
NODE_NAME = "node1"


@dataclass(frozen=True)
class KeyPair:
    """A private key and the certificate for its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        """The private key as Kubernetes and Go read it."""
        return build_key_pem(self.key)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)


def build_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode a private key without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def build_server_names(network: ClusterNetwork) -> list[x509.GeneralName]:
    """Name every address by which the API server is reached: from the machine, the node and the pods."""
    first_service = network.services[1]
    domains = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    addresses = (ip_address("127.0.0.1"), first_service, network.node_address)
    return [
        *(x509.DNSName(name) for name in (*domains, "kubernetes.default.svc.cluster.local")),
        *(x509.IPAddress(address) for address in addresses),
    ]


def build_authority(now: datetime) -> KeyPair:
    """Make the certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bessemer-test-cluster")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        build_certificate(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key, certificate)


def build_certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    """Start a certificate; valid from an hour ago, so that no clock is too early for it."""
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=VALID_DAYS),
    )


def build_leaf(
    authority: KeyPair, common_name: str, organization: str | None, names: Sequence[x509.GeneralName], now: datetime
) -> KeyPair:
    """Make a certificate for a client, and for a server when it has names.

    Kubernetes reads user and group from CN and O.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
    issuer = authority.certificate
    builder = build_certificate(x509.Name(attributes), issuer.subject, key.public_key(), now).add_extension(
        x509.ExtendedKeyUsage(purposes), critical=False
    )
    issuer_key = authority.key.public_key()
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return KeyPair(key, builder.sign(authority.key, hashes.SHA256()))


def build_kubeconfig(server: str, context: str, authority: KeyPair, user: KeyPair) -> str:
    """Write a kubeconfig that needs no other file."""

    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    cluster = {"server": server, "certificate-authority-data": inline(authority.certificate_pem)}
    identity = {"client-certificate-data": inline(user.certificate_pem), "client-key-data": inline(user.key_pem)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": context, "user": identity}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }
    )


def create_pki(directory: Path, network: ClusterNetwork, context: str) -> None:
    """Write keys, certificates and kubeconfigs into the cluster's directory (`pki/`, `admin.conf`, `kubelet.conf`)."""
    now = datetime.now(UTC)
    authority = build_authority(now)
    server = build_leaf(authority, "kube-apiserver", None, build_server_names(network), now)
    admin = build_leaf(authority, "admin", "system:masters", [], now)
    kubelet = build_leaf(authority, f"system:node:{NODE_NAME}", "system:nodes", [], now)
    service_accounts = ec.generate_private_key(ec.SECP256R1())
    url = f"https://{network.node_address}:6443"
    files = {
        "pki/ca.crt": authority.certificate_pem,
        "pki/server.crt": server.certificate_pem,
        "pki/server.key": server.key_pem,
        "pki/admin.crt": admin.certificate_pem,
        "pki/admin.key": admin.key_pem,
        "pki/sa.key": build_key_pem(service_accounts),
        "pki/sa.pub": service_accounts.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "admin.conf": build_kubeconfig(url, context, authority, admin).encode(),
        "kubelet.conf": build_kubeconfig(url, context, authority, kubelet).encode(),
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
