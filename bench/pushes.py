"""What others do: the same two files pushed by bare clients, without a portal around them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from bench.xmails import Served
from tests.servers import SSHServer


@dataclass(frozen=True)
class Files:
    """The pair that everybody pushes."""

    key: bytes
    certificate: bytes


def bare_asyncssh(server: SSHServer, roots: Sequence[Path], files: Files, at_once: int) -> None:
    """One connection a host: write both files beside their places, then rename both."""

    async def push(root: Path, slots: asyncio.Semaphore) -> None:
        async with (
            slots,
            asyncssh.connect(
                "127.0.0.1", server.port, username=server.user, client_keys=[server.client_key],
                known_hosts=server.known_hosts, config=None, agent_path=None,
                kex_algs=["curve25519-sha256"],
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):  # fmt: skip
            for name, data in (("server.key", files.key), ("server.cert", files.certificate)):
                attributes = asyncssh.SFTPAttrs(permissions=0o600)
                staged = f"{root}/sslconf/.{name}.new"
                async with sftp.open(staged, "wb", attrs=attributes) as file:
                    await file.write(data)
            for name in ("server.key", "server.cert"):
                await sftp.posix_rename(f"{root}/sslconf/.{name}.new", f"{root}/{name}")

    async def push_all() -> None:
        slots = asyncio.Semaphore(at_once)
        await asyncio.gather(*(push(root, slots) for root in roots))

    asyncio.run(push_all())


def openssh_sftp(server: SSHServer, roots: Sequence[Path], files: Files, at_once: int) -> None:
    """OpenSSH's own sftp in batch mode, with the key exchange that costs its client least."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        identity = folder / "identity"
        identity.touch(mode=0o600)
        server.client_key.write_private_key(identity)
        known = folder / "known_hosts"
        public = server.host_key.export_public_key().decode()
        known.write_text(f"[127.0.0.1]:{server.port} {public}")
        for name, data in (("server.key", files.key), ("server.cert", files.certificate)):
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        command = [
            "sftp", "-q", "-b", "-", "-P", str(server.port), "-i", str(identity), "-F", "none",
            "-o", f"UserKnownHostsFile={known}", "-o", "KexAlgorithms=curve25519-sha256",
            "-o", "IdentitiesOnly=yes", f"{server.user}@127.0.0.1",
        ]  # fmt: skip

        def push(root: Path) -> None:
            batch = "".join(
                f"put -p {folder}/{name} {root}/sslconf/.{name}.new\n"
                for name in ("server.key", "server.cert")
            ) + "".join(
                f"rename {root}/sslconf/.{name}.new {root}/{name}\n"
                for name in ("server.key", "server.cert")
            )
            subprocess.run(command, input=batch.encode(), check=True, stdout=subprocess.DEVNULL)

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(push, roots))


def paramiko_threads(server: SSHServer, roots: Sequence[Path], files: Files, threads: int) -> None:
    """paramiko, one connection a host, in threads."""
    import io

    import paramiko

    secret = server.client_key.export_private_key("openssh").decode()
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(secret))

    def push(root: Path) -> None:
        client = paramiko.SSHClient()
        name = f"[127.0.0.1]:{server.port}"
        kind, text = server.host_key.export_public_key().decode().split()[:2]
        from base64 import b64decode

        client.get_host_keys().add(name, kind, paramiko.Ed25519Key(data=b64decode(text)))
        client.connect(
            "127.0.0.1", server.port, server.user, pkey=key, allow_agent=False,
            look_for_keys=False,
        )  # fmt: skip
        with client, client.open_sftp() as sftp:
            for name, data in (("server.key", files.key), ("server.cert", files.certificate)):
                staged = f"{root}/sslconf/.{name}.new"
                with sftp.open(staged, "wb") as file:
                    file.chmod(0o600)
                    file.write(data)
            for name in ("server.key", "server.cert"):
                sftp.posix_rename(f"{root}/sslconf/.{name}.new", f"{root}/{name}")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(push, roots))


def ansible(server: SSHServer, roots: Sequence[Path], files: Files, forks: int) -> None:
    """Ansible's copy module with its best settings: pipelining, many forks, no facts gathered."""
    own = Path(sys.executable).parent
    program = shutil.which("ansible-playbook", path=f"{own}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise FileNotFoundError("ansible-playbook")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        identity = folder / "identity"
        identity.touch(mode=0o600)
        server.client_key.write_private_key(identity)
        for name, data in (("server.key", files.key), ("server.cert", files.certificate)):
            (folder / name).write_bytes(data)
        lines = [
            f"h{number} ansible_host=127.0.0.1 ansible_port={server.port} mailroot={root}"
            for number, root in enumerate(roots)
        ]
        (folder / "inventory").write_text(
            "[all]\n" + "\n".join(lines) + "\n[all:vars]\n"
            f"ansible_user={server.user}\nansible_ssh_private_key_file={identity}\n"
            "ansible_python_interpreter=/usr/bin/python3\n"
        )
        (folder / "play.yml").write_text(
            "- hosts: all\n  gather_facts: false\n  strategy: free\n  tasks:\n"
            + "".join(
                f"    - copy: {{src: {folder}/{name}, dest: '{{{{ mailroot }}}}/{name}', "
                f"mode: '{mode}'}}\n"
                for name, mode in (("server.key", "0600"), ("server.cert", "0644"))
            )
        )
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": scratch,
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_ARGS": "-o KexAlgorithms=curve25519-sha256 -o ControlMaster=auto "
            "-o ControlPersist=30s -o UserKnownHostsFile=/dev/null",
            "LC_ALL": "C.UTF-8",
        }
        subprocess.run(
            [program, "-i", "inventory", "-f", str(forks), "play.yml"], cwd=folder, check=True,
            env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def bare_ctrl(xmails: Sequence[Served], files: Files, threads: int) -> None:
    """CTRL by bare sockets: a new TLS session for each, log in, send the key, the certificate.

    On the port that the portal uses, with #!TLS. Each file goes in one write together with its
    command. Nothing is read, checked or kept.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def push(xmail: Served) -> None:
        raw = socket.create_connection(("127.0.0.1", xmail.ports["ctrl"]), timeout=30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamp = b"<" + raw.recv(1024).split(b"<", 1)[1].split(b">", 1)[0] + b">"
        raw.sendall(b"#!TLS\r\n")
        assert raw.recv(1024)[:1] == b"+"
        with context.wrap_socket(raw) as tls, tls.makefile("rb") as replies:
            answer = hashlib.md5(stamp + xmail.password.encode()).hexdigest()  # noqa: S324  CTRL's own
            tls.sendall(f'"{xmail.user}"\t"#{answer}"\r\n'.encode())
            replies.readline()
            for name, data in (("server.key", files.key), ("server.cert", files.certificate)):
                lines = data.replace(b"\n", b"\r\n")
                tls.sendall(f'"cfgfileset"\t"{name}"\r\n'.encode() + lines + b".\r\n")
                for _ in range(2):
                    assert replies.readline()[:1] == b"+"
            tls.sendall(b'"quit"\r\n')
            replies.readline()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(push, xmails))


def bare_handshakes(xmails: Sequence[Served], services: Sequence[str], threads: int) -> None:
    """A handshake with each service of each server, and not a word more than it takes to begin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    words = {"smtp": (b"EHLO x\r\n", b"STARTTLS\r\n"), "pop3": (b"STLS\r\n",)}

    def greet(served: Served, service: str) -> None:
        with socket.create_connection(("127.0.0.1", served.ports[service]), timeout=30) as raw:
            if service in words:
                raw.recv(4096)
            for word in words.get(service, ()):
                raw.sendall(word)
                raw.recv(4096)
            context.wrap_socket(raw).close()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(greet, *zip(*itertools.product(xmails, services), strict=True)))
