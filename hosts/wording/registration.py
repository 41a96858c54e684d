"""Wording of what is found on a host when it is registered, or looked at again."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "registration.no_server_tab": _(
        "%(path)s is no MailRoot: there is no server.tab in it. "
        "Give the directory that holds XMail's server.tab."
    ),
    "registration.no_own_server_tab": _(
        "XMail answers, but shows no server.tab in its MailRoot. Check on the host that the file "
        "is there and that XMail may read it."
    ),
    "registration.real_path": _("%(path)s leads to %(real)s, which is registered as the MailRoot."),
    "registration.left_behind": _(
        "%(pair)s is no longer on record for %(host)s: the host is at another place now, where "
        "that pair was not found. An installation, or “Keep what is there” on the page of the "
        "host, puts a pair on record again."
    ),
    "registration.mixed_letters": _(
        "The name %(name)s has Latin letters beside Greek or Cyrillic ones that look like them. "
        "Type it anew unless that is meant."
    ),
    "registration.read_only": _(
        "%(path)s cannot be written by the portal. "
        "Give the account that runs the portal write access to MailRoot and MailRoot/sslconf."
    ),
    "registration.too_slow": _(
        "The host did not answer everything within %(seconds)s seconds. Check the host and the "
        "network, and try again."
    ),
    # Who is it?
    "registration.reached": _(
        "%(address)s answers (%(milliseconds)s ms). Nothing secret was sent there yet."
    ),
    "registration.reached_by_jump": _(
        "%(address)s answers (%(milliseconds)s ms) through the jump host, where the portal has "
        "logged in. Nothing secret was sent to %(address)s yet."
    ),
    "registration.reached_by_unknown_jump": _(
        "%(address)s answers (%(milliseconds)s ms). The portal has logged in with the SSH key on "
        "the jump host without knowing whether it is the right one: add the fingerprint of its "
        "host key, user@host:port SHA256:…, unless nobody can be in between. Nothing secret was "
        "sent to %(address)s yet."
    ),
    "registration.confirm_sftp": _(
        "The server shows the host key below. Compare it with the one on the server (run there: "
        "ssh-keygen -lf on the files /etc/ssh/ssh_host_*_key.pub) and confirm it. Until then "
        "nothing secret is sent there."
    ),
    "registration.confirm_ctrl": _(
        "XMail presents the certificate with the SHA-256 fingerprint below. Compare it with the "
        "one on the server (run in MailRoot: openssl x509 -in server.cert -noout -sha256 "
        "-fingerprint) and confirm it. Until then nothing secret is sent there."
    ),
    "registration.identity": _("It is the server that was confirmed: %(fingerprint)s."),
    "registration.nothing_to_pin": _(
        "XMail has no usable pair yet, so there is no certificate to know it by, and the portal "
        "speaks with it unencrypted, which is allowed for this host. The first installation puts "
        "its certificate on record."
    ),
    "registration.changed_again": _(
        "The host shows yet another identity than the one that you confirmed, so nothing was "
        "changed. Compare again."
    ),
    "registration.changed_meanwhile": _(
        "Somebody changed this host meanwhile, so nothing was saved. Look at it again, and then "
        "enter once more what is still to be changed."
    ),
    "registration.installing": _(
        "An installation has begun on this host and has to end with the host as it is, so nothing "
        "was changed. Try again when it has ended; one that cannot go on is given up after some "
        "minutes."
    ),
    "registration.login": _("Logged in as %(user)s (%(milliseconds)s ms)."),
    "registration.remote_mailroot": _(
        "%(path)s is a MailRoot; reading a file there took %(milliseconds)s ms."
    ),
    "registration.own_mailroot": _(
        "XMail shows its own MailRoot; reading a file there took %(milliseconds)s ms."
    ),
    # What is there?
    "registration.mailroot": _("%(path)s is a MailRoot and can be written."),
    "registration.companions": _(
        "These files, which a MailRoot normally has, are missing: %(names)s."
    ),
    "registration.no_pair": _("No pair is installed there yet."),
    "registration.pair": _(
        "A matching pair for %(name)s is installed there, valid until %(until)s. "
        "It is kept as a record when another one is installed."
    ),
    "registration.broken_pair": _(
        "XMail cannot use the key and certificate that are there. %(state)s "
        "Installing a pair mends that."
    ),
    "registration.placed": _("A pair was placed in sslconf and may not be installed yet."),
}
