"""Scripts in every text field: a real Chromium shows what comes of them, and runs none.

The pages come without their content security policy, so that the escaping alone has to hold. What
is stored is put into the rows directly, past the rules that forms have.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.apps import apps
from django.db import models
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, Route

from certs.models import NoteSnapshot, Pair
from hosts.models import Diagnosis, Installation
from tests.doubles.pairs import make_pair
from tests.people import person, signed_in
from tests.tally import FUZZ, Tally, sample
from tests.xmailadmin.routes import World, furnish, routes
from xmailadmin import audit
from xmailadmin.models import AuditEntry, AuditHead

# The database is set up before Playwright's event loop runs, beside which Django would refuse to.
pytestmark = [
    pytest.mark.usefixtures("django_db_setup"), pytest.mark.browser, pytest.mark.django_db,
]  # fmt: skip

ORIGIN = "http://portal.test"
BATCH = 20
OUT = ["", '">', "'>", "-->", "</textarea>", "</title>", "</script>", "]]>", '" ', "' "]
IN = [
    "<script>alert(1)</script>", "<ScRiPt>alert(1)</sCrIpT>", "<script/src=data:,alert(1)>",
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>", "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>", "<a href='javascript:alert(1)' autofocus>x</a>",
    "<input autofocus onfocus=alert(1)>", "<video><source onerror=alert(1)></video>",
    "autofocus onfocus=alert(1) x=", "onmouseover=alert(1) style=position:fixed;inset:0 x=",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<div hx-get=/ hx-trigger=load hx-on::after-request=alert(1)>x</div>",
    "<div hx-on:click=alert(1) hx-trigger=load>x</div>", "javascript:alert(1)",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "{{constructor('alert(1)')()}}",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "%3Cscript%3Ealert(1)%3C/script%3E", "<object data=data:text/html,<script>alert(1)</script>>",
]  # fmt: skip
PAYLOADS = [before + script for before, script in itertools.product(OUT, IN)]
# What is no text of people's but names, hashes and tokens of the portal's own.
NOT_TEXT = re.compile(r"sealed|sha256|token|slug|^key$|password|^step$|state|kind|failure|^data$")


class Shown:
    """A browser in which the portal seems to be at an origin of its own."""

    def __init__(self, page: Page, client: Client) -> None:
        self.page = page
        self.client = client
        self.dialogs: list[str] = []
        self.rendered: dict[str, bytes] = {}
        self.at = ""
        self._files: dict[str, tuple[bytes, str]] = {}
        page.on("dialog", self._note)
        page.route("**/*", self._answer)

    def _note(self, dialog: Any) -> None:
        self.dialogs.append(self.at)
        dialog.dismiss()

    def _answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        if path in self.rendered:
            route.fulfill(body=self.rendered[path], content_type="text/html; charset=utf-8")
        elif path.startswith("/static/"):
            if path not in self._files:
                got = self.client.get(path)
                self._files[path] = (got.content, got.headers["Content-Type"])
            body, kind = self._files[path]
            route.fulfill(body=body, content_type=kind)
        else:
            route.abort()

    def show(self, what: str, html: bytes) -> None:
        """Loads a page as the portal sent it, with the portal's own scripts."""
        self.at = what
        self.rendered = {"/shown": html}
        self.page.goto(f"{ORIGIN}/shown", wait_until="load")
        self.page.mouse.move(200, 200)


@pytest.fixture(scope="module", autouse=True)
def _beside_playwright() -> Iterator[None]:
    """Not the tests are async, only Playwright's loop is: before any fixture asks the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def shown(page: Page, db: None, monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    everything = person("operator", "key_holder", "administrator", username="all")
    return Shown(page, signed_in(everything, confirmed=True))


def batches() -> list[list[str]]:
    """Returns 200 payloads and more, some at a time."""
    chosen = PAYLOADS[: sample(len(PAYLOADS), 60) : sample(1, 3)]
    return [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]


def languages() -> tuple[str, ...]:
    return sample(("en", "ja"), ("ja",))


def test_a_page_that_lets_them_through_is_noticed(shown: Shown) -> None:
    """The negative control."""
    for payload in (IN[0], IN[1], IN[3], IN[4], IN[6]):
        before = len(shown.dialogs)
        shown.show(payload, f"<!doctype html><p>{payload}</p>".encode())
        assert len(shown.dialogs) > before, payload


@pytest.mark.slow
def test_what_is_stored(shown: Shown, tmp_path: Path, tally: Tally) -> None:
    world = furnish(tmp_path)
    for batch in batches():
        fill(world, batch)
        for language, route in itertools.product(languages(), routes()):
            if route.name == "account_logout":
                continue
            address = world.address(route)
            answer = shown.client.get(address, headers={"accept-language": language})
            if "html" in answer.headers.get("Content-Type", "") and answer.status_code == 200:
                shown.show(f"{language} {address}", answer.content)
        for _ in batch:
            tally.add("scripts")
    assert shown.dialogs == []


def fill(world: World, batch: list[str]) -> None:
    """Puts the payloads into every text of every row."""
    text = " ".join(batch)
    for model in apps.get_models():
        if model._meta.app_label not in ("certs", "hosts", "xmailadmin"):
            continue
        if model in (AuditEntry, AuditHead, NoteSnapshot):
            continue
        for field in model._meta.concrete_fields:
            is_text = isinstance(field, models.CharField | models.TextField)
            if is_text and not field.choices and not NOT_TEXT.search(field.name):
                for number, row in enumerate(model._base_manager.values_list("pk", flat=True)[:30]):
                    value = f"{text} {number}" if field.unique else text
                    model._base_manager.filter(pk=row).update(**{field.name: value})
    message = {"code": "transport.io", "params": {"path": text, "reason": text}}
    Installation.objects.update(
        message=message, notes=[message],
        steps=[{"step": "STAGE", "at": "2026-11-24T12:00:00+00:00", "message": message}],
    )  # fmt: skip
    finding = {"code": "reachable", "level": "error", "message": message, "remedy": message}
    Diagnosis.objects.update(findings=[finding] * 4)
    pair = world.objects["pair"]
    assert isinstance(pair, Pair)
    pair.refresh_from_db()
    pair.keep(*certificate_of(batch))
    pair.memo = text
    pair.save()
    audit.record(None, "host.edit", world.objects["host"], fields=batch, path=text)
    for each in batch:
        audit.record(None, each[:40], world.objects["host"], common_name=each)


def certificate_of(batch: list[str]) -> tuple[bytes, bytes]:
    """A pair whose certificate says it all."""
    made = make_pair("mail.dojo.jp")
    known = x509.load_pem_x509_certificate(made.certificate)
    key = serialization.load_pem_private_key(made.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name(
        [
            x509.NameAttribute(kind, text)
            for text in batch
            for kind in (NameOID.ORGANIZATION_NAME, NameOID.LOCALITY_NAME)
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(known.not_valid_before_utc)
        .not_valid_after(known.not_valid_after_utc)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(text[:60]) for text in batch]), False
        )
        .sign(key, hashes.SHA256())
    )
    return made.key, certificate.public_bytes(serialization.Encoding.PEM)


FORMS = [
    "account_login", "account_change_password", "account_reauthenticate", "mfa_activate_totp",
    "host_add", "pair_new", "person_invite", "note_add", "report_add", "host_import",
    "mfa_add_webauthn",
]  # fmt: skip
SEARCHES = ["host_list", "pair_list", "installation_list", "deployment_list", "audit_list",
            "client_list", "person_list", "matrix", "dashboard"]  # fmt: skip
FIELD = re.compile(r"<(?:input|textarea|select)[^>]*? name=\"([^\"]+)\"")


@pytest.mark.slow
def test_what_comes_back(shown: Shown) -> None:
    """Forms that are refused, with a payload in each of their fields; and searches."""
    known = {route.name for route in routes()}
    assert not set(SEARCHES) - known
    for language, name in itertools.product(languages(), [*FORMS, *SEARCHES]):
        if name not in known:
            continue
        address = reverse(name)
        headers = {"accept-language": language}
        page = shown.client.get(address, headers=headers)
        fields = {unescape(field) for field in FIELD.findall(page.content.decode())}
        fields -= {"csrfmiddlewaretoken"}
        for batch in batches():
            for payload in batch if name in ("host_add", "pair_new") and FUZZ else batch[::4]:
                data = dict.fromkeys(fields, payload)
                if name in SEARCHES:
                    answer = shown.client.get(address, {**data, "q": payload}, headers=headers)
                else:
                    answer = shown.client.post(address, data, headers=headers)
                if answer.status_code == 200:
                    shown.show(f"{language} {name} {payload}", answer.content)
    assert shown.dialogs == []
