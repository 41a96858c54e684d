"""The words for what certs' pure modules say in codes: problems of fields, facts, states of pairs.

Every refusal names the reason and what to enter instead.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from certs.names import Refused
from certs.spec import FieldProblem

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

PROBLEMS: "dict[str, StrPromise]" = {
    "required": _("This field is empty. Enter a value; it becomes part of the certificate."),
    "not_text": _("This value is not text. Enter plain text."),
    "not_normal": _("This value is not in its normal form. Enter it again through the form."),
    "control_character": _(
        "The text contains the control character %(character)s. "
        "Remove it, for example by typing the text anew."
    ),
    "format_character": _(
        "The text contains the invisible character %(character)s, which could mislead a reader. "
        "Remove it, for example by typing the text anew."
    ),
    "blanks_in_a_row": _("There are several blanks in a row. Leave one of them."),
    "unknown_character": _(
        "The text contains the unassigned character %(character)s. Replace it with another one."
    ),
    "private_character": _(
        "The text contains the user-defined character %(character)s, which other computers "
        "cannot show. Replace it with a standard character."
    ),
    "too_long": _(
        "The text has %(length)s characters, and only %(limit)s fit into a certificate. Shorten it."
    ),
    "country_code": _("A country code is two letters from A to Z. Enter for example JP for Japan."),
    "common_name_too_long": _(
        "The common name has %(length)s characters in its ASCII form, and only %(limit)s fit into "
        "a certificate. Enter a shorter name, and this one as a host alias."
    ),
    "name_empty": _("The name is empty. Enter a host name such as mail.example.jp."),
    "name_empty_label": _(
        "“%(value)s” has an empty part beside a dot. "
        "Enter a host name such as mail.example.jp, with single dots between its parts."
    ),
    "name_too_long": _(
        "The host name has %(length)s characters, and at most %(limit)s are possible. "
        "Enter a shorter name."
    ),
    "label_too_long": _(
        "“%(value)s” has a part that is longer than %(limit)s characters in its ASCII form. "
        "Enter a name with shorter parts between its dots."
    ),
    "name_characters": _(
        "“%(value)s” is not a host name: between its dots may be letters, digits and inner hyphens "
        "only. Enter a name such as mail.example.jp."
    ),
    "name_not_international": _(
        "“%(value)s” is not a valid internationalised host name. "
        "Check its characters, or enter a name of letters, digits and hyphens."
    ),
    "name_with_port": _(
        "“%(value)s” is more than a host name. "
        "Enter the name alone, without protocol, port or path, such as mail.example.jp."
    ),
    "wildcard_position": _(
        "“%(value)s” has an asterisk in the wrong place: it can only stand alone before the first "
        "dot. Enter for example *.example.jp."
    ),
    "wildcard_labels": _(
        "“%(value)s” covers too much: at least two parts must follow the asterisk. "
        "Enter for example *.example.jp."
    ),
    "ip_invalid": _(
        "“%(value)s” looks like an IP address but is not a valid one. "
        "Enter for example 192.0.2.1 or 2001:db8::1, without brackets and leading zeros."
    ),
    "ip_zone": _(
        "“%(value)s” names a network interface after the %% sign. Enter the address without it."
    ),
    "ip_mapped": _("“%(value)s” is an IPv4 address written as IPv6. Enter it as %(plain)s."),
    "ip_unspecified": _(
        "“%(value)s” is nobody's address. Enter the address that mail clients connect to."
    ),
    "too_many_names": _(
        "A certificate holds at most %(limit)s names with the common name, and these are more. "
        "Leave some out, or use a name such as *.example.jp."
    ),
    "email_form": _(
        "“%(value)s” is not an e-mail address. Enter one such as postmaster@example.jp."
    ),
    "email_local_part": _(
        "“%(value)s” cannot stand before the @ of an e-mail address in a certificate: "
        "up to %(limit)s ASCII letters, digits and signs are possible, with single inner dots. "
        "Enter an address such as postmaster@example.jp."
    ),
    "email_domain": _(
        "“%(value)s” is not a mail domain. Enter an address such as postmaster@example.jp."
    ),
    "days_number": _("This is not a whole number. Enter days from 1 to %(maximum)s."),
    "days_range": _(
        "A certificate is valid for 1 to %(maximum)s days: mail clients refuse longer ones. "
        "Enter a number in that range."
    ),
    "key_choice": _("No such kind of key is on offer. Choose one of the list."),
}

# The labels of `CertificateFacts.rows()`.
FACTS: "dict[str, StrPromise]" = {
    "subject": _("Subject"),
    "common_name": _("Common name"),
    "names": _("Host names and IP addresses"),
    "emails": _("E-mail addresses"),
    "issuer": _("Issuer"),
    "self_signed": _("Self-signed"),
    "not_before": _("Valid from"),
    "not_after": _("Valid until"),
    "key": _("Key"),
    "signature_algorithm": _("Signature algorithm"),
    "serial": _("Serial number"),
    "version": _("X.509 version"),
    "sha256": _("SHA-256 fingerprint"),
    "sha1": _("SHA-1 fingerprint"),
    "spki_sha256": _("SHA-256 of the public key"),
    "is_ca": _("Certificate authority"),
    "chain_length": _("Certificates in the file"),
    "chain": _("Chain"),
}

# What certs.pair.check found, for a page about the pair.
STATES: "dict[str, StrPromise]" = {
    "ok": _("Key and certificate match, and XMail can serve them."),
    "none": _("There is neither a key nor a certificate."),
    "missing_key": _("There is a certificate without its private key."),
    "missing_certificate": _("There is a private key without a certificate."),
    "bad_key": _("The private key cannot be read: it is not PEM, or damaged."),
    "bad_certificate": _("The certificate cannot be read: it is not PEM, or damaged."),
    "large_key": _("server.key is larger than a key can be (64 kB), so it was not read."),
    "large_certificate": _(
        "server.cert is larger than a certificate and its chain can be (256 kB), so it was not "
        "read."
    ),
    "long_key": _("RSA keys over 8192 bits are not accepted."),
    "encrypted_key": _("The private key has a passphrase, and XMail cannot enter one."),
    "weak_key": _("The key is too short: OpenSSL refuses to serve it."),
    "weak_signature": _(
        "The certificate is signed with SHA-1 or MD5: OpenSSL refuses to serve it."
    ),
    "mismatch": _("The private key does not belong to the certificate."),
}


def refusal(refused: Refused) -> ValidationError:
    """The error of a form for a value that is refused."""
    return ValidationError(PROBLEMS[refused.code], code=refused.code, params=dict(refused.params))


def explain(problem: FieldProblem) -> str:
    """The sentence for one problem in the reader's language."""
    return str(PROBLEMS[problem.code]) % problem.params


def explain_all(problems: Iterable[FieldProblem]) -> dict[str, list[ValidationError]]:
    """Errors for a form: every problem's sentence and code under its field."""
    errors: dict[str, list[ValidationError]] = {}
    for problem in problems:
        error = ValidationError(explain(problem), code=problem.code)
        errors.setdefault(problem.field, []).append(error)
    return errors
