"""The three questions of the set-up guide: the pair, the key, the CA certificates."""

from __future__ import annotations

from hosts.facts import Facts
from hosts.finding import Finding, finding, new_pair
from hosts.mailroot import CERTIFICATE, KEY, ServerTab
from hosts.messages import Message, Param
from hosts.probe import EndpointResult


def pair_installed(facts: Facts) -> Finding:
    pair = facts.pair
    file_names: dict[str, Param] = {"key": KEY, "certificate": CERTIFICATE}
    wire = [result for result in facts.on if result.ok]
    match pair.state:
        case "ok":
            return finding("ok", Message("diagnosis.pair_ok", _named(facts)))
        case "none":
            level = "error" if facts.recorded_sha256 else "warning"
            return finding(level, Message("diagnosis.pair_none"), Message("remedy.install_pair"))
        case "missing_key":
            message = Message("diagnosis.pair_missing_key", file_names)
        case "bad_key":
            message = Message("diagnosis.pair_bad_key", file_names)
        case "missing_certificate":
            message = Message("diagnosis.pair_missing_certificate", file_names)
        case "bad_certificate":
            message = Message("diagnosis.pair_bad_certificate", file_names)
            if wire:  # XMail reads it all the same
                params = {**file_names, "count": len(wire)}
                return finding(
                    "warning", Message("diagnosis.pair_odd_certificate", params), new_pair()
                )
        case "large_key":
            message = Message("diagnosis.pair_large_key", file_names)
        case "large_certificate":
            message = Message("diagnosis.pair_large_certificate", file_names)
        case "long_key":
            message = Message("diagnosis.pair_long_key", file_names)
            if facts.proven:  # XMail serves it all the same
                return finding("warning", message, new_pair())
        case "encrypted_key":
            message = Message("diagnosis.pair_encrypted_key", file_names)
        case "mismatch":
            message = Message("diagnosis.pair_mismatch", file_names)
        case "weak_key" | "weak_signature":
            if facts.proven:
                return finding(
                    "warning", Message("diagnosis.pair_weak_but_served"), new_pair()
                )  # an old OpenSSL on the host
            message = Message("diagnosis.pair_weak")
        case _:
            return _pair_unseen(facts, wire)
    return finding("error", message, Message("remedy.install_pair"))


def _pair_unseen(facts: Facts, wire: list[EndpointResult]) -> Finding:
    """The key could not be judged: a completed handshake still proves that the pair is good."""
    if facts.proven:
        return finding("ok", Message("diagnosis.pair_ok", _named(facts)))
    if wire and not facts.reachable:
        return finding("ok", Message("diagnosis.pair_on_wire", {"count": len(wire)}))
    return finding(
        "warning", Message("diagnosis.pair_unknown"), Message("remedy.look_at_host", _path(facts))
    )


def key_installed(facts: Facts) -> Finding:
    state = facts.key.state
    params: dict[str, Param] = {"key": KEY}
    match state:
        case "ok":
            return finding("ok", Message("diagnosis.key_ok", params))
        case "unseen":
            return finding("ok", Message("diagnosis.key_unseen", params))
        case "weak_key":
            return finding("warning", Message("diagnosis.key_weak", params), new_pair())
        case "missing_key":
            return finding(
                "warning" if facts.pair.state == "none" and not facts.recorded_sha256 else "error",
                Message("diagnosis.key_missing", params),
                Message("remedy.install_pair"),
            )
        case "bad_key":
            message = Message("diagnosis.key_bad", params)
        case "large_key":
            message = Message("diagnosis.key_large", params)
        case "long_key":
            message = Message("diagnosis.key_long", params)
        case "encrypted_key":
            message = Message("diagnosis.key_encrypted", params)
        case "unreadable":
            return finding(
                "warning",
                Message("diagnosis.key_unreadable", params),
                Message("remedy.let_portal_read", params),
            )
        case _:
            if any(result.ok for result in facts.on):
                return finding("ok", Message("diagnosis.key_on_wire"))
            return finding(
                "warning",
                Message("diagnosis.key_unknown", params),
                Message("remedy.look_at_host", _path(facts)),
            )
    return finding("error", message, Message("remedy.install_pair"))


def cas_installed(facts: Facts) -> Finding:
    cas, tab = facts.ca, facts.server_tab
    wanted = tab is not None and tab.verifies_clients
    counts: dict[str, Param] = {"file": cas.file_count, "directory": cas.directory_count}
    if cas.file == "bad":
        breaks = wanted and tab is not None and tab.on("SSLUseCertsFile")
        code = "diagnosis.ca_bad_breaks" if breaks else "diagnosis.ca_bad"
        level = "error" if breaks else "warning"
        return finding(level, Message(code), Message("remedy.mend_ca_file"))
    if cas.file == "large":
        return finding("warning", Message("diagnosis.ca_large"), Message("remedy.mend_ca_file"))
    if cas.file == "unknown":
        return finding("info", Message("diagnosis.ca_unknown"), Message("remedy.look_again"))
    if not cas.installed:
        if wanted:
            return finding(
                "warning", Message("diagnosis.ca_missing"), Message("remedy.install_cas")
            )
        return finding("info", Message("diagnosis.ca_none"), Message("remedy.no_cas_needed"))
    if tab is not None and wanted and not _uses_cas(facts, tab):
        return finding("warning", Message("diagnosis.ca_unused", counts), Message("remedy.use_cas"))
    return finding("ok", Message("diagnosis.ca_ok", counts))


def _uses_cas(facts: Facts, tab: ServerTab) -> bool:
    in_file = tab.on("SSLUseCertsFile") and facts.ca.file_count
    in_directory = tab.on("SSLUseCertsDir") and facts.ca.directory_count
    return bool(in_file or in_directory)


def _named(facts: Facts) -> dict[str, Param]:
    pair = facts.pair
    until = f"{pair.not_after:%Y-%m-%d}" if pair.not_after else ""
    return {"name": pair.common_name or ", ".join(pair.names[:1]), "until": until}


def _path(facts: Facts) -> dict[str, Param]:
    return {"path": facts.mailroot}
