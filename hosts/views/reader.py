"""The page for mail users and its files: for everybody who has the link, and for nobody else.

Nothing here may show more than a person chose to show (hosts/models/reader_page.py), the ports of
the services and the certificate. A link that was withdrawn looks like one that never was.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import segno
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from certs import pair as pem
from certs.facts import CertificateFacts
from certs.models import Pair
from hosts import apple_profile, autoconfig
from hosts.mail_settings import MailSettings, mail_settings
from hosts.models import ReaderPage
from hosts.reader_advice import advice
from xmailadmin import limits

__all__ = [
    "reader_autoconfig",
    "reader_certificate_der",
    "reader_certificate_pem",
    "reader_nowhere",
    "reader_page",
    "reader_profile",
    "reader_qr",
]

Shows = Callable[[HttpRequest, ReaderPage], HttpResponse | None]
Answers = Callable[[HttpRequest, str], HttpResponse]

NAMES_SHOWN = 8  # of a certificate's names; all of them are in the file
POLICY = {
    "default-src": [NONE],
    "style-src": [SELF],
    "script-src": [SELF],
    "img-src": [SELF],
    "base-uri": [NONE],
    "form-action": [NONE],
    "frame-ancestors": [NONE],
}
HEADERS = {
    # The page tells what is true now: a fingerprint out of some cache would be a trap.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # its address is its key
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


def _for_everybody(view: Answers) -> Answers:
    """Opens a view to everybody, and gives each of its answers what keeps the link secret."""

    @wraps(view)
    def answer(request: HttpRequest, token: str = "") -> HttpResponse:
        response = view(request, token)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    strict: Any = csp(POLICY)
    public: Answers = login_not_required(strict(answer))
    return public


def _public(view: Shows) -> Answers:
    """Makes a view for everybody of one that is given the page behind the link.

    What the view has nothing for (None) is the same 404 as a link that does not work.
    """

    @_for_everybody
    @wraps(view)
    def answer(request: HttpRequest, token: str = "") -> HttpResponse:
        _choose_language(request)
        return _answer(view, request, token)

    return answer


def _answer(view: Shows, request: HttpRequest, token: str) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if limits.too_many(request, "reader", settings.READER_REQUESTS_A_MINUTE):
        response = render(request, "hosts/reader/too_many.html", _frame(), status=429)
        response.headers["Retry-After"] = str(limits.COUNTED_S)
        return response
    page = ReaderPage.objects.by_token(token)
    shown = view(request, page) if page is not None else None
    return shown or render(request, "hosts/reader/not_found.html", _frame(), status=404)


def _choose_language(request: HttpRequest) -> None:
    """`?lang=ja` goes before what the browser asks for, so that a link can be given in either."""
    wanted = request.GET.get("lang", "")
    if wanted in dict(settings.LANGUAGES):
        translation.activate(wanted)
        request.LANGUAGE_CODE = translation.get_language()


def _frame() -> dict[str, Any]:
    """Returns what every page of a reader shows: the languages to choose from."""
    now = translation.get_language()
    return {
        "languages": [
            {
                "code": code,
                "name": translation.get_language_info(code)["name_local"],
                "on": code == now,
            }
            for code, _name in settings.LANGUAGES
        ]
    }


# --- What the page is about ---------------------------------------------------------------------


def _settings(page: ReaderPage) -> MailSettings:
    return mail_settings(
        page.endpoints(),
        receiving=page.server_name,
        sending=page.sending_name or page.server_name,
        whole_address=page.user_name == ReaderPage.UserName.ADDRESS,
        mail_domain=page.mail_domain,
    )


def _certificate(pair: Pair | None) -> x509.Certificate | None:
    """Returns the certificate whose fingerprint is shown, without whatever else is in its file.

    Nobody has compared what comes after it there, and a device would trust that for every server.
    """
    if pair is None or pair.certificate_pem is None:
        return None
    try:
        return pem.load_certificates(pair.certificate_pem)[0]
    except pem.PairError:
        return None


def _facts(pair: Pair | None) -> CertificateFacts | None:
    return pair.facts() if pair is not None else None


@_public
def reader_page(request: HttpRequest, page: ReaderPage) -> HttpResponse:
    """What to enter, the fingerprint to compare, what to expect, and what will change."""
    entered = _settings(page)
    facts = _facts(page.current_pair())
    coming = _facts(page.planned_pair())
    names = facts.names if facts is not None else ()
    context = _frame() | {
        "page": page,
        "settings": entered,
        "ports_differ": not entered.complete and page.ports_differ(),
        "facts": facts,
        "names": names[:NAMES_SHOWN],
        "more_names": max(0, len(names) - NAMES_SHOWN),
        "expired": facts is not None and facts.not_after < timezone.now(),
        "coming": coming,
        "late": page.change_on is not None and page.change_on < timezone.localdate(),
        "programs": advice(facts, [page.server_name]) if facts is not None else [],
        "link": _link(request),
    }
    return render(request, "hosts/reader/page.html", context)


@_for_everybody
def reader_nowhere(request: HttpRequest, token: str = "") -> HttpResponse:
    """Any other address below /r/: a link that lost its last slash, or nothing. Whoever mistypes
    a link shall not end up on a page of the portal."""
    if token.strip(".") and "/" not in token:
        return redirect("reader_page", token)
    return reader_page(request, token)


def _link(request: HttpRequest) -> str:
    """Returns the address of the page as it is given away."""
    token = request.resolver_match.kwargs["token"] if request.resolver_match else ""
    return f"{settings.PORTAL_URL}{reverse('reader_page', args=[token])}"


# --- Files --------------------------------------------------------------------------------------


@_public
def reader_certificate_pem(request: HttpRequest, page: ReaderPage) -> HttpResponse | None:
    """The server's certificate in PEM, and nothing else that its file may hold."""
    return _encoded(page, Encoding.PEM, "pem", "application/x-pem-file")


@_public
def reader_certificate_der(request: HttpRequest, page: ReaderPage) -> HttpResponse | None:
    """The server's certificate in DER, which Windows and phones import."""
    return _encoded(page, Encoding.DER, "cer", "application/pkix-cert")


def _encoded(page: ReaderPage, encoding: Encoding, ending: str, kind: str) -> HttpResponse | None:
    certificate = _certificate(page.current_pair())
    if certificate is None:
        return None
    return _file(certificate.public_bytes(encoding), f"{page.server_name}.{ending}", kind)


@_public
def reader_profile(request: HttpRequest, page: ReaderPage) -> HttpResponse | None:
    """The account and the certificate for iPhone, iPad and Mac."""
    pair = page.current_pair()
    facts, certificate = _facts(pair), _certificate(pair)
    if facts is None or certificate is None:
        return None
    names = {"server": page.server_name, "fingerprint": _colons(facts.sha256)}
    words = apple_profile.ProfileWords(
        name=_("Mail at %(server)s") % names,
        description=_(
            "The mail account and the certificate of %(server)s. Install it only if this SHA-256 "
            "fingerprint is the one that you were given: %(fingerprint)s"
        )
        % names,
        account=_("Mail at %(server)s") % names,
        certificate=_("Certificate of %(server)s") % names,
    )
    data = apple_profile.apple_profile(page.server_name, _settings(page), certificate, words)
    return _file(data, f"{page.server_name}.mobileconfig", apple_profile.CONTENT_TYPE)


@_public
def reader_autoconfig(request: HttpRequest, page: ReaderPage) -> HttpResponse | None:
    """The settings as Thunderbird reads them."""
    entered = _settings(page)
    if not entered.complete:
        return None
    data = autoconfig.autoconfig(page.server_name, entered)
    return _file(data, "config-v1.1.xml", autoconfig.CONTENT_TYPE)


@_public
def reader_qr(request: HttpRequest, page: ReaderPage) -> HttpResponse:
    """The address of the page as a picture that a phone reads."""
    code = segno.make(_link(request), error="m", micro=False)
    svg = io.BytesIO()
    code.save(svg, kind="svg", border=4, dark="#000", light="#fff", omitsize=True)
    return HttpResponse(svg.getvalue(), content_type="image/svg+xml; charset=utf-8")


def _file(data: bytes, name: str, content_type: str) -> HttpResponse:
    response = HttpResponse(data, content_type=content_type)
    disposition = content_disposition_header(as_attachment=True, filename=name)
    response.headers["Content-Disposition"] = str(disposition)
    return response


def _colons(sha256: str) -> str:
    return bytes.fromhex(sha256).hex(":").upper()
