"""Which page needs what: one entry for every address of the portal, enforced in one place.

An address without an entry is refused to everybody, so that a new page cannot be forgotten; a
test says so before anybody meets it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.defaults import permission_denied
from django_htmx.middleware import HtmxDetails

from xmailadmin import limits
from xmailadmin.roles import ADMINISTER, DOWNLOAD_KEYS, OPERATE, VIEW

__all__ = [
    "ACCESS",
    "FRESH_S",
    "PUBLIC",
    "SIGNED_IN",
    "AccessMiddleware",
    "Rule",
    "has_second_factor",
    "is_fresh",
    "safe_next",
]

FRESH_S = 300  # how long a second factor that was just shown opens what is guarded
FORM_S = 1800  # how long a form may be filled in whose person had to be known to open it
FORMS_SHOWN = "forms_shown"  # in the session: which of them, and when
SAFE = ("GET", "HEAD", "OPTIONS")

PUBLIC = "public"  # for everybody, signed in or not
SIGNED_IN = "signed in"  # whatever the role


@dataclass(frozen=True)
class Rule:
    """What an address needs: `see` to read it, `do` (the same unless given) to send it a form.

    A guarded address also needs a second factor that was shown within the last five minutes: for
    what is sent to it, and for reading it too with `guard_seeing`. `back` names the page (with
    the same arguments) to return to when that had to be shown first; without it the address
    itself. With `first_factor` whoever has no second factor yet passes without one, to set it up.

    A `confirmed` address needs whoever asks for its form to have just signed in, or confirmed who
    it is: with the second factor, or with the password of an account that has none. It asks before
    the form is filled in, so what is sent may come later, within half an hour after the same
    session was shown the form. `form` names the address (with the same arguments) whose form it is
    that is sent here; without it the address itself.
    """

    see: str
    do: str = ""
    guarded: bool = False
    guard_seeing: bool = False
    first_factor: bool = False
    confirmed: bool = False
    form: str = ""
    back: str = ""

    def needs(self, method: str | None) -> str:
        """Returns PUBLIC, SIGNED_IN or the permission that a request of this kind needs."""
        return self.see if method in SAFE else self.do or self.see

    def guards(self, method: str | None) -> bool:
        """True if a request of this kind needs a second factor that was just shown."""
        return self.guarded and (self.guard_seeing or method not in SAFE)


_PUBLIC, _OWN, _SEE = Rule(PUBLIC), Rule(SIGNED_IN), Rule(VIEW)
_OPERATE, _ADMINISTER = Rule(OPERATE), Rule(ADMINISTER)
# They choose where private keys go, and with which password: a session left open is not enough.
_WHERE_KEYS_GO = Rule(OPERATE, confirmed=True)
_KEY = Rule(DOWNLOAD_KEYS, guarded=True, back="pair_detail")
_PEOPLE = Rule(ADMINISTER, guarded=True, guard_seeing=True)
# Or else a password would be enough for a second factor of one's own.
_FACTOR = Rule(SIGNED_IN, guarded=True, guard_seeing=True)
_ADD_FACTOR = Rule(SIGNED_IN, guarded=True, guard_seeing=True, first_factor=True)

ACCESS: dict[str, Rule] = {
    # What the team looks at.
    "dashboard": _SEE,
    "guide": _SEE,
    "diagnosis": Rule(VIEW, do=OPERATE),
    "matrix": Rule(VIEW, do=OPERATE),
    # Hosts.
    "host_list": _SEE,
    "host_detail": _SEE,
    "host_add": _WHERE_KEYS_GO,
    "host_mailroot_check": Rule(OPERATE, confirmed=True, form="host_add"),
    "host_import": _WHERE_KEYS_GO,
    "host_import_template": _OPERATE,
    "host_edit": _WHERE_KEYS_GO,
    "host_edit_check": Rule(OPERATE, confirmed=True, form="host_edit"),
    "host_reenrol": _WHERE_KEYS_GO,
    "host_adopt": _OPERATE,
    "host_reinstall": _OPERATE,
    "host_mend": _OPERATE,
    "host_mended": _OPERATE,
    "host_delete": _OPERATE,
    "host_disable": _OPERATE,
    "host_enable": _OPERATE,
    "host_diagnose": _OPERATE,
    "host_rollback": _OPERATE,
    "host_install": _OPERATE,
    # The page for mail users: what the team does with it, and what everybody with a link sees.
    "host_reader": _OPERATE,
    "pair_reader": _OPERATE,
    "reader_announce": _OPERATE,
    "reader_renew": _OPERATE,
    "reader_withdraw": _OPERATE,
    "reader_page": _PUBLIC,
    "reader_certificate_pem": _PUBLIC,
    "reader_certificate_der": _PUBLIC,
    "reader_profile": _PUBLIC,
    "reader_autoconfig": _PUBLIC,
    "reader_qr": _PUBLIC,
    "reader_nowhere": _PUBLIC,
    # Pairs.
    "pair_list": _SEE,
    "pair_detail": _SEE,
    "pair_progress": _SEE,
    "pair_text": _SEE,
    "pair_certificate": _SEE,
    "pair_der": _SEE,
    "pair_new": _OPERATE,
    "pair_memo": _OPERATE,
    "pair_key": _KEY,
    "pair_zip": _KEY,
    # Deployments and their history.
    "deployment_new": _OPERATE,
    "deployment_list": _SEE,
    "deployment_detail": _SEE,
    "deployment_progress": _SEE,
    "deployment_rollback": _OPERATE,
    "deployment_retry": _OPERATE,
    "deployment_cancel": _OPERATE,
    "installation_list": _SEE,
    "installation_detail": _SEE,
    # Client notes.
    "client_list": _SEE,
    "client_detail": _SEE,
    "client_setup": _SEE,
    "client_note_changes": _SEE,
    "client_note_detail": _SEE,
    "client_report_list": _SEE,
    "client_report_new": _SEE,
    "client_confirm": _OPERATE,
    "client_note_new": _OPERATE,
    "client_note_edit": _OPERATE,
    "client_note_confirm": _OPERATE,
    "client_note_remove": _OPERATE,
    "client_report_accept": _OPERATE,
    "client_report_dismiss": _OPERATE,
    # Signing in and the own account.
    "account": _OWN,
    "account_login": _PUBLIC,
    "account_logout": _PUBLIC,
    "account_inactive": _PUBLIC,
    "account_signup": _PUBLIC,
    "account_reauthenticate": _OWN,
    "account_change_password": _OWN,
    # For whoever has none, and so cannot be asked for it: only a second factor protects this.
    "account_set_password": _FACTOR,
    "access_link": _PUBLIC,
    "choose_password": _PUBLIC,
    "session_list": _OWN,
    "session_end": _OWN,
    # Second factors; for the first one allauth asks for the password again.
    "mfa_index": _OWN,
    "mfa_authenticate": _PUBLIC,
    "mfa_reauthenticate": _OWN,
    "mfa_activate_totp": _ADD_FACTOR,
    "mfa_deactivate_totp": _FACTOR,
    "mfa_list_webauthn": _OWN,
    "mfa_add_webauthn": _ADD_FACTOR,
    "mfa_edit_webauthn": _FACTOR,
    "mfa_remove_webauthn": _FACTOR,
    "mfa_reauthenticate_webauthn": _OWN,
    "mfa_view_recovery_codes": _FACTOR,
    "mfa_generate_recovery_codes": _FACTOR,
    "mfa_download_recovery_codes": _FACTOR,
    "second_factor_needed": _OWN,
    "continue_to": _OWN,
    # Single sign-on.
    "socialaccount_connections": _OWN,
    "socialaccount_connect": _OWN,
    "socialaccount_confirm": _OWN,
    "socialaccount_login_cancelled": _PUBLIC,
    "socialaccount_login_error": _PUBLIC,
    "socialaccount_signup": _PUBLIC,
    "openid_connect_login": _PUBLIC,
    "openid_connect_callback": _PUBLIC,
    # People and the audit.
    "person_list": _ADMINISTER,
    "person_detail": _ADMINISTER,
    "person_invite": _PEOPLE,
    "person_roles": _PEOPLE,
    "person_disable": _PEOPLE,
    "person_enable": _PEOPLE,
    "person_link": _PEOPLE,
    "person_second_factor": _PEOPLE,
    "person_single_sign_on": _PEOPLE,
    "person_sessions": Rule(ADMINISTER, guarded=True, back="person_detail"),
    "audit_list": _ADMINISTER,
    "audit_verify": _ADMINISTER,
    "audit_export": _ADMINISTER,
    "set_language": _PUBLIC,
    # Machines that watch the portal; the figures ask for a token of their own.
    "healthz": _PUBLIC,
    "readyz": _PUBLIC,
    "metrics": _PUBLIC,
}


class AccessMiddleware:
    """Refuses what ACCESS does not allow, and puts each refusal on record."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        rule = ACCESS.get(match.view_name) if match is not None else None
        needed = rule.needs(request.method) if rule is not None else ""
        if needed == PUBLIC:
            return None
        if not request.user.is_authenticated:
            return _leaving_the_page(request, redirect_to_login(_page_of(request)))
        if rule is None or not (needed == SIGNED_IN or request.user.has_perm(needed)):
            limits.record_few(request, "access.denied")
            return permission_denied(request, PermissionDenied())
        if rule.guards(request.method) and not _is_confirmed(request, rule):
            if request.method not in SAFE:
                limits.record_few(request, "access.unconfirmed")
            back = reverse(rule.back, kwargs=kwargs) if rule.back else request.path
            return ask_second_factor(request, back)
        form = reverse(rule.form, kwargs=kwargs) if rule.form else request.path
        if rule.confirmed and not _may_fill_in(request, form):
            if request.method not in SAFE:
                limits.record_few(request, "access.unconfirmed")
            return _leaving_the_page(request, ask_who(request, form))
        if needed != SIGNED_IN:
            request.permission = needed  # type: ignore[attr-defined]  # audit.record asks again
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Asks who it is where allauth wants that, and leads back to the page.

        allauth itself would keep the whole form that was sent in the session, secrets included,
        and send it later past everything that is checked here.
        """
        if not isinstance(error, ReauthenticationRequired):
            return None
        return ask_who(request, request.path)


def ask_who(request: HttpRequest, back: str) -> HttpResponse:
    """Leads to where the person shows who it is, by what there is, and then back."""
    if has_second_factor(request):
        return ask_second_factor(request, back)
    methods = get_adapter().get_reauthentication_methods(request.user)
    to = methods[0]["url"] if methods else reverse("account_login")
    if request.method not in SAFE:
        messages.info(request, _("Confirm that it is you, and then do it again."))
    return redirect(f"{to}?{urlencode({'next': back})}")


def _page_of(request: HttpRequest) -> str:
    """Returns the path of the page that is asked for, or of the one that a form or htmx is on."""
    part = HtmxDetails(request)
    if not part and request.method in SAFE:
        return request.get_full_path()
    try:
        page = part.current_url_abs_path if part else _path_of(request.headers.get("Referer", ""))
        return safe_next(request, page or "") or reverse("dashboard")
    except ValueError:  # no address at all
        return reverse("dashboard")


def _path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _leaving_the_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Has htmx go where `response` leads to, instead of showing that as a part of a page."""
    if not HtmxDetails(request):
        return response
    leaving = HttpResponse(headers={"HX-Redirect": response.headers["Location"]})
    # A page may ask for its part by its own address, which *Back* must not show the answer for.
    add_never_cache_headers(leaving)
    return leaving


def ask_second_factor(request: HttpRequest, back: str) -> HttpResponse:
    """Leads to where a second factor is shown, or to what it takes to have one, and then back."""
    if not has_second_factor(request):
        return redirect(f"{reverse('second_factor_needed')}?{urlencode({'next': back})}")
    methods = get_adapter().get_reauthentication_methods(request.user)
    password = reverse("account_reauthenticate")
    to = next(method["url"] for method in methods if method["url"] != password)
    if request.method not in SAFE:
        messages.info(request, _("Confirm that it is you, and then do it again."))
    return redirect(f"{to}?{urlencode({'next': back})}")


def has_second_factor(request: HttpRequest) -> bool:
    """True if the person has an authenticator app or a security key."""
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    return bool(is_mfa_enabled(request.user, kinds))


def is_fresh(request: HttpRequest) -> bool:
    """True if the person, in this session, has just shown a second factor that is still theirs."""
    return has_second_factor(request) and _has_shown(request, ("mfa",), FRESH_S)


def _may_fill_in(request: HttpRequest, form: str) -> bool:
    """True if the person is known now, or was when this session was shown the form it sends.

    `form` is the path of that form.
    """
    now = time.time()
    marks = request.session.get(FORMS_SHOWN, {}).items()
    shown = {path: at for path, at in marks if 0 <= now - at < FORM_S}
    if not _is_known(request):
        return request.method not in SAFE and form in shown
    if request.method in SAFE:
        request.session[FORMS_SHOWN] = {**shown, form: now}
    return True


def _is_known(request: HttpRequest) -> bool:
    """True if the person has just signed in or confirmed who it is.

    An account with nothing to confirm by, which signs in by single sign-on only, passes. Where
    there is a password, single sign-on does not do: the provider may answer without asking anybody.
    """
    if has_second_factor(request):
        return _has_shown(request, ("mfa",), FRESH_S)
    if not get_adapter().get_reauthentication_methods(request.user):
        return True
    return _has_shown(request, ("password",), FRESH_S)


def _has_shown(request: HttpRequest, methods: tuple[str, ...], within_s: float) -> bool:
    records = get_authentication_records(request, request.user)
    shown = [record["at"] for record in records if record.get("method") in methods]
    return bool(shown) and 0 <= time.time() - shown[-1] < within_s


def _is_confirmed(request: HttpRequest, rule: Rule) -> bool:
    return is_fresh(request) or (rule.first_factor and not has_second_factor(request))


def safe_next(request: HttpRequest, raw: str) -> str:
    """Returns the path that a link asks to go to, "" if it leads away from the portal."""
    allowed = url_has_allowed_host_and_scheme(
        raw, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return raw if allowed and re.match(r"/(?![/\\])", raw) else ""
