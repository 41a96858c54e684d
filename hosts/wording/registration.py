"""Wording of what is found at a MailRoot when it is registered."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "registration.no_server_tab": _(
        "%(path)s is no MailRoot: there is no server.tab in it. "
        "Give the directory that holds XMail's server.tab."
    ),
    "registration.read_only": _(
        "%(path)s cannot be written by the portal. "
        "Give the account that runs the portal write access to MailRoot and MailRoot/sslconf."
    ),
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
        "The key and certificate that are there cannot be used by XMail (%(state)s). "
        "Installing a pair mends that."
    ),
    "registration.placed": _("A pair was placed in sslconf and may not be installed yet."),
}
