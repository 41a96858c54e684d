"""Marked secrets are planted, everything is driven, and then they are looked for everywhere."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest
import redis
from django.urls import reverse

from certs.issue import issue
from certs.pair import fingerprint_sha256
from tests import people
from tests.canary.browser import Browser
from tests.canary.needles import Needles
from tests.canary.sabotage import SABOTAGED
from tests.canary.watching import Watch
from tests.certs.conftest import spec
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.portal import CHECKOUT, Portal
from tests.servers import SSHServer
from tests.tally import FUZZ, Tally, sample
from tests.xmailadmin.routes import routes
from xmailadmin import vault

pytestmark = pytest.mark.slow

KEY = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----\n", re.S)
HTMX = {"HX-Request": "true"}
OFF = {f"{name}_port": 0 for name in ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")}
PAIR = {
    "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Xmail",
    "organizational_unit": "", "common_name": "mail.dojo.jp", "aliases": "", "email": "",
    "key_size": "rsa-2048", "days": "825", "memo": "", "after": "",
}  # fmt: skip
# What would end the session or the account that drives the pages.
LEFT_ALONE = {
    "account_logout", "session_end", "account_change_password", "mfa_deactivate_totp",
    "account_login", "person_disable", "person_sessions", "person_roles", "person_second_factor",
    "set_language", "host_delete", "pair_key", "pair_zip", "mfa_generate_recovery_codes",
    "mfa_download_recovery_codes", "mfa_view_recovery_codes", "person_link",
}  # fmt: skip
# The pages whose purpose it is to show a secret once, and which one.
PURPOSE = {
    "pair_key": ("made key",), "pair_zip": ("made key",), "mfa_activate_totp": ("TOTP secret",),
    "mfa_generate_recovery_codes": ("recovery codes",), "person_link": ("one-time link",),
    "mfa_view_recovery_codes": ("recovery codes",),
    "mfa_download_recovery_codes": ("recovery codes",),
}  # fmt: skip


@dataclass
class Drill:
    """One portal, the secrets planted in it, and everything that came out of it."""

    portal: Portal
    place: Path
    ssh: SSHServer
    needles: Needles = field(default_factory=Needles)
    outputs: list[tuple[str, bytes]] = field(default_factory=list)

    def secret(self, name: str) -> str:
        """Makes up a secret that has characters which each form of writing escapes differently."""
        made = f"Zk&<{secrets.token_hex(8)}'\"\\%é{secrets.token_hex(8)}"
        self.needles.plant(name, made, made.split("é")[0][4:20], made[-16:])
        return made

    def file(self, name: str, text: str) -> str:
        """Puts a secret where commands read it: that file is where it belongs."""
        path = self.place / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.portal.manage(*arguments, check=False)
        self.outputs += [(f"manage.py {arguments[0]}", (done.stdout + done.stderr).encode())]
        return done

    def hits(self, name: str, data: bytes, *, but: tuple[str, ...] = ()) -> list[str]:
        return [f"{name}: {found}" for found in sorted(self.needles.found_in(data, but=but))]


@pytest.fixture(params=sample(["embedded", "grown"], ["embedded"]))
def drill(request: pytest.FixtureRequest, tmp_path: Path, ssh_server: SSHServer) -> Drill:
    (tmp_path / "temporary").mkdir()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.canary.settings",
        "XMAILADMIN_ADMIN_PASSWORD": "",
        "XMAILADMIN_ADMIN_PASSWORD_FILE": str(tmp_path / "given" / "admin"),
        "TMPDIR": str(tmp_path / "temporary"),
        "CANARY_MESSAGES": str(tmp_path / "messages"),
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": str(CHECKOUT),
    }
    if request.param == "grown":
        environment |= {
            "CELERY_BROKER_URL": request.getfixturevalue("redis_server"),
            "DATABASE_URL": request.getfixturevalue("postgres_server"),
        }
    portal = Portal(tmp_path / "portal", environment)
    drill = Drill(portal, tmp_path, ssh_server)
    portal.password = drill.secret("administrator's password")
    drill.file("admin", portal.password)
    return drill


def test_no_secret_turns_up_anywhere(drill: Drill, tally: Tally) -> None:
    portal, needles = drill.portal, drill.needles
    hits: list[str] = []
    with ears_on_the_broker(drill), Watch(needles, drill.place / "temporary") as watch:
        with xmail(drill) as mailer, portal.up():
            browser = Browser(portal.url)
            register_hosts(drill, browser, mailer)
            use_everything(drill, browser)
            every_page(drill, browser)
            commands(drill)
        hits += sorted(watch.hits)
    assert watch.looks > 500
    for answer in browser.answers:
        for what, data in (("headers of", answer.headers), ("body of", answer.body)):
            hits += drill.hits(f"{what} {answer.what}", data, but=answer.may_hold)
    for name, data in drill.outputs:
        hits += drill.hits(name, data)
    for path in [portal.log, *portal.home.rglob("*"), *drill.place.glob("*")]:
        if path.is_file() and path.name not in (vault.KEY_FILE,):
            hits += drill.hits(path.name, path.read_bytes())
    hits += drill.hits("database", dumped(drill))
    assert not hits, "\n".join(sorted(set(hits)))
    check_that_it_was_a_trial(drill, browser)
    tally.add("canary")


@contextmanager
def xmail(drill: Drill) -> Iterator[XMail]:
    """A host by CTRL, with the marked key in both files, and another secret as its password."""
    marked = make_pair("marked.test", kind="rsa2048")
    drill.needles.plant_key("found key", marked.key.decode())
    password = "Zk" + secrets.token_hex(12)
    drill.needles.plant("CTRL password", password)
    root = make_mailroot(
        drill.place / "hosts" / "ctrl", key=marked.key, password=password,
        certificate=marked.key + marked.certificate,
    )  # fmt: skip
    with XMail(root, password=password) as running:
        yield running


def register_hosts(drill: Drill, browser: Browser, mailer: XMail) -> None:
    """Signs in and registers a host of each kind, with mistakes on the way."""
    portal, needles = drill.portal, drill.needles
    wrong = drill.secret("wrong password")
    login = {"login": portal.username, "password": wrong}
    browser.post("/account/login/", login)
    # Typed where the name belongs, it comes back in that field, to whoever typed it; no further.
    browser.post("/account/login/", {"login": wrong, "password": wrong},
                 may_hold=("wrong password",))  # fmt: skip
    assert browser.post("/account/login/", login | {"password": portal.password}).status == 302
    needles.plant("master key", *(portal.home / "master.key").read_text().split(","))

    marked = (mailer.mailroot / "server.cert").read_bytes()
    ctrl_password = mailer.password
    ctrl = {
        "name": "by ctrl", "transport": "ctrl", "os": "unix", "address": "127.0.0.1",
        "port": mailer.ports["ctrl"], "user": mailer.user, "mailroot": "", "password": wrong,
        "trust_fingerprint": fingerprint_sha256(marked), "jump": "", "memo": "", **OFF,
    }  # fmt: skip
    assert browser.post("/hosts/add/", ctrl).status == 200  # refused: the wrong password
    ctrl |= {"password": ctrl_password, "pop3_port": mailer.ports["pop3"]}
    assert browser.post("/hosts/add/", {**ctrl, "trust_fingerprint": ""}).status == 200
    assert browser.post("/hosts/add/", ctrl).status == 302

    key = drill.ssh.client_key
    passphrase = drill.secret("passphrase")
    sealed = key.export_private_key("openssh", passphrase).decode()
    needles.plant_key("SSH key", sealed)
    needles.plant("SSH key", key.export_private_key("pkcs8-pem").decode().splitlines()[1])
    needles.plant_key("SSH key", key.export_private_key("openssh").decode())
    sftp = {
        "name": "by sftp", "transport": "sftp", "os": "unix", "address": "127.0.0.1",
        "port": drill.ssh.port, "user": drill.ssh.user,
        "mailroot": make_mailroot(drill.place / "hosts" / "sftp"), "private_key": sealed,
        "passphrase": wrong, "jump": "", "memo": "", **OFF,
        "trust_fingerprint": drill.ssh.host_key.get_fingerprint("sha256"),
    }  # fmt: skip
    assert browser.post("/hosts/add/", sftp).status == 200  # the wrong passphrase
    sftp["passphrase"] = passphrase
    assert browser.post("/hosts/check/", sftp, page="/hosts/add/").status == 200
    assert browser.post("/hosts/check/", sftp, page="/hosts/add/", headers=HTMX)
    browser.post("/hosts/add/", sftp | {"trust_fingerprint": "ab" * 32})  # another host
    browser.post("/hosts/add/", sftp | {"private_key": sealed[:300]})  # half a key
    browser.post("/hosts/add/", sftp | {"mailroot": "/nowhere"})
    browser.post("/hosts/add/", sftp | {"name": "x" * 200, "password": wrong})
    assert browser.post("/hosts/add/", sftp | {"password": wrong}).status == 302

    for name in ("local", SABOTAGED):
        local = {
            "name": name, "transport": "local", "os": "unix", "address": "127.0.0.1",
            "mailroot": make_mailroot(drill.place / "hosts" / name), "password": wrong, **OFF,
        }  # fmt: skip
        assert browser.post("/hosts/add/", local).status == 302, name
    drill.file("passphrase", passphrase)
    drill.file("key", sealed)
    drill.file("wrong", wrong)
    browser.post("/hosts/add/", sftp, headers={"X-Sabotage": "1"})  # an error of the server
    browser.post("/hosts/add/", sftp, token=False)  # forged
    with suppress(urllib.error.URLError):  # too large: perhaps refused before all of it is sent
        browser.post("/hosts/add/", {**sftp, "memo": "x" * 1_100_000})


def use_everything(drill: Drill, browser: Browser) -> None:
    """Second factor, pairs, installations, the one allowed download, people."""
    needles = drill.needles
    browser.post("/account/reauthenticate/", {"password": drill.portal.password + "x"})
    confirmed = browser.post("/account/reauthenticate/", {"password": drill.portal.password})
    assert confirmed.status == 302
    page = browser.get(reverse("mfa_activate_totp"), may_hold=PURPOSE["mfa_activate_totp"])
    shown = re.search(rb'id="totp-secret">([A-Z2-7]+)<', page.body)
    assert shown, (page.status, page.headers)
    # Opening the page makes the secret, and the form on it is the one that is sent.
    answer = browser.post(
        reverse("mfa_activate_totp"), {"code": "000000"}, may_hold=PURPOSE["mfa_activate_totp"]
    )
    totp = re.findall(rb'id="totp-secret">([A-Z2-7]+)<', answer.body)[-1].decode()
    needles.plant("TOTP secret", totp)
    token = re.findall(rb'name="csrfmiddlewaretoken" value="([^"]+)"', answer.body)[-1].decode()
    done = browser.post(
        reverse("mfa_activate_totp"), {"code": people.code(totp), "csrfmiddlewaretoken": token},
        token=False, may_hold=PURPOSE["mfa_activate_totp"],
    )  # fmt: skip
    assert done.status == 302, done.body[-3000:]
    codes = browser.get(reverse("mfa_view_recovery_codes"), may_hold=("recovery codes",)).body
    found = re.findall(rb">\s*([0-9a-f]{8}|[A-Z0-9]{4,}-[A-Z0-9]{4,})\s*<", codes)
    for code in found:
        if len(code) >= 10:
            needles.plant("recovery codes", code)

    form = {**PAIR, "install_now": "on", "which": "all"}
    answer = browser.post("/pairs/new/", form)
    if answer.status == 200:  # judged first: mail clients may be troubled
        mark = re.search(rb'name="judged" value="([^"]*)"', answer.body)
        form |= {"judged": mark[1].decode() if mark else "", "accept": "on", "accepted": "on"}
        answer = browser.post("/pairs/new/", form)
    assert answer.status == 302, answer.body[-3000:]
    wait_until(lambda: b"PRIVATE KEY" in download(drill, browser))
    wait_until(lambda: all_done(browser))
    for host in (1, 2, 3, 4):
        browser.post(f"/hosts/{host}/diagnose/", {}, page=f"/hosts/{host}/")
    browser.post("/hosts/1/rollback/", {})
    invited = browser.post("/people/invite/", {
        "username": "taro", "first_name": "", "last_name": "", "email": "taro@dojo.jp",
        "roles": ["viewer"],
    }, may_hold=("one-time link",))  # fmt: skip
    link = re.search(rb"/account/link/([\w-]{20,})", invited.body + invited.headers)
    person = browser.get("/people/2/", may_hold=("one-time link",))
    link = link or re.search(rb"/account/link/([\w-]{20,})", person.body)
    if link:
        needles.plant("one-time link", link[1])
        newcomer = Browser(drill.portal.url)
        newcomer.get(f"/account/link/{link[1].decode()}/", may_hold=("one-time link",))
    new = drill.secret("new password")
    change = {"oldpassword": drill.portal.password, "password1": new, "password2": new}
    browser.post("/account/password/", change | {"oldpassword": new})
    browser.post("/account/password/", change | {"password2": drill.portal.password})


def download(drill: Drill, browser: Browser) -> bytes:
    """The one way on which a private key may leave."""
    for number in range(1, 6):
        answer = browser.post(
            f"/pairs/{number}/server.key", {}, page="/account/", may_hold=PURPOSE["pair_key"]
        )
        if found := KEY.search(answer.body):
            if b"mail.dojo.jp" in browser.get(f"/pairs/{number}/").body:
                drill.needles.plant_key("made key", found[0].decode())
                return answer.body
            answer.may_hold = ("made key", "found key")  # the pair that was found on a host
        else:
            answer.may_hold = ()
    return b""


def all_done(browser: Browser) -> bool:
    page = browser.get("/deployments/1/").body
    return b'hx-trigger="every' not in page


def wait_until(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.5)


def every_page(drill: Drill, browser: Browser) -> None:
    """Opens every address that the resolver knows, in both languages, and sends it nonsense."""
    typed = drill.secret("typed into any form")
    fields = ("password", "private_key", "passphrase", "password1", "password2", "oldpassword",
              "code", "new_password1", "new_password2")  # fmt: skip
    junk = dict.fromkeys(fields, typed)
    for language in sample(("en", "ja"), ("ja",)):
        browser.language = language
        for route in routes():
            if route.name == "account_logout":
                continue
            values = {name: "1" if name == "pk" else "thunderbird" for name in route.arguments}
            if "token" in values:
                values["token"] = "nobody-knows-this-token"
            address = reverse(route.name, kwargs=values)
            may = PURPOSE.get(route.name, ())
            if route.name not in ("pair_key", "pair_zip"):
                browser.get(address, may_hold=may)
                if FUZZ:
                    browser.get(address, may_hold=may, headers=HTMX)
            if route.name not in LEFT_ALONE:
                browser.post(address, junk, page="/account/", may_hold=may)
                if FUZZ:
                    browser.post(address, junk, token=False, may_hold=may)
        browser.get("/no-such-page/")
    browser.language = "en"


def commands(drill: Drill) -> None:
    """Every command, also where it fails."""
    given = drill.place / "given"
    passphrase = drill.file("backup", drill.secret("backup's passphrase"))
    root = make_mailroot(drill.place / "hosts" / "more")
    local = ("--transport", "local", "--mailroot", str(root))
    flags = tuple(word for name in OFF for word in (f"--{name.replace('_', '-')}", "0"))
    drill.manage("add_host", "more", *local, *flags, "--password-file", str(given / "wrong"))
    drill.manage("add_host", "more", *local, *flags, "--password-file", str(given / "wrong"))
    drill.manage("add_host", "again", "--transport", "sftp", "--user", drill.ssh.user, "--port",
                 str(drill.ssh.port), "--mailroot", str(root), *flags,
                 "--key-file", str(given / "key"), "--passphrase-file", str(given / "wrong"),
                 "--trust-fingerprint", drill.ssh.host_key.get_fingerprint("sha256"))  # fmt: skip
    pair = ("--country", "JP", "--state", "S", "--locality", "L", "--organization", "O",
            "--common-name", "more.dojo.jp", "--key-type", "ec")  # fmt: skip
    drill.manage("issue_pair", *pair, "--install", "more", "--install", SABOTAGED)
    drill.manage("issue_pair", *pair, "--days", "9999")
    drill.manage("deploy_pair", "2", "--all", "--json")
    drill.manage("diagnose_hosts", "--json")
    drill.manage("rollback_host", "more", "--remove")
    drill.manage("rollback_deployment", "1")
    drill.manage("rotate_master_key", "--json")
    drill.needles.plant(
        "master key", *(drill.portal.home / "master.key").read_text().strip().split(",")
    )
    drill.manage("remove_second_factor", "nobody")
    drill.manage("verify_audit")
    drill.manage("backup", str(drill.place / "file.backup"), "--passphrase-file", passphrase)
    drill.manage("restore", str(drill.place / "file.backup"), "--passphrase-file", passphrase)
    drill.manage("restore", str(drill.place / "file.backup"), "--passphrase-file",
                 str(given / "wrong"))  # fmt: skip
    drill.manage("check", "--deploy")
    drill.manage("no_such_command")


@contextmanager
def ears_on_the_broker(drill: Drill) -> Iterator[None]:
    """Listens to everything that Redis is told, and keeps all that it holds."""
    url = drill.portal.extra_environment.get("CELERY_BROKER_URL", "")
    if not url:
        yield
        return
    done = threading.Event()
    heard: list[bytes] = []

    where = urllib.parse.urlsplit(url)
    listener = socket.create_connection((where.hostname or "", where.port or 0), timeout=0.5)
    listener.sendall(b"MONITOR\r\n")

    def listen() -> None:
        while not done.is_set():
            try:
                heard.append(listener.recv(1 << 20))
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield
    with redis.Redis.from_url(url) as client:
        for name in client.scan_iter():
            heard.append(bytes(client.dump(name) or b""))
    done.set()
    thread.join(5)
    listener.close()
    assert sum(map(len, heard)) > 10_000, "the broker was listened to"
    drill.outputs.append(("broker", b"\n".join(heard)))


SESSIONS = (
    "import json; from django.contrib.sessions.models import Session; "
    "print(json.dumps([row.get_decoded() for row in Session.objects.all()], default=str))"
)


def dumped(drill: Drill) -> bytes:
    """Every row of every table, and what is inside the sessions."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", SESSIONS],
        cwd=CHECKOUT, env=drill.portal.environment, capture_output=True,
    )  # fmt: skip
    sessions = json.loads(done.stdout.splitlines()[-1])
    assert sessions, "somebody was signed in"
    rows = [json.dumps(sessions, ensure_ascii=False).encode()]
    url = drill.portal.extra_environment.get("DATABASE_URL", "").replace("postgres:", "postgresql:")
    if url:
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (table,) in tables:
                with connection.cursor().copy(f'COPY "{table}" TO STDOUT') as copy:
                    rows += [bytes(block) for block in copy]
    else:
        rows.append((drill.portal.home / "xmailadmin.sqlite3").read_bytes())
    assert sum(map(len, rows)) > 100_000
    return b"\n".join(rows)


def check_that_it_was_a_trial(drill: Drill, browser: Browser) -> None:
    """Nothing found is worth little where nothing happened."""
    log = drill.portal.log.read_text(errors="replace")
    for happened in ("sabotage of a request", "sabotage while diagnosing", "DEBUG asyncssh"):
        assert happened in log, happened
    outputs = b"".join(data for _name, data in drill.outputs) + log.encode()
    assert b"sabotage while installing" in outputs
    assert [answer for answer in browser.answers if answer.status == 500]
    messages = (drill.place / "messages").read_text()
    assert "install_hosts" in messages
    assert {"found key", "made key", "SSH key", "master key", "TOTP secret"} <= set(
        drill.needles.spelled.values()
    )


class TestNeedles:
    """The search finds what it must find."""

    @pytest.mark.parametrize("shift", range(4))
    def test_a_key_in_every_writing(self, shift: int) -> None:
        key = make_pair(kind="rsa2048").key
        needles = Needles()
        needles.plant_key("key", key.decode())
        before = b"x" * shift
        for written in (
            before + key,
            base64.b64encode(before + key),
            base64.urlsafe_b64encode(before + key),
            (before + key).hex().encode(),
            json.dumps({"key": key.decode()}).encode(),
            json.dumps(json.dumps({"key": key.decode()})).encode(),
            repr(key).encode(),
            repr(repr(key.decode())).encode(),
            urllib.parse.quote(key).encode(),
            key.replace(b"\n", b"\r\n"),
            key.splitlines()[15],
        ):
            assert needles.found_in(written) == {"key"}, written[:80]
        assert needles.found_in(zlib.compress(key)) == set()  # nobody writes logs like that

    def test_certificates_and_other_keys_are_no_hits(self) -> None:
        pair = make_pair(kind="rsa2048")
        needles = Needles()
        needles.plant_key("key", pair.key.decode())
        assert needles.found_in(pair.certificate) == set()
        assert needles.found_in(issue(spec(), datetime.now(UTC)).key_pem) == set()

    def test_an_ssh_key(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        needles = Needles()
        needles.plant_key("key", key.export_private_key("openssh").decode())
        assert needles.found_in(key.export_private_key("openssh")) == {"key"}
