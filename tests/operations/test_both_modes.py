"""The main job over HTTP and by commands, in one process and on PostgreSQL, Redis and workers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doubles.mailroot import make_mailroot
from tests.doubles.xmail import XMail
from tests.portal import Portal
from tests.visitor import Page, Visitor

SERVICES = ("smtp", "smtps", "pop3", "pop3s", "ctrls")
PAIR = {
    "country": "JP",
    "state": "東京都",
    "locality": "渋谷区",
    "organization": "エックスメール株式会社",
    "common_name": "mail.dojo.jp",
    "aliases": "pop.dojo.jp 192.0.2.1",
    "key_size": "ec-256",
    "days": "825",
}


def until(what: str, condition: Callable[[], Any], within_s: float = 60) -> Any:
    """Returns the first true answer."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}")


def on_disk(mailroot: Path) -> tuple[bytes, bytes]:
    return (mailroot / "server.key").read_bytes(), (mailroot / "server.cert").read_bytes()


def finished(visitor: Visitor, path: str) -> Page | None:
    page = visitor.get(path)
    return None if "hx-trigger" in page.text else page


def test_one_pair_from_the_form_to_every_host_and_back(
    running_portal: Portal, tmp_path: Path
) -> None:
    visitor = Visitor(running_portal)
    visitor.sign_in()
    mailroots = [make_mailroot(tmp_path / f"mail{number}") for number in (1, 2, 3)]
    with XMail(mailroots[0]) as xmail:
        for mailroot in mailroots:
            ports = dict.fromkeys(SERVICES, "0")
            if mailroot == xmail.mailroot:
                ports = {name: str(xmail.ports[name]) for name in SERVICES}
            page = visitor.post(
                "/hosts/add/",
                name=mailroot.name,
                mailroot=str(mailroot),
                **{f"{name}_port": port for name, port in ports.items()},
            )
            assert re.search(r"/hosts/\d+/", page.url), page.text

        page = visitor.post("/pairs/new/", install_now="on", which="all", **PAIR)
        assert page.status == 200, page.text
        deployments = until(
            "the deployment is listed",
            lambda: re.findall(r"/deployments/(\d+)/", visitor.get("/deployments/").text),
        )
        path = f"/deployments/{deployments[0]}/"
        page = until("the deployment is finished", lambda: finished(visitor, path))
        assert "All 3 hosts hold the pair" in page.text
        pair = running_portal.manage_json("diagnose_hosts", "mail1")
        assert "error" not in {finding["level"] for finding in pair["findings"]}
    key, certificate = on_disk(mailroots[0])
    assert b"PRIVATE KEY" in key
    for mailroot in mailroots:
        assert on_disk(mailroot) == (key, certificate)
        assert (mailroot / "server.key").stat().st_mode & 0o777 == 0o600

    second = running_portal.manage_json(
        *("issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku"),
        *("--organization", "Xmail", "--common-name", "new.dojo.jp", "--key-type", "ec"),
        *("--install", "mail2", "--install", "mail3"),
    )
    assert {row["status"] for row in second["installations"]} == {"INSTALLED"}
    assert on_disk(mailroots[1]) == on_disk(mailroots[2]) != (key, certificate)
    page = visitor.post(f"/deployments/{second['deployment']}/rollback/")
    page = until(
        "the roll back is finished",
        lambda: finished(visitor, page.url.partition(str(running_portal.port))[2]),
    )
    assert "hold again what they held before" in page.text
    assert {on_disk(mailroot) for mailroot in mailroots} == {(key, certificate)}
    for path in ("/", "/hosts/", "/pairs/", "/history/", "/diagnosis/", "/healthz"):
        assert visitor.get(path).status == 200, path
    # What was found at the very start, when a part was not there yet, is told for a few seconds.
    until("the portal is ready", lambda: visitor.get("/readyz").status == 200, within_s=5)
