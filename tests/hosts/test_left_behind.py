"""What a host held at one place is not said of another place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from certs.models import Pair
from hosts import deploy
from hosts.host_form import HostForm
from hosts.models import Diagnosis, Host
from hosts.moving import leave_behind
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import files, issued_pair, local_host
from tests.hosts import pages
from tests.hosts.pages import text
from tests.hosts.reading import FILES, path_of, switched_on
from tests.hosts.test_places import run_all
from tests.hosts.test_views_hosts import fields
from xmailadmin import celery

pytestmark = pytest.mark.django_db
GONE = "is no longer on record for mail1"
RECORD: dict[str, Any] = {"installed_at": timezone.now(), "key_open": True}


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "ring", lambda *_arguments: True)


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


@pytest.fixture
def host(tmp_path: Path, pair: Pair) -> Host:
    """The pair is there, and on record; somebody has looked."""
    made = local_host(tmp_path, pair=pair, **RECORD)
    write_pair(Path(made.mailroot), *files(pair))
    Diagnosis.objects.take([made])
    return now(made)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "elsewhere")


Move = Callable[..., str]


@pytest.fixture
def move(admin_client: Client, host: Host, elsewhere: Path) -> Move:
    """Somebody gives the host another MailRoot, and reads the page that comes next."""

    def post(**changes: Any) -> str:
        sent = fields(elsewhere) | changes
        return text(pages.edit(admin_client, host, sent, follow=True))

    return post


def now(host: Host) -> Host:
    return Host.objects.get(pk=host.pk)


def test_mail_users_are_not_told_to_trust_the_certificate_of_another_place(
    client: Client, host: Host, move: Move, elsewhere: Path, pair: Pair
) -> None:
    page = switched_on(host=host)
    shown = client.get(path_of(page))
    assert pair.sha256.upper() in text(shown).replace(":", "").replace(" ", "")
    write_pair(elsewhere, *files(issued_pair(common_name="others.dojo.jp")))
    told = move()
    assert "The changes are saved." in told
    assert f"{pair} {GONE}" in told
    assert "The page shows no certificate: no pair is on record for this host." in told
    assert "does not hold the name" not in told
    for end in ("", *FILES):
        answer = client.get(f"{path_of(page)}{end}")
        assert answer.status_code in (200, 404)
        assert pair.sha256 not in answer.content.decode("latin-1").lower().replace(":", "")
    assert "there is no fingerprint to compare" in text(client.get(path_of(page)))
    moved = now(host)
    assert (moved.pair, moved.installed_at, moved.key_open) == (None, None, False)


def test_nothing_of_the_former_place_is_said_of_the_new_one(
    admin_client: Client, host: Host, move: Move, pair: Pair
) -> None:
    matrix = admin_client.get(reverse("matrix"))
    assert matrix.context["counts"]["same"] == 1
    assert "No pair is on record for this host." not in text(admin_client.get(f"/hosts/{host.pk}/"))
    move()
    page = text(admin_client.get(f"/hosts/{host.pk}/"))
    assert "Not diagnosed yet" in page
    assert "The portal has installed no pair on this host yet." in page
    assert "Install again" not in page
    matrix = admin_client.get(reverse("matrix"))
    assert (matrix.context["counts"]["same"], matrix.context["counts"]["unknown"]) == (0, 1)
    assert "mail1 Not seen" in text(matrix)
    refused = admin_client.post(reverse("host_reinstall", args=[host.pk]), follow=True)
    assert "There is no recorded pair that could be installed there." in text(refused)
    choice = text(admin_client.get(reverse("deployment_new", args=[pair.pk])))
    assert "No pair is on record for it" in choice
    for name in ("host_adopt", "host_rollback", "host_install", "host_delete", "host_reader"):
        assert admin_client.get(reverse(name, args=[host.pk])).status_code in (200, 302)
    for name in ("dashboard", "host_list", "diagnosis", "guide"):
        assert admin_client.get(reverse(name)).status_code == 200
    assert admin_client.get(pair.get_absolute_url()).status_code == 200


def test_what_is_there_can_be_put_on_record_again(
    admin_client: Client, host: Host, move: Move, elsewhere: Path
) -> None:
    others = issued_pair(common_name="others.dojo.jp")
    write_pair(elsewhere, *files(others))
    move()
    Diagnosis.objects.take([now(host)])
    assert "Keep what is there" in text(admin_client.get(f"/hosts/{host.pk}/"))
    admin_client.post(reverse("host_adopt", args=[host.pk]))
    assert now(host).pair == others


def test_a_pair_that_moved_along_stays_on_record(
    host: Host, move: Move, elsewhere: Path, pair: Pair
) -> None:
    write_pair(elsewhere, *files(pair))
    told = move()
    assert "The changes are saved." in told
    assert GONE not in told
    moved = now(host)
    assert (moved.pair, moved.installed_at, moved.key_open) == (pair, RECORD["installed_at"], True)
    assert moved.mailroot == str(elsewhere)


def test_who_is_asked_for_a_roll_back_is_not_told_that_nothing_is_there(
    admin_client: Client, host: Host, move: Move
) -> None:
    deploy.create_deployment(issued_pair(), [host], by=None)
    run_all()
    move()
    move(mailroot=host.mailroot)  # back again
    asked = text(admin_client.get(reverse("host_rollback", args=[host.pk])))
    assert "It holds now not known: no pair is on record It gets back" in asked


@pytest.mark.parametrize("changes", [{"memo": "rack 3"}, {"name": "mail1b"}, {"pop3s_port": 995}])
def test_who_stays_keeps_its_pair(
    host: Host, move: Move, pair: Pair, changes: dict[str, Any]
) -> None:
    Path(host.mailroot, "server.cert").unlink()
    assert "no longer on record" not in move(mailroot=host.mailroot, **changes)
    assert now(host).pair == pair


def test_what_was_installed_while_the_form_was_open_counts(
    host: Host, elsewhere: Path, pair: Pair
) -> None:
    newer = issued_pair(common_name="new.dojo.jp")
    write_pair(elsewhere, *files(pair))
    form = HostForm(fields(elsewhere, shown=HostForm(instance=host).shown), instance=host)
    assert form.is_valid(), form.errors
    Host.objects.update(pair=newer)
    form.save()
    assert now(host).pair is None
    assert [message.params["pair"] for message in form.remarks] == [str(newer)]


def test_a_host_by_ctrl_keeps_its_pair_where_another_name_leads_to_it(
    admin_client: Client, tmp_path: Path
) -> None:
    made, others = make_pair("mail.dojo.jp"), make_pair("others.dojo.jp")
    roots = [
        make_mailroot(tmp_path / name, key=each.key, certificate=each.certificate)
        for name, each in (("one", made), ("other", others))
    ]
    with XMail(roots[0]) as here, XMail(roots[1], password=here.password) as there:
        way = {"transport": "ctrl", "user": here.user, "password": here.password}
        first = way | {"port": here.ports["ctrl"], "trust_fingerprint": made.sha256}
        admin_client.post(reverse("host_add"), fields("", **first))
        host = Host.objects.get()
        pair = Pair.objects.adopt(made.key, made.certificate, found_on="mail1")
        Host.objects.update(pair=pair, **RECORD)
        renamed = fields("", **first, address="localhost")
        assert GONE not in text(pages.edit(admin_client, host, renamed, follow=True))
        assert (now(host).address, now(host).pair) == ("localhost", pair)
        second = way | {"port": there.ports["ctrl"], "trust_fingerprint": others.sha256}
        assert GONE in text(pages.edit(admin_client, host, fields("", **second), follow=True))
        assert now(host).pair is None


def test_a_key_that_is_open_stays_so_for_another_user(pair: Pair) -> None:
    host = Host.objects.create(transport="ctrl", user="now", pair=pair, **RECORD)
    assert leave_behind(host, Host(transport="ctrl", user="before"), "") is not None
    assert (now(host).pair, now(host).key_open) == (None, True)
    leave_behind(host, Host(transport="ctrl", address="192.0.2.1"), "")
    assert not now(host).key_open
