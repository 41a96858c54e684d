"""Sentences for hosts/probe.py: what an endpoint did, and at which point it failed."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "probe.ok": _("%(endpoint)s completes a TLS handshake."),
    "probe.ok_silent": _(
        "%(endpoint)s completes a TLS handshake, but says nothing afterwards. Check whether XMail "
        "is overloaded."
    ),
    "probe.ok_turned_away": _(
        "%(endpoint)s completes a TLS handshake and then turns the portal away: “%(reply)s”. If "
        "the portal shall log in there, allow its address in XMail’s ipmap files."
    ),
    "probe.off": _("%(endpoint)s is switched off for this host in the portal."),
    "probe.not_tried": _("%(endpoint)s was not tried."),
    "probe.no_address": _(
        "%(endpoint)s was not tried: the host has no address in the portal. Enter one to have its "
        "services checked."
    ),
    "probe.unresolved": _(
        "%(endpoint)s: nobody knows the address of %(address)s. Check the spelling and the DNS."
    ),
    "probe.refused": _(
        "%(endpoint)s refuses the connection: nothing listens on port %(port)s of %(address)s. "
        "Check that XMail runs and that the port is right, or switch the service off in the portal."
    ),
    "probe.no_answer": _(
        "%(endpoint)s: nothing answers on port %(port)s of %(address)s. Check that the host runs "
        "and that no firewall drops the connection."
    ),
    "probe.unreachable": _(
        "%(endpoint)s cannot be reached on port %(port)s of %(address)s (%(reason)s). Check the "
        "address and the network."
    ),
    "probe.closed_at_banner": _(
        "%(endpoint)s accepts the connection and closes it without a proper greeting. Check "
        "whether XMail has reached its limit of sessions, and which program listens there."
    ),
    "probe.silent_banner": _(
        "%(endpoint)s accepts the connection but does not greet. Check whether XMail hangs, and "
        "whether the port expects TLS from the first byte."
    ),
    "probe.turned_away": _(
        "%(endpoint)s turns the portal away: “%(reply)s”. Allow the portal’s address in XMail’s "
        "ipmap files (smtp.ipmap.tab, pop3.ipmap.tab)."
    ),
    "probe.other_protocol": _(
        "%(endpoint)s does not speak %(protocol)s: it greets with “%(banner)s”. Check the port."
    ),
    "probe.not_xmail": _(
        "%(endpoint)s is not an XMail: it greets with “%(banner)s”. Check the address and the "
        "port; a relay or a filter in front of XMail has a certificate of its own."
    ),
    "probe.silent_command": _(
        "%(endpoint)s greets, but does not answer the request for TLS. Check whether XMail hangs."
    ),
    "probe.closed_at_command": _(
        "%(endpoint)s closes the connection when it is asked for TLS. Check whether a filter "
        "between the portal and XMail forbids it."
    ),
    "probe.tls_off": _(
        "%(endpoint)s has TLS switched off (“%(reply)s”). Set %(setting)s to 1 in server.tab; it "
        "takes effect with the next connection."
    ),
    "probe.command_refused": _(
        "%(endpoint)s refuses to start TLS: “%(reply)s”. Look into XMail’s log on the host."
    ),
    "probe.dropped_after_ready": _(
        "%(endpoint)s says that it is ready for TLS and then drops the connection: key and "
        "certificate do not match, or one is missing or cannot be read. Install a pair."
    ),
    "probe.dropped_at_once": _(
        "%(endpoint)s accepts the connection and drops it when TLS begins: key and certificate do "
        "not match, or one is missing or cannot be read. Install a pair."
    ),
    "probe.silent_handshake": _(
        "%(endpoint)s does not answer the TLS handshake: XMail hangs, its pair cannot be used, or "
        "the port does not speak TLS. Look at the pair first, then at XMail."
    ),
    "probe.dropped_after_handshake": _(
        "%(endpoint)s shows its certificate and then drops the connection: it demands a client "
        "certificate. Check SSLWantCert in server.tab."
    ),
    "probe.not_tls": _(
        "%(endpoint)s does not speak TLS on this port (%(reason)s). Check the port: SMTPS, POP3S "
        "and CTRLS begin with TLS at once, the others with STARTTLS or STLS."
    ),
    "probe.tls_failed": _(
        "%(endpoint)s and the portal cannot agree on TLS (%(reason)s). Check the version of "
        "OpenSSL that XMail runs with."
    ),
}
