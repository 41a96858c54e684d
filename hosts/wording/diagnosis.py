"""Sentences for hosts/diagnosis.py (diagnosis.…): what was found."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    # Question 1: the pair
    "diagnosis.pair_ok": _(
        "A private key and the matching server certificate are installed (%(name)s, valid until "
        "%(until)s)."
    ),
    "diagnosis.pair_on_wire": _(
        "A usable pair is installed: %(count)s of the services complete a TLS handshake, although "
        "the files cannot be read at present."
    ),
    "diagnosis.pair_none": _(
        "No pair of private key and server certificate is installed, so there is no SSL/TLS."
    ),
    "diagnosis.pair_missing_key": _(
        "%(certificate)s is there, but %(key)s is missing: no TLS connection can succeed."
    ),
    "diagnosis.pair_missing_certificate": _(
        "%(key)s is there, but %(certificate)s is missing: no TLS connection can succeed."
    ),
    "diagnosis.pair_bad_key": _(
        "%(key)s is not a private key in PEM form: no TLS connection can succeed."
    ),
    "diagnosis.pair_bad_certificate": _(
        "%(certificate)s is not a certificate in PEM form: no TLS connection can succeed."
    ),
    "diagnosis.pair_odd_certificate": _(
        "The portal cannot read %(certificate)s as a certificate in PEM form, although %(count)s "
        "of the services complete a TLS handshake: something in it is wrong, such as a date that "
        "no calendar has."
    ),
    "diagnosis.pair_large_key": _(
        "%(key)s is larger than a key can be (64 kB), so the portal did not read it."
    ),
    "diagnosis.pair_large_certificate": _(
        "%(certificate)s is larger than a certificate and its chain can be (256 kB), so the portal "
        "did not read it."
    ),
    "diagnosis.pair_long_key": _(
        "%(key)s is an RSA key of more than 8192 bits: each connection keeps XMail busy for long, "
        "so the portal does not accept it."
    ),
    "diagnosis.pair_encrypted_key": _(
        "%(key)s is protected by a passphrase, which XMail cannot enter: no TLS connection can "
        "succeed."
    ),
    "diagnosis.pair_mismatch": _(
        "%(key)s and %(certificate)s do not belong together: no TLS connection can succeed."
    ),
    "diagnosis.pair_weak": _(
        "A pair is installed, but its key is too short or its signature too old: current OpenSSL "
        "refuses to use it."
    ),
    "diagnosis.pair_weak_but_served": _(
        "A matching pair is installed and served, but its key is too short or its signature too "
        "old: an XMail with a current OpenSSL, and many mail programs, refuse it."
    ),
    "diagnosis.pair_unknown": _(
        "Whether a matching pair is installed is not known: it could not be looked at."
    ),
    # Question 2: the key
    "diagnosis.key_ok": _("The private key (%(key)s) is installed."),
    "diagnosis.key_on_wire": _("A private key is installed: TLS handshakes succeed with it."),
    "diagnosis.key_unseen": _(
        "The private key (%(key)s) is installed. Its content was not read, because it must not "
        "cross an unencrypted connection."
    ),
    "diagnosis.key_missing": _("The private key (%(key)s) is not installed."),
    "diagnosis.key_bad": _("%(key)s is installed, but it is not a private key in PEM form."),
    "diagnosis.key_large": _(
        "%(key)s is there, but it is larger than a key can be (64 kB), so it was not read."
    ),
    "diagnosis.key_long": _(
        "%(key)s is installed, but RSA keys over 8192 bits are not accepted by the portal."
    ),
    "diagnosis.key_encrypted": _("%(key)s is installed, but it is protected by a passphrase."),
    "diagnosis.key_weak": _("%(key)s is installed, but it is too short for current OpenSSL."),
    "diagnosis.key_unreadable": _(
        "%(key)s is installed, but the portal may not read it, so it cannot be compared with the "
        "certificate."
    ),
    "diagnosis.key_unknown": _("Whether the private key (%(key)s) is installed is not known."),
    # Question 3: CA certificates
    "diagnosis.ca_ok": _(
        "CA certificates are installed (%(file)s in certs.pem, %(directory)s in certs)."
    ),
    "diagnosis.ca_none": _(
        "No CA certificates are installed. They are needed only to verify client certificates."
    ),
    "diagnosis.ca_missing": _(
        "No CA certificates are installed, although server.tab asks for client certificates to be "
        "verified: none of your own can be accepted."
    ),
    "diagnosis.ca_unused": _(
        "CA certificates are installed (%(file)s in certs.pem, %(directory)s in certs), but "
        "server.tab does not tell XMail to use them."
    ),
    "diagnosis.ca_bad": _("certs.pem holds no readable CA certificate."),
    "diagnosis.ca_large": _(
        "certs.pem is larger than 512 kB, so the portal did not count its CA certificates."
    ),
    "diagnosis.ca_bad_breaks": _(
        "certs.pem holds no readable CA certificate, and server.tab makes XMail load it: every "
        "TLS connection fails."
    ),
    "diagnosis.ca_unknown": _("Whether CA certificates are installed is not known."),
    # Access
    "diagnosis.not_reached": _("The host could not be looked at."),
    "diagnosis.no_mailroot": _("%(path)s holds no server.tab: it is not a MailRoot."),
    # The certificate
    "diagnosis.expired": _("The certificate expired on %(date)s."),
    "diagnosis.expires_soon": _("The certificate expires on %(date)s (days left: %(days)s)."),
    "diagnosis.not_yet_valid": _("The certificate is valid only from %(date)s on."),
    "diagnosis.no_san": _(
        "The certificate has no alternative names (SAN): Thunderbird refuses it even when it has "
        "been imported."
    ),
    "diagnosis.address_not_named": _(
        "The certificate does not name %(address)s, the address under which the portal knows this "
        "host. Mail programs that use this name warn, even when they trust the certificate."
    ),
    "diagnosis.is_ca": _(
        "The server certificate is marked as one of a certificate authority (CA:TRUE): "
        "Thunderbird refuses it even when it has been imported."
    ),
    "diagnosis.key_in_certificate": _(
        "%(path)s holds a private key beside the certificate. Certificates are public: whoever may "
        "read that file, or was given it, has the key."
    ),
    # Permissions
    "diagnosis.key_left_open": _(
        "XMail created the private key %(path)s with mode 0666, so that every user of the host can "
        "read and write it. The portal cannot see whether that was mended."
    ),
    "diagnosis.key_open_to_all": _(
        "Every user of the host may read the private key: %(path)s has mode %(mode)s."
    ),
    "diagnosis.key_open_to_group": _(
        "A group of users may read the private key: %(path)s has mode %(mode)s."
    ),
    "diagnosis.mode_unseen": _(
        "The portal cannot see who may read %(path)s through this connection. XMail itself makes "
        "new files readable and writable by everyone."
    ),
    "diagnosis.mode_windows": _("The portal cannot see who may read %(path)s on Windows."),
    "diagnosis.key_owner": _(
        "%(path)s belongs to user %(owner)s, but server.tab to user %(expected)s: an XMail that "
        "does not run as root may not be able to read the key."
    ),
    # server.tab
    "diagnosis.tls_off": _("server.tab switches TLS off for %(endpoints)s (%(setting)s is 0)."),
    "diagnosis.tls_off_unused": _(
        "server.tab switches a TLS service off (%(setting)s is 0); the portal does not watch it "
        "on this host."
    ),
    "diagnosis.ctrl_tls_off": _(
        "server.tab switches TLS off for the CTRL port (EnableCTRL-TLS is 0): the portal cannot "
        "send a private key that way."
    ),
    "diagnosis.want_cert": _(
        "XMail demands a certificate from every mail program (SSLWantCert is 1): programs without "
        "one cannot connect by TLS."
    ),
    "diagnosis.want_verify": _(
        "XMail verifies the certificates of mail programs that present one (SSLWantVerify is 1)."
    ),
    # Recorded, on disk, on the wire
    "diagnosis.disk_not_recorded": _(
        "The certificate on the host is not the one that the portal installed: somebody changed "
        "it since."
    ),
    "diagnosis.unrecorded": _("The certificate on the host was not installed by the portal."),
    "diagnosis.placed": _("A pair waits in MailRoot/sslconf; it is not the one that is installed."),
    "diagnosis.wire_not_disk": _(
        "%(endpoint)s serves another certificate than the one in MailRoot."
    ),
    "diagnosis.wire_not_recorded": _(
        "%(endpoint)s serves another certificate than the one that the portal installed."
    ),
    # Endpoints
    "diagnosis.endpoints_ok": _(
        "Every service that is watched serves the expected certificate (%(count)s)."
    ),
    "diagnosis.no_endpoint": _("No service of this host is watched."),
    "diagnosis.no_address": _("The host has no address, so none of its services was tried."),
    "diagnosis.none_reachable": _("None of the %(count)s services answers at %(address)s."),
    "diagnosis.old_tls": _(
        "%(endpoint)s speaks nothing newer than %(version)s: current mail programs refuse that."
    ),
    "diagnosis.xmail_weaknesses": _(
        "XMail %(version)s has known weaknesses in TLS: it executes commands that were sent in "
        "clear right after STARTTLS or STLS, and it waits without limit for clients that never "
        "begin their handshake."
    ),
}
