"""Every address of the portal, for everybody: nobody, and each role; what is there and what not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tests import people
from tests.tally import Tally
from tests.xmailadmin.routes import Route, World, furnish, routes
from xmailadmin import limits
from xmailadmin.access import ACCESS, PUBLIC, SIGNED_IN
from xmailadmin.models import AuditEntry, User
from xmailadmin.roles import ADMINISTER, DOWNLOAD_KEYS, OPERATE, ROLES, VIEW

pytestmark = pytest.mark.django_db

ROUTES = routes()
LOGIN = reverse("account_login")

# What each role may do beyond signing in, said a second time and independently of roles.py.
MAY = {
    "viewer": {VIEW},
    "operator": {VIEW, OPERATE},
    "key_holder": {VIEW, OPERATE, DOWNLOAD_KEYS},
    "administrator": {VIEW, ADMINISTER},
}
OPEN_TO_ALL = {
    "access_link",
    "account_inactive",
    "account_login",
    "account_logout",
    "account_signup",
    "choose_password",
    "healthz",
    "metrics",
    "mfa_authenticate",
    "openid_connect_callback",
    "openid_connect_login",
    "reader_autoconfig",
    "reader_certificate_der",
    "reader_certificate_pem",
    "reader_nowhere",
    "reader_page",
    "reader_profile",
    "reader_qr",
    "readyz",
    "set_language",
    "socialaccount_login_cancelled",
    "socialaccount_login_error",
    "socialaccount_signup",
}
# What may be sent without being an operator or more: one's own affairs, and telling of a client.
SENT_BY_ANYBODY = {"client_report_new"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return furnish(tmp_path)


@contextmanager
def undone() -> Iterator[None]:
    """Whatever a request does, it is as if it had not been."""
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)


def asked(client: Client, method: str, address: str) -> HttpResponse:
    client.raise_request_exception = False
    with undone():
        response: HttpResponse = getattr(client, method)(address)
    return response


def refused(response: HttpResponse) -> bool:
    return response.status_code == 403


def sent_to_sign_in(response: HttpResponse) -> bool:
    return response.status_code == 302 and response.headers["Location"].startswith(LOGIN)


def test_every_address_has_an_entry_and_every_entry_an_address() -> None:
    names = {route.name for route in ROUTES}
    assert names - ACCESS.keys() == set(), "add these to ACCESS in xmailadmin/access.py"
    assert ACCESS.keys() - names == set(), "these addresses are gone: remove them from ACCESS"


def test_only_these_are_open_to_everybody() -> None:
    assert {name for name, rule in ACCESS.items() if PUBLIC in (rule.see, rule.do)} == OPEN_TO_ALL


def test_entries_keep_to_the_roles() -> None:
    for name, rule in ACCESS.items():
        sent = rule.needs("POST")
        if name.startswith(("person_", "audit_")):
            assert (rule.see, sent) == (ADMINISTER, ADMINISTER), name
            assert rule.guarded or name in {
                "person_list", "person_detail", "audit_list", "audit_verify", "audit_export",
            }  # fmt: skip
        elif name in ("pair_key", "pair_zip"):
            assert (rule.see, sent, rule.guarded) == (DOWNLOAD_KEYS, DOWNLOAD_KEYS, True), name
        elif rule.see not in (PUBLIC, SIGNED_IN):
            assert rule.see in (VIEW, OPERATE), name
            assert sent in (VIEW, OPERATE), name


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_gets_anywhere_without_signing_in(world: World, method: str, tally: Tally) -> None:
    for route in ROUTES:
        for missing in (False, True):
            response = asked(Client(), method, world.address(route, missing=missing))
            assert response.status_code < 500 or route.name == "readyz", route
            if route.name not in OPEN_TO_ALL:
                assert sent_to_sign_in(response), (route, missing, response.status_code)
            tally.add("routes", refused=route.name not in OPEN_TO_ALL)


# What htmx says of the page that asks for a part of itself, and where signing in leads back to.
PAGES = {
    "http://testserver/deployments/17/?page=2": "/deployments/17/?page=2",
    "http://testserver": "/",
    "https://testserver/hosts/": "/",
    "http://testserver:81/hosts/": "/",
    "http://evil.example/hosts/": "/",
    "http://testserver@evil.example/hosts/": "/",
    "http://testserver//evil.example/hosts/": "/",
    "//evil.example/hosts/": "/",
    "javascript:alert(1)": "/",
    "http://[": "/",
    "": "/",
}


@pytest.mark.parametrize(("current", "back"), PAGES.items())
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_part_of_a_page_is_no_sign_in_page(
    client: Client, method: str, current: str, back: str
) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": current}
    address = reverse("deployment_progress", args=[17])
    part = getattr(client, method)(address, headers=headers)
    assert (part.status_code, part.content) == (200, b"")
    assert unquote(part.headers["HX-Redirect"]) == f"{LOGIN}?next={back}"
    assert "no-store" in part.headers["Cache-Control"]
    whole = client.get(address)
    assert whole.headers["Location"] == f"{LOGIN}?next={address}"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["get", "post"])
def test_each_role_gets_exactly_where_it_may(
    world: World, role: str, method: str, tally: Tally
) -> None:
    user = people.person(role, username=role)
    people.set_up_second_factor(user)
    client = people.signed_in(user, confirmed=True)
    for route in ROUTES:
        if route.name == "account_logout":
            continue  # it would end this session
        needed = ACCESS[route.name].needs(method.upper())
        allowed = needed in (PUBLIC, SIGNED_IN) or needed in MAY[role]
        for missing in (False, True):
            response = asked(client, method, world.address(route, missing=missing))
            told = (route.name, missing, response.status_code)
            # No worker runs here, and readyz says so.
            assert response.status_code < 500 or route.name == "readyz", told
            assert refused(response) == (not allowed), told
            if allowed and missing and "pk" in route.arguments:
                assert response.status_code in (404, 405), told
            tally.add("routes", refused=not allowed)


def test_what_changes_anything_needs_more_than_a_viewer(world: World) -> None:
    viewer = people.signed_in(people.person("viewer"))
    for route in ROUTES:
        if ACCESS[route.name].see in (PUBLIC, SIGNED_IN) or route.name in SENT_BY_ANYBODY:
            continue
        response = asked(viewer, "post", world.address(route))
        assert response.status_code in (403, 405), (route.name, response.status_code)


def test_a_person_without_a_role_sees_only_the_own_account(world: World) -> None:
    client = people.signed_in(people.person())
    for route in ROUTES:
        if ACCESS[route.name].see not in (PUBLIC, SIGNED_IN):
            assert refused(asked(client, "get", world.address(route))), route
    assert client.get(reverse("account")).status_code == 200


def test_a_refusal_is_put_on_record() -> None:
    user = people.person("viewer")
    client = people.signed_in(user)
    response = client.post(reverse("host_add"), {"name": "x"})
    assert response.status_code == 403
    assert b"You may not do this" in response.content
    entry = AuditEntry.objects.get(action="access.denied")
    assert (entry.actor, entry.detail) == (user, {"method": "POST", "path": reverse("host_add")})


def test_refusals_do_not_fill_the_audit() -> None:
    taro = people.signed_in(people.person("viewer", username="taro"))
    for client in (people.signed_in(people.person("viewer")), taro):
        for _ in range(limits.REFUSALS_A_MINUTE + 5):
            assert client.get(reverse("audit_list")).status_code == 403
    assert AuditEntry.objects.filter(action="access.denied").count() == 2 * limits.REFUSALS_A_MINUTE


def test_a_long_method_is_cut_in_the_audit() -> None:
    client = people.signed_in(people.person("viewer"))
    assert client.generic("D" * 60_000, reverse("host_add")).status_code == 403
    assert AuditEntry.objects.get(action="access.denied").detail["method"] == "D" * 20


TOKEN = "AbCdEfGhIjKlMnOpQrStUvWx-_0123456789"


@pytest.mark.parametrize(
    "path",
    ["/account/link/%s/", "/account/link/%%20%s/", "/r/%s/", "/r/%s/qr.svg", "/r/%s。"],
)
def test_a_link_that_may_still_work_is_masked_in_the_audit(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    people.sign_in(client, people.person("viewer"))
    assert client.post(path % TOKEN).status_code == 403
    told = AuditEntry.objects.get(action="access.forged").detail["path"]
    assert told.startswith(path.partition("%")[0])
    assert "***" in told
    assert TOKEN[:8] not in told


@pytest.mark.parametrize(
    "path", ["/r/%00abc/x", "/account/link/%00/", "/hosts/%00", "/hosts/1/%ED%A0%80"]
)
def test_what_is_refused_at_an_odd_address_is_plainly_refused(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    people.sign_in(client, people.person("viewer"))
    assert client.post(path).status_code in (403, 404)
    for entry in AuditEntry.objects.filter(action="access.forged"):
        assert "\0" not in entry.detail["path"]


def test_an_address_without_an_entry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ACCESS, "guide")
    superuser = User.objects.create_superuser("root")
    assert people.signed_in(superuser).get(reverse("guide")).status_code == 403


def test_somebody_elses_security_key_is_not_found(world: World) -> None:
    client = people.signed_in(people.person("operator"), confirmed=True)
    for name in ("mfa_edit_webauthn", "mfa_remove_webauthn"):
        address = world.address(Route(name, ("pk",)))
        assert client.get(address).status_code == 404
        assert client.post(address, {"name": "mine"}).status_code == 404


@pytest.mark.parametrize("who", ["nobody", "somebody who may everything"])
def test_every_form_needs_its_token(world: World, who: str, tally: Tally) -> None:
    client = Client(enforce_csrf_checks=True)
    if who != "nobody":
        people.sign_in(client, people.person(*ROLES), confirmed=True)
    for route in ROUTES:
        for missing in (False, True):
            response = asked(client, "post", world.address(route, missing=missing))
            assert response.status_code == 403, (route.name, response.status_code)
            assert b"This form is no longer valid" in response.content, route
            tally.add("forged forms", refused=True)
