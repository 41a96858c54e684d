"""Ready-made settings for clients that are set up by a file or a command line.

Every recipe has the client verify that it speaks to the right server; `~/xmail.pem` stands for the
certificate, `USER` for the person's account. What they rest on is in the client notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Place", "Recipe", "recipes"]

PEM = "~/xmail.pem"


@dataclass(frozen=True)
class Place:
    """Where one protocol of a host is: the port to enter, and how it is secured."""

    protocol: str  # POP3 or SMTP
    name: str
    port: int
    implicit: bool  # TLS from the first byte, else STARTTLS/STLS
    sha256: str = ""  # of the certificate, with colons; empty if unknown


@dataclass(frozen=True)
class Recipe:
    """Lines to be copied into `into`, a file, or "" for a command line."""

    into: str
    text: str


Made = Iterator[Recipe]


def recipes(slug: str, place: Place) -> list[Recipe]:
    """Returns what to copy for the client to use this place; [] for clients that have dialogs."""
    make = RECIPES.get(slug)
    return [] if make is None else list(make(place))


def _tool_options(place: Place) -> list[str]:
    pinned = place.sha256 and place.protocol == "SMTP"
    trust = f"tls_fingerprint {place.sha256}" if pinned else f"tls_trust_file {PEM}"
    return [
        f"host {place.name}",
        f"port {place.port}",
        "tls on",
        f"tls_starttls {'off' if place.implicit else 'on'}",
        trust,
        "auth on",
        "user USER",
    ]


def _msmtp(place: Place) -> Made:
    if place.protocol == "SMTP":
        yield Recipe("~/.msmtprc", "\n".join(["account xmail", *_tool_options(place)]))


def _mpop(place: Place) -> Made:
    if place.protocol == "POP3":
        lines = ["account xmail", *_tool_options(place), "delivery maildir ~/Maildir"]
        yield Recipe("~/.mpoprc", "\n".join(lines))


def _fetchmail(place: Place) -> Made:
    if place.protocol == "POP3":
        ssl = "ssl " if place.implicit else ""
        lines = [
            f"poll {place.name} protocol POP3 port {place.port}",
            f'  user "USER" {ssl}sslcertck sslcertfile "{PEM}"',
        ]
        yield Recipe("~/.fetchmailrc", "\n".join(lines))


def _getmail(place: Place) -> Made:
    if place.protocol == "POP3" and place.implicit:
        lines = [
            "[retriever]",
            "type = SimplePOP3SSLRetriever",
            f"server = {place.name}",
            f"port = {place.port}",
            "username = USER",
            f"ca_certs = {PEM}",
            "[destination]",
            "type = Maildir",
            "path = ~/Maildir/",
        ]
        yield Recipe("~/.config/getmail/getmailrc", "\n".join(lines))


def _curl(place: Place) -> Made:
    scheme = place.protocol.lower() + ("s" if place.implicit else "")
    require = "" if place.implicit else "--ssl-reqd "
    command = f"curl --cacert {PEM} {require}--user USER {scheme}://{place.name}:{place.port}"
    if place.protocol == "SMTP":
        command += " --mail-from USER@DOMAIN --mail-rcpt USER@DOMAIN --upload-file message.txt"
    yield Recipe("", command)


def _swaks(place: Place) -> Made:
    if place.protocol == "SMTP":
        tls = "--tls-on-connect" if place.implicit else "--tls"
        yield Recipe(
            "",
            f"swaks --server {place.name} --port {place.port} {tls} --tls-verify "
            f"--tls-ca-path {PEM} --auth-user USER --from USER@DOMAIN --to USER@DOMAIN",
        )


def _s_nail(place: Place) -> Made:
    lines = ["set v15-compat", f"set tls-ca-file={PEM}"]
    if place.protocol == "SMTP":
        scheme = "smtps" if place.implicit else "smtp"
        lines.append(f"set mta={scheme}://USER@{place.name}:{place.port} smtp-auth=login")
        lines += [] if place.implicit else ["set smtp-use-starttls"]
    else:
        scheme = "pop3s" if place.implicit else "pop3"
        lines.append(f"set inbox={scheme}://USER@{place.name}:{place.port}")
        lines += [] if place.implicit else ["set pop3-use-starttls"]
    yield Recipe("~/.mailrc", "\n".join(lines))


def _mutt(place: Place) -> Made:
    variable, scheme = ("smtp_url", "smtp") if place.protocol == "SMTP" else ("pop_host", "pop")
    scheme += "s" if place.implicit else ""
    lines = [
        f'set {variable}="{scheme}://USER@{place.name}:{place.port}"',
        f'set certificate_file="{PEM}"',
        *([] if place.implicit else ["set ssl_starttls=yes", "set ssl_force_tls=yes"]),
    ]
    yield Recipe("~/.muttrc", "\n".join(lines))


def _alpine(place: Place) -> Made:
    tls = "ssl" if place.implicit else "tls"
    if place.protocol == "SMTP":
        text = f"smtp-server={place.name}:{place.port}/{tls}/user=USER/novalidate-cert"
    else:
        where = f"{place.name}:{place.port}/pop3/{tls}/user=USER/novalidate-cert"
        text = f"inbox-path={{{where}}}INBOX"
    yield Recipe("~/.pinerc", text)


def _openssl(place: Place) -> Made:
    starttls = "" if place.implicit else f"-starttls {place.protocol.lower()} "
    yield Recipe(
        "",
        f"openssl s_client -connect {place.name}:{place.port} {starttls}-CAfile {PEM} "
        f"-verify_return_error -verify_hostname {place.name}",
    )


def _gnutls(place: Place) -> Made:
    starttls = "" if place.implicit else f"--starttls-proto={place.protocol.lower()} "
    command = f"gnutls-cli --x509cafile {PEM} {starttls}--port {place.port} {place.name}"
    yield Recipe("", command)


def _python(place: Place) -> Made:
    module, kind = ("smtplib", "SMTP") if place.protocol == "SMTP" else ("poplib", "POP3")
    lines = [
        f"import {module}, os, ssl",
        f'context = ssl.create_default_context(cafile=os.path.expanduser("{PEM}"))',
    ]
    where = f'"{place.name}", {place.port}'
    if place.implicit:
        lines.append(f"server = {module}.{kind}_SSL({where}, context=context)")
    else:
        method = "starttls" if place.protocol == "SMTP" else "stls"
        lines += [f"server = {module}.{kind}({where})", f"server.{method}(context=context)"]
    yield Recipe("", "\n".join(lines))


RECIPES: dict[str, Callable[[Place], Made]] = {
    "alpine": _alpine,
    "curl": _curl,
    "fetchmail": _fetchmail,
    "getmail6": _getmail,
    "gnutls-cli": _gnutls,
    "mpop": _mpop,
    "msmtp": _msmtp,
    "mutt": _mutt,
    "neomutt": _mutt,
    "openssl-s-client": _openssl,
    "python-default-context": _python,
    "s-nail": _s_nail,
    "swaks": _swaks,
}
