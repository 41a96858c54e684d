"""Who imports the certificate as trusted verifies the host name without an error.

Real tools against a real TLS server, each with the controls that must fail: nothing imported,
and another host name. The table in docs/decisions.md tells what was seen.
"""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs.issue import IssuedPair, PrivateKey, self_sign
from certs.spec import PairSpec, key_choices
from tests.certs.conftest import NOW, spec, tool

PairOf = Callable[[str], IssuedPair]

NAMES = ["mail.dojo.jp", "www.soopoo.jp", "192.0.2.25", "2001:db8::25"]


class Case:
    """A pair in files, a server that serves it, and whether the client may trust it."""

    def __init__(self, directory: Path, pair: IssuedPair) -> None:
        self.directory = directory
        self.certificate = directory / "server.cert"
        self.key = directory / "server.key"
        self.certificate.write_bytes(pair.certificate_pem)
        self.key.write_bytes(pair.key_pem)
        self.port = 0

    @contextmanager
    def serving(self) -> Iterator["Case"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=_serve, args=(listener, context))
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    def run(self, *command: str) -> tuple[bool, str]:
        done = subprocess.run(
            [tool(command[0]), *command[1:]],
            input=b"",
            capture_output=True,
            timeout=30,
            cwd=self.directory,
        )
        return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Greets whoever completes a handshake, and waits for the other side to close."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(10)
            with context.wrap_socket(connection, server_side=True) as channel:
                channel.sendall(b"220 ready\r\n")
                while channel.recv(1000):
                    pass


def openssl_s_client(case: Case, name: str, trusted: bool, strict: bool = False) -> bool:
    check = "-verify_ip" if _is_address(name) else "-verify_hostname"
    trust = ["-CAfile", "server.cert"] if trusted else ["-no-CAfile"]
    ok, said = case.run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{case.port}", "-brief",
        "-verify_return_error", check, name, *trust, *(["-x509_strict"] if strict else []),
    )  # fmt: skip
    assert ok == ("Verification: OK" in said), said
    return ok


def openssl_strict(case: Case, name: str, trusted: bool) -> bool:
    return openssl_s_client(case, name, trusted, strict=True)


def gnutls_cli(case: Case, name: str, trusted: bool) -> bool:
    trust = ["--x509cafile", "server.cert"] if trusted else ["--x509cafile", "/dev/null"]
    _, said = case.run(
        "gnutls-cli", *trust, "--verify-hostname", name, "-p", str(case.port), "127.0.0.1"
    )
    ok = "The certificate is trusted" in said
    assert ok == ("Handshake was completed" in said), said
    return ok


def nss_peer(case: Case, name: str, trusted: bool) -> bool:
    database = f"sql:{case.directory / ('nss' if trusted else 'nss-empty')}"
    Path(database.removeprefix("sql:")).mkdir(exist_ok=True)
    made, said = case.run("certutil", "-N", "-d", database, "--empty-password")
    assert made, said
    if trusted:
        added, said = case.run(
            "certutil", "-A", "-d", database, "-n", "mail", "-t", "P,,", "-i", "server.cert"
        )
        assert added, said
    ok, said = case.run(
        "tstclnt", "-4", "-h", "127.0.0.1", "-a", name, "-p", str(case.port), "-d", database, "-Q"
    )
    assert ok == ("authentication of server cert failed" not in said), said
    return ok


def python_ssl(case: Case, name: str, trusted: bool, strict: bool = False) -> bool:
    context = ssl.create_default_context(cafile=str(case.certificate) if trusted else None)
    assert context.check_hostname
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection(("127.0.0.1", case.port), timeout=10) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=name) as channel:
                return channel.recv(3) == b"220"
        except ssl.SSLCertVerificationError:
            return False


def python_strict(case: Case, name: str, trusted: bool) -> bool:
    return python_ssl(case, name, trusted, strict=True)


CLIENTS = [openssl_s_client, openssl_strict, gnutls_cli, nss_peer, python_ssl, python_strict]
Client = Callable[[Case, str, bool], bool]


def _is_address(name: str) -> bool:
    return name[0].isdigit()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", key_choices())
def test_an_importer_verifies_the_host_name(
    client: Client, kind: str, pair_of: PairOf, tmp_path: Path
) -> None:
    with Case(tmp_path, pair_of(kind)).serving() as case:
        assert client(case, "mail.dojo.jp", True)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_verified(client: Client, name: str, pair_of: PairOf, tmp_path: Path) -> None:
    with Case(tmp_path, pair_of("ec-256")).serving() as case:
        assert client(case, name, True)


@pytest.mark.parametrize("client", CLIENTS)
def test_controls_fail(client: Client, pair_of: PairOf, tmp_path: Path) -> None:
    with Case(tmp_path, pair_of("ec-256")).serving() as case:
        assert not client(case, "mail.dojo.jp", False)
    (tmp_path / "other").mkdir()
    with Case(tmp_path / "other", pair_of("ec-256")).serving() as case:
        assert not client(case, "other.dojo.jp", True)


@pytest.mark.parametrize("strict", [[], ["-x509_strict"], ["-purpose", "sslserver"]])
@pytest.mark.parametrize("kind", key_choices())
def test_openssl_verify(kind: str, strict: list[str], pair_of: PairOf, tmp_path: Path) -> None:
    case = Case(tmp_path, pair_of(kind))
    ok, said = case.run("openssl", "verify", *strict, "-CAfile", "server.cert", "server.cert")
    assert ok, said


def test_certutil_calls_it_valid_for_a_server(pair_of: PairOf, tmp_path: Path) -> None:
    case = Case(tmp_path, pair_of("rsa-2048"))
    case.run("certutil", "-N", "-d", "sql:.", "--empty-password")
    case.run("certutil", "-A", "-d", "sql:.", "-n", "mail", "-t", "P,,", "-i", "server.cert")
    ok, said = case.run("certutil", "-V", "-d", "sql:.", "-n", "mail", "-u", "V", "-e")
    assert "certificate is valid" in said
    assert ok


def lint(certificate: x509.Certificate, directory: Path) -> list[str]:
    """What pkilint finds against RFC 5280, notices included."""
    pytest.importorskip("pkilint")
    path = directory / "lint.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = [sys.executable, "-m", "pkilint.bin.lint_pkix_cert", "lint", "-s", "NOTICE"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60)
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("kind", key_choices())
def test_pkilint_finds_nothing(kind: str, pair_of: PairOf, tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(pair_of(kind).certificate_pem)
    assert lint(certificate, tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        spec(common_name="192.0.2.1", aliases="", email="", organizational_unit=""),
        spec(state="都" * 128, locality="区" * 128, organization="社" * 64, days="1"),
        spec(aliases=" ".join(f"例え{number}.jp" for number in range(99))),
    ],
    ids=["address alone", "longest texts", "100 names"],
)
def test_pkilint_finds_nothing_at_the_limits(
    content: PairSpec, ec_key: PrivateKey, tmp_path: Path
) -> None:
    assert lint(self_sign(content, ec_key, NOW), tmp_path) == []


def test_pkilint_objects_to_wildcards_alone(ec_key: PrivateKey, tmp_path: Path) -> None:
    """RFC 5280 gives wildcards no meaning (4.2.1.6); RFC 9525 and every client do."""
    found = lint(self_sign(spec(aliases="*.dojo.jp"), ec_key, NOW), tmp_path)
    assert found == [
        'pkix.invalid_domain_name_syntax (ERROR): Invalid domain name syntax: "*.dojo.jp"'
    ]


def test_pkilint_is_awake(ec_key: PrivateKey, tmp_path: Path) -> None:
    """The control: a certificate outside our profile has findings."""
    good = self_sign(spec(), ec_key, NOW)
    name = x509.Name([])
    bad = (
        x509.CertificateBuilder(name, name, good.public_key(), 1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(ec_key, good.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    assert len(lint(bad, tmp_path)) >= 3
