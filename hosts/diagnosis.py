"""What follows from the facts about a host: findings, each with what to do about it.

The first three always answer the questions of the set-up guide: is a matching pair installed, is
the key installed, are CA certificates installed. Everything after them is worth a person's look.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address

from hosts.facts import Facts, gather
from hosts.finding import Finding, finding, new_pair
from hosts.mailroot import CERTIFICATE, KEY
from hosts.messages import Message, Param
from hosts.probe import EndpointResult, label
from hosts.questions import cas_installed, key_installed, pair_installed

__all__ = ["Facts", "Finding", "findings", "gather"]

EXPIRES_SOON_DAYS = 30
_OLD_TLS = frozenset({"SSLv3", "TLSv1", "TLSv1.1"})
#: server.tab's switch -> the endpoints behind it (SMTPS, POP3S and CTRLS obey none)
_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "EnableSMTP-TLS": ("smtp", "submission"),
    "EnablePOP3-TLS": ("pop3",),
}


def findings(facts: Facts, now: datetime) -> list[Finding]:
    """Everything that the facts say, the three questions first."""
    found = [pair_installed(facts), key_installed(facts), cas_installed(facts)]
    found += _access(facts)
    found += _certificate(facts, now)
    found += _key_in_certificate(facts)
    found += _permissions(facts)
    found += _server_tab(facts)
    found += _drift(facts)
    found += _endpoints(facts)
    return found


def _access(facts: Facts) -> Iterator[Finding]:
    if not facts.reachable:
        reason = facts.error or Message("diagnosis.not_reached")
        yield Finding("not_reached", "error", reason, Message("remedy.mend_access"))
    elif facts.error is not None:
        yield Finding("not_readable", "warning", facts.error, Message("remedy.mend_access"))
    if facts.is_mailroot is False:
        yield finding(
            "error",
            Message("diagnosis.no_mailroot", _path(facts)),
            Message("remedy.correct_mailroot"),
        )


def _certificate(facts: Facts, now: datetime) -> Iterator[Finding]:
    pair = facts.pair
    if pair.not_after is not None and pair.not_before is not None:
        until: dict[str, Param] = {"date": f"{pair.not_after:%Y-%m-%d}"}
        if pair.not_after < now:
            yield finding("error", Message("diagnosis.expired", until), new_pair())
        elif pair.not_after < now + timedelta(days=EXPIRES_SOON_DAYS):
            days = (pair.not_after - now).days
            message = Message("diagnosis.expires_soon", {**until, "days": days})
            yield finding("warning", message, new_pair())
        if pair.not_before > now:
            since: dict[str, Param] = {"date": f"{pair.not_before:%Y-%m-%d %H:%M} UTC"}
            yield finding(
                "warning", Message("diagnosis.not_yet_valid", since), Message("remedy.check_clock")
            )
    if not pair.sha256:
        return
    if not pair.has_san:
        yield finding("warning", Message("diagnosis.no_san"), new_pair())
    elif _is_public(facts.address) and not covers(pair.names, facts.address):
        yield finding(
            "info",
            Message("diagnosis.address_not_named", {"address": facts.address}),
            Message("remedy.name_address"),
        )
    if pair.is_ca:
        yield finding("warning", Message("diagnosis.is_ca"), new_pair())


def _key_in_certificate(facts: Facts) -> Iterator[Finding]:
    """Warns of a certificate file that holds the key too; more so where all may read it."""
    if facts.certificate.holds_key:
        path: dict[str, Param] = {"path": _file(facts, CERTIFICATE)}
        yield finding(
            "error" if (facts.certificate.mode or 0) & 0o007 else "warning",
            Message("diagnosis.key_in_certificate", path),
            Message("remedy.key_in_certificate", path),
        )


def _permissions(facts: Facts) -> Iterator[Finding]:
    key = facts.key
    if key.state in {"unknown", "missing_key"}:
        return
    path = _file(facts, KEY)
    if facts.os == "windows":
        yield finding(
            "info",
            Message("diagnosis.mode_windows", {"path": path}),
            Message("remedy.icacls", {"command": f'icacls "{path}"'}),
        )
        return
    mend = Message("remedy.run", {"command": f"chmod 600 {shlex.quote(path)}"})
    if key.mode is None:
        if facts.key_left_open and not facts.sees_modes:
            yield finding("warning", Message("diagnosis.key_left_open", {"path": path}), mend)
        elif not facts.sees_modes:
            yield finding("info", Message("diagnosis.mode_unseen", {"path": path}), mend)
    elif key.mode & 0o077:
        params: dict[str, Param] = {"path": path, "mode": f"{key.mode:04o}"}
        others = bool(key.mode & 0o007)
        code = "diagnosis.key_open_to_all" if others else "diagnosis.key_open_to_group"
        if (owner := facts.mailroot_uid) not in {None, 0, key.uid} and key.uid is not None:
            # XMail may read the key through what is taken away here.
            command = f"chown {owner} {shlex.quote(path)} && chmod 600 {shlex.quote(path)}"
            mend = Message("remedy.run", {"command": command})
        yield finding("error" if others else "warning", Message(code, params), mend)
    yield from _owner(facts, path)


def _owner(facts: Facts, path: str) -> Iterator[Finding]:
    """Warns when an XMail that runs as the owner of MailRoot could not read the key."""
    owner, expected = facts.key.uid, facts.mailroot_uid
    if owner is None or expected in {None, 0, owner} or facts.proven:
        return
    if facts.key.mode is not None and facts.key.mode & 0o044:
        return
    yield finding(
        "warning",
        Message("diagnosis.key_owner", {"path": path, "owner": owner, "expected": expected or 0}),
        Message("remedy.run", {"command": f"chown {expected} {shlex.quote(path)}"}),
    )


def _server_tab(facts: Facts) -> Iterator[Finding]:
    tab = facts.server_tab
    if tab is None:
        return
    on = {result.name: label(result.name, result.port) for result in facts.on}
    for switch, names in _SWITCHES.items():
        if not tab.on(switch):
            affected = [on[name] for name in names if name in on]
            if affected:
                message = Message(
                    "diagnosis.tls_off", {"setting": switch, "endpoints": ", ".join(affected)}
                )
            else:
                message = Message("diagnosis.tls_off_unused", {"setting": switch})
            level = "warning" if affected else "info"
            yield finding(level, message, Message("remedy.set_on", {"setting": switch}))
    if not tab.on("EnableCTRL-TLS"):
        yield finding(
            "warning" if facts.transport == "ctrl" else "info",
            Message("diagnosis.ctrl_tls_off"),
            Message("remedy.set_on", {"setting": "EnableCTRL-TLS"}),
        )
    if tab.on("SSLWantCert"):
        remedy = Message("remedy.set_off", {"setting": "SSLWantCert"})
        yield finding("warning", Message("diagnosis.want_cert"), remedy)
    elif tab.on("SSLWantVerify"):
        remedy = Message("remedy.set_off", {"setting": "SSLWantVerify"})
        yield finding("info", Message("diagnosis.want_verify"), remedy)


def _drift(facts: Facts) -> Iterator[Finding]:
    """Recorded, on disk, on the wire: each two that differ."""
    recorded, disk = facts.recorded_sha256, facts.pair.sha256
    if recorded and disk and recorded != disk:
        yield finding(
            "warning",
            Message("diagnosis.disk_not_recorded", {"recorded": recorded, "disk": disk}),
            Message("remedy.drift"),
        )
    elif disk and not recorded:
        yield finding(
            "info", Message("diagnosis.unrecorded", {"disk": disk}), Message("remedy.unrecorded")
        )
    if facts.placed_sha256 and facts.placed_sha256 != disk:
        message = Message("diagnosis.placed", {"placed": facts.placed_sha256})
        yield finding("info", message, Message("remedy.placed"))
    for result in facts.on:
        if not result.sha256:
            continue
        params: dict[str, Param] = {
            "endpoint": label(result.name, result.port),
            "wire": result.sha256,
        }
        if disk and result.sha256 != disk:
            yield finding(
                "error",
                Message("diagnosis.wire_not_disk", {**params, "disk": disk}),
                Message("remedy.wire_not_disk", _path(facts)),
            )
        if recorded and recorded != disk and result.sha256 != recorded:
            yield finding(
                "warning",
                Message("diagnosis.wire_not_recorded", {**params, "recorded": recorded}),
                Message("remedy.drift"),
            )


def _endpoints(facts: Facts) -> Iterator[Finding]:
    on = facts.on
    if not on:
        if not any(result.message.code == "probe.not_tried" for result in facts.endpoints):
            yield finding("info", Message("diagnosis.no_endpoint"), Message("remedy.add_endpoints"))
        return
    if on[0].message.code == "probe.no_address":
        yield finding("info", Message("diagnosis.no_address"), Message("remedy.add_address"))
        return
    if not any(result.reachable for result in on):
        yield finding(
            "warning",
            Message("diagnosis.none_reachable", {"address": facts.address, "count": len(on)}),
            Message("remedy.none_reachable"),
        )
        return
    explained = _explained_by_server_tab(facts)
    for result in on:
        if not result.ok and result.name not in explained:
            yield _failed(result)
        if result.tls_version in _OLD_TLS:
            yield finding(
                "warning",
                Message(
                    "diagnosis.old_tls",
                    {
                        "endpoint": label(result.name, result.port),
                        "version": result.tls_version,
                    },
                ),
                Message("remedy.renew_openssl"),
            )
    good = [result for result in on if result.ok and result.sha256 == _expected(facts)]
    if len(good) == len(on):
        yield finding("ok", Message("diagnosis.endpoints_ok", {"count": len(good)}))
    versions = sorted({result.xmail_version for result in on if result.xmail_version})
    if versions:
        yield finding(
            "info",
            Message("diagnosis.xmail_weaknesses", {"version": ", ".join(versions)}),
            Message("remedy.xmail_weaknesses"),
        )


def _failed(result: EndpointResult) -> Finding:
    remedies = {
        "connect": "remedy.endpoint_connect",
        "banner": "remedy.endpoint_banner",
        "command": "remedy.endpoint_command",
    }
    level, remedy = "warning", remedies.get(result.stage, "remedy.endpoint_handshake")
    if result.stage == "handshake":
        level = "error"
    if result.message.code == "probe.dropped_after_handshake":
        remedy = "remedy.client_certificate"
    return Finding(f"endpoint_{result.stage}", level, result.message, Message(remedy))


def _explained_by_server_tab(facts: Facts) -> set[str]:
    """Endpoints that fail only because a switch is off, which another finding says."""
    tab = facts.server_tab
    if tab is None:
        return set()
    off = {name for switch, names in _SWITCHES.items() if not tab.on(switch) for name in names}
    refusing = {result.name for result in facts.on if result.message.code == "probe.tls_off"}
    return off & refusing


def _expected(facts: Facts) -> str:
    return facts.recorded_sha256 or facts.pair.sha256


def covers(names: Iterable[str], address: str) -> bool:
    """Whether a certificate for these names is one for this host name or IP address."""
    wanted = address.lower().rstrip(".")
    try:
        return ip_address(wanted) in {ip_address(name) for name in names if _is_ip(name)}
    except ValueError:
        pass
    parent = wanted.partition(".")[2]
    known = {name.lower().rstrip(".") for name in names}
    return wanted in known or (bool(parent) and f"*.{parent}" in known)


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    """Whether mail programs may use this address, too: this machine's own name is for nobody."""
    if not address or address.lower() in {"localhost", "localhost.localdomain"}:
        return False
    return not (_is_ip(address) and ip_address(address).is_loopback)


def _path(facts: Facts) -> dict[str, Param]:
    return {"path": facts.mailroot}


def _file(facts: Facts, name: str) -> str:
    separator = "\\" if "\\" in facts.mailroot else "/"
    return f"{facts.mailroot.rstrip(separator)}{separator}{name}"
