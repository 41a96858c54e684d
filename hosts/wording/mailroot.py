"""Sentences for hosts/mailroot.py: what is wrong with the path of a MailRoot."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "mailroot.empty": _("Enter the directory that holds XMail’s server.tab."),
    "mailroot.control_character": _(
        "The path contains a line break, a tab or another control character. Write it in one line."
    ),
    "mailroot.too_long": _("The path is longer than %(limit)s characters. Use a shorter one."),
    "mailroot.not_absolute_unix": _(
        "“%(path)s” is not a complete path. On Unix it begins with a slash: /var/MailRoot."
    ),
    "mailroot.not_absolute_windows": _(
        "“%(path)s” is not a complete path. On Windows it begins with a drive: C:\\MailRoot."
    ),
    "mailroot.forbidden_character": _(
        "“%(path)s” contains a character that Windows does not allow in a path."
    ),
    "mailroot.parent": _("“%(path)s” contains “..”. Write the path without it."),
    "mailroot.whole_disk": _(
        "“%(path)s” is a whole disk. Enter the directory that holds XMail’s server.tab."
    ),
}
