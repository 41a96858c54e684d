"""The words of a judgement: one sentence a code, and what to do about it."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

EFFECTS = {
    "never": _("does not work"),
    "exception": _("works only unverified or with an exception, even when it is trusted"),
    "setting": _("works after a setting or with the certificate trusted"),
    "fine": _("works as installed"),
}

SENTENCES = {
    "weak_key": _(
        "Its key is %(key)s. XMail with a current OpenSSL cannot load it: every TLS service of the "
        "host would answer and then drop the connection."
    ),
    "expired": _("It expired on %(day)s."),
    "not_yet_valid": _("It is not valid before %(day)s."),
    "expires_soon": _("It expires on %(day)s, within 30 days."),
    "short_lived": _(
        "It is valid only until %(day)s: whoever accepts it will be asked again with the next one."
    ),
    "no_san": _("It holds no host name where clients look for it (no SAN)."),
    "mismatch": _("It does not hold the name by which clients reach these hosts: %(names)s"),
    "ca_true": _("It says that it is a certificate authority (CA:TRUE)."),
    "self_signed": _(
        "It is self-signed: clients that verify certificates refuse it until it is trusted, "
        "accepted as an exception, or verification is switched off."
    ),
    "private_ca": _(
        "It was signed by another certificate: clients that verify certificates refuse it until "
        "they trust the authority that signed it."
    ),
    "key_unmeasured": _(
        "No mail client was measured with a key of this kind (%(key)s), although XMail serves it."
    ),
    "apple_days": _(
        "It is valid for %(days)s days. Apple’s requirements for iOS 13, macOS 10.15 and later "
        "allow at most 825 (support.apple.com/103769; not measured here)."
    ),
    "apple_purpose": _(
        "It does not say that it is for servers (serverAuth), which Apple’s requirements for iOS "
        "13, macOS 10.15 and later ask for (support.apple.com/103769; not measured here)."
    ),
    "apple_sha1": _(
        "It is signed with SHA-1, which Apple’s requirements for iOS 13, macOS 10.15 and later "
        "refuse (support.apple.com/103769; not measured here)."
    ),
    "apple_san": _(
        "Apple’s requirements for iOS 13, macOS 10.15 and later refuse a certificate whose host "
        "name stands in the common name alone (support.apple.com/103769; not measured here)."
    ),
}

REMEDIES = {
    "weak_key": _("Use a pair of at least RSA 2048 bits."),
    "expired": _("Make a new pair for the same names and install that one."),
    "not_yet_valid": _("Check the clock of the machine that made it, or wait."),
    "expires_soon": _("Make a new pair for the same names and install that one."),
    "no_san": _("Use a pair that was made here: it always holds its host names."),
    "mismatch": _(
        "Add these names to the host aliases, or tell the users to enter a name that it holds."
    ),
    "ca_true": _("Use a pair that was made here: it says CA:FALSE."),
    "apple_days": _("Make a pair that is valid for 825 days or less."),
    "apple_purpose": _("Use a pair that was made here: it says serverAuth."),
    "apple_sha1": _("Use a pair that was made here: it is signed with SHA-256 or better."),
    "apple_san": _("Use a pair that was made here: it always holds its host names."),
}
