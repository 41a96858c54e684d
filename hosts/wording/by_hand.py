"""Wording of what keeps the portal from recording or mending what lies on a host."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "byhand.busy": _(
        "Something is being installed on %(host)s at this moment. Try again when it is finished."
    ),
    "byhand.no_pair": _("There is no pair on %(host)s that could be kept."),
    "byhand.unusable": _(
        "XMail cannot use the pair that lies on %(host)s, so it is not recorded as the host's own. "
        "Install another one."
    ),
}
