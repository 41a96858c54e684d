"""Wording of what deployments and roll backs say."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "deploy.host_deleted": _("The host was deleted before this was done."),
    "deploy.identity_changed": _(
        "Cancelled, because somebody changed whom the portal takes this host for, or may send the "
        "key to. Install again if it shall have the pair."
    ),
    "deploy.host_gone": _(
        "One of these hosts was changed, disabled or deleted meanwhile. Please choose again."
    ),
    "deploy.host_disabled": _(
        "Cancelled, because the host was disabled before its turn came. "
        "Enable it and install again if it shall have the pair."
    ),
    "deploy.first_left_out": _(
        "Cancelled, because nothing was installed on the host that was to prove the pair first. "
        "Install again, with another host first or without."
    ),
    "deploy.pair_failed": _("The pair could not be made, so nothing was installed."),
    "deploy.first_failed": _(
        "Cancelled, because the host that was to prove the pair first failed. "
        "Mend that host and install again."
    ),
    "deploy.stopped": _(
        "Cancelled, because as many hosts failed as the deployment allowed. "
        "Look at the failures and install again on the rest."
    ),
    "deploy.cancelled": _("Cancelled by a person before this host was begun."),
    "deploy.host_moved": _(
        "The host was changed since: this was to go to %(place)s, and nothing was sent. "
        "Install again if it shall go to where the host is now."
    ),
    "deploy.host_moved_midway": _(
        "The host was changed while this was interrupted at %(place)s, and nothing more was sent. "
        "The key and the certificate there may not match: look at them, and install again."
    ),
    "deploy.attempts": _(
        "Given up: the worker died each time it worked on this host. "
        "The administrator finds the reason in the portal's log."
    ),
    "deploy.vault": _(
        "The secrets of this host or pair cannot be opened. "
        "The administrator finds the reason in the portal's log; check the master key."
    ),
    "deploy.errored": _(
        "An error in xmailadmin itself. Give the reference %(reference)s to the administrator, "
        "who finds it in the portal's log."
    ),
    "rollback.nothing": _(
        "Nothing was ever installed on %(host)s by xmailadmin, so there is nothing to roll back."
    ),
    "rollback.unfinished": _(
        "Something is still under way on %(host)s, or waits for it. Roll back when that has ended, "
        "or cancel it first."
    ),
    "rollback.nothing_left": _(
        "No host still holds what deployment #%(deployment)s installed, "
        "so there is nothing to roll back."
    ),
    "rollback.moved": _(
        "%(host)s is at another place by now: what could be rolled back was done at %(place)s. "
        "Install the pair that it shall have where it is."
    ),
    "rollback.first": _(
        "%(host)s had no pair before, so there is nothing to go back to. "
        "The pair can be removed instead; XMail then offers no TLS."
    ),
    "rollback.unusable": _(
        "The pair that %(host)s held before (#%(pair)s) cannot be used by XMail, "
        "so it is not put back. Install another pair."
    ),
}
