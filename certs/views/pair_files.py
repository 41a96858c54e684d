"""The files of a pair, to download. A private key leaves only by POST and never unrecorded."""

from __future__ import annotations

import io
import zipfile

from cryptography.hazmat.primitives.serialization import Encoding
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_safe

from certs import pair as pem
from certs.models import Pair
from xmailadmin import audit, vault

__all__ = ["pair_certificate", "pair_der", "pair_key", "pair_zip"]

# XMail's own names, so that the files only need to be put into its MailRoot.
KEY_NAME, CERTIFICATE_NAME = "server.key", "server.cert"
PEM_TYPE = "application/x-pem-file"


@require_safe
def pair_certificate(request: HttpRequest, pk: int) -> HttpResponse:
    """server.cert; of one that was found on a host the certificates alone."""
    return _file(_certificate(_pair(pk)), CERTIFICATE_NAME, PEM_TYPE)


@require_safe
def pair_der(request: HttpRequest, pk: int) -> HttpResponse:
    """The certificate in DER, which Windows and many phones import; the leaf of a chain alone."""
    try:
        leaf = pem.load_certificates(_certificate(_pair(pk)))[0]
    except pem.PairError:
        raise Http404 from None
    return _file(leaf.public_bytes(Encoding.DER), "server.der", "application/pkix-cert")


@sensitive_variables("key")
def pair_key(request: HttpRequest, pk: int) -> HttpResponse:
    """server.key. Only by POST; the audit row is committed before the first byte leaves."""
    pair = _pair(pk)
    if request.method != "POST":
        return _post_only(request, pair)
    key = _recorded_key(request, pair, "pair.key")
    return _refused(request, pair) if key is None else _file(key, KEY_NAME, PEM_TYPE)


@sensitive_variables("key", "archive")
def pair_zip(request: HttpRequest, pk: int) -> HttpResponse:
    """Both files in one archive, with the modes they shall have. The rules are the key's."""
    pair = _pair(pk)
    if request.method != "POST":
        return _post_only(request, pair)
    certificate = _certificate(pair)
    key = _recorded_key(request, pair, "pair.zip")
    if key is None:
        return _refused(request, pair)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for name, data, mode in ((KEY_NAME, key, 0o600), (CERTIFICATE_NAME, certificate, 0o644)):
            entry = zipfile.ZipInfo(name, pair.created_at.timetuple()[:6])
            entry.external_attr = (0o100000 | mode) << 16
            files.writestr(entry, data)
    return _file(archive.getvalue(), f"xmail-pair-{pair.pk}.zip", "application/zip")


def _pair(pk: int) -> Pair:
    return get_object_or_404(Pair, pk=pk)


def _certificate(pair: Pair) -> bytes:
    if not (found := pair.certificate_pem):
        raise Http404
    return found


def _recorded_key(request: HttpRequest, pair: Pair, action: str) -> bytes | None:
    """Returns the key once it is on record who takes it; None if it cannot be unsealed.

    Raises Http404 if there is no key, and whatever keeps the record from being written.
    """
    try:
        key = pair.private_key()
    except vault.VaultError:
        return None
    if key is None:
        raise Http404
    with transaction.atomic(durable=True):
        audit.record(request, action, pair, sha256=pair.sha256)
    return key


def _refused(request: HttpRequest, pair: Pair) -> HttpResponse:
    messages.error(
        request,
        _(
            "The private key cannot be unsealed: the master key that sealed it is not among those "
            "of this portal. Put that master key back and try again."
        ),
    )
    return redirect(pair)


def _post_only(request: HttpRequest, pair: Pair) -> HttpResponse:
    """Says to whoever follows a link, or comes here by signing in, where the button is."""
    response = render(request, "certs/pair_post_only.html", {"pair": pair}, status=405)
    response.headers["Allow"] = "POST"
    return response


def _file(data: bytes, name: str, content_type: str) -> HttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=name)
    return HttpResponse(
        data,
        content_type=content_type,
        headers={"Cache-Control": "no-store", "Content-Disposition": str(disposition)},
    )
