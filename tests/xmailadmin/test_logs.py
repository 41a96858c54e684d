"""What the log shows of an event, and what it never shows."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import logging.config
import sys
import time
from unittest.mock import Mock

import pytest
import structlog
from django.test import Client
from django.urls import reverse

from tests.doubles.pairs import make_pair
from xmailadmin import logs

KEY = make_pair().key.decode()


def written(form: str, capsys: pytest.CaptureFixture[str], message: str, **extra: object) -> str:
    """The line that an event becomes in this form."""
    formatter = logs.configuration(form)["formatters"]["event"]
    build = {name: value for name, value in formatter.items() if name != "()"}
    handler = logging.StreamHandler()
    handler.setFormatter(formatter["()"](**build))
    try:
        raise ValueError(message)
    except ValueError:
        record = logging.LogRecord(
            "hosts.ledger", logging.ERROR, __file__, 1, message, None,
            extra.pop("exc_info", None),  # type: ignore[arg-type]
        )  # fmt: skip
        return handler.format(record)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_says_to_which_request_it_belongs(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1", task_id="t-1"):
        line = written(form, capsys, "Installation 5 failed")
        assert logs.request_id() == "r-1"
    assert "Installation 5 failed" in line
    assert "r-1" in line
    assert "t-1" in line
    if form == "json":
        assert json.loads(line)["logger"] == "hosts.ledger"
    else:
        assert " ERROR hosts.ledger: " in line
    assert logs.request_id() == ""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (KEY, KEY.splitlines()[1]),
        (repr(KEY.encode()), KEY.splitlines()[1]),
        (KEY[:120], KEY.splitlines()[1][:20]),
        ("redis://:hunter2@10.0.0.1/0", "hunter2"),
        ("postgres://xmailadmin:hunter2@db:5432/x refused", "hunter2"),
        ("Authorization: Bearer abc.def-1", "abc.def-1"),
        ("GET /r/AbCdEfGhIjKlMnOpQrStUvWxYz/server.cert", "AbCdEfGhIjKl"),
        ("GET /r/AbCdEfGhIjKlMnOpQrStUvWxYz.pem", "AbCdEfGhIjKl"),
        ("GET /r/AbCdEfGh", "AbCdEfGh"),
        ("GET /account/link/AbCdEfGhIjKlMnOpQrStUvWxYz)/", "AbCdEfGhIjKl"),
        ("GET /account/link/AbCdEfGhIjKlMnOpQrStUvWxYz%E3%80%82/", "AbCdEfGhIjKl"),
        ("GET /account/link/<AbCdEfGhIjKlMnOpQrStUvWxYz>", "AbCdEfGhIjKl"),
        ("GET /ja/account/link/AbCdEfGh.IjKl/", "IjKl"),
        ("GET /account/link/'AbCdEfGhIjKlMnOpQrStUvWxYz/", "AbCdEfGhIjKl"),
        ("GET /?next=%2Faccount%2Flink%2FAbCdEf%2F", "AbCdEf"),
        ("GET /?next=%252Faccount%252flink%252FAbCdEf", "AbCdEf"),
        ("GET /?next=%2Fr%2FAbCdEf%2Fqr.svg", "AbCdEf"),
        ("GET /?next=%2Felsewhere%2FAbCdEfGhIjKlMnOpQrStUvWxYz", "AbCdEfGhIjKl"),
        ("GET /?next=%252Felsewhere%252fAbCdEfGhIjKlMnOpQrStUvWxYz", "AbCdEfGhIjKl"),
        ("GET /nowhere?token=AbCdEf", "AbCdEf"),
        ("GET /nowhere?x=1&id_token=AbCdEf", "AbCdEf"),
        ("GET /nowhere?CODE=AbCdEf", "AbCdEf"),
        ("GET /?next=/account/sso/sso/callback/%3Fcode%3DcOdE%26state%3DsTaTe", "cOdE"),
        ("GET /?next=/account/sso/sso/callback/%3Fcode%3DcOdE%26state%3DsTaTe", "sTaTe"),
        ("GET /?next=%252Fcallback%253Fx%253D1%2526code%253DcOdE", "cOdE"),
        ("GET /account/sso/sso/callback/?state=sTaTe&code=cOdE&x=1", "sTaTe"),
        ("GET /account/sso/sso/callback/?state=sTaTe&code=cOdE&x=1", "cOdE"),
        ("GET /elsewhere/AbCdEfGhIjKlMnOpQrStUvWxYz)", "AbCdEfGhIjKl"),
    ],
)
def test_what_looks_like_a_secret_is_masked(
    text: str, secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("text", "json"):
        assert secret not in written(form, capsys, f"before {text} after")


def test_what_is_no_secret_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for told in ("GET /hosts/?page=2&q=mail1", "GET /?next=%2Fhosts%2F%3Fpage%3D2", "status=200"):
        assert told in written("text", capsys, f"before {told} after")


@pytest.mark.parametrize("address", ["/nowhere/?q=%s", "/nowhere/%s"])
def test_nobody_fills_the_log_with_a_long_address(
    client: Client, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    client.get(address % ("x" * 60_000))
    (record,) = [each for each in caplog.records if "request_finished" in str(each.msg)]
    assert isinstance(record.msg, dict)
    told = logs.redact(None, "", {**record.msg, "logger": record.name})
    assert told["request"].startswith("GET /nowhere/")
    assert len(told["request"]) < 600


@pytest.mark.parametrize(
    "shape",
    [
        "otpauth:", "otpauth:secret", "://a:", "://a:b@", "Bearer ", "?a_", "&token", "?", "%25",
        "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "%", "/r/", "/account/link/", "/a",
    ],
)  # fmt: skip
def test_masking_twice_the_text_takes_twice_as_long(shape: str) -> None:
    def seconds(letters: int) -> float:
        event = {"event": f"GET /{shape * (letters // len(shape))}", "logger": "django.request"}
        began = time.process_time()
        assert len(str(logs.redact(None, "", event)["event"])) < 600
        return time.process_time() - began

    assert seconds(120_000) < 3 * seconds(60_000) + 0.1


def test_what_is_malformed_is_one_line_and_no_alarm(client: Client) -> None:
    """Anybody can send it, as often as they like."""
    out = io.StringIO()
    settings = logs.configuration("text")
    handler = logging.StreamHandler(out)
    formatter = dict(settings["formatters"]["event"])
    handler.setFormatter(formatter.pop("()")(**formatter))
    for name in settings["handlers"]["stderr"]["filters"]:
        handler.addFilter(settings["filters"][name]["()"]())
    logging.getLogger().addHandler(handler)
    try:
        fields = "&".join(f"a{number}=" for number in range(10_001))
        response = client.get(f"{reverse('account_login')}?{fields}")
    finally:
        logging.getLogger().removeHandler(handler)
    assert response.status_code == 400
    told = [line for line in out.getvalue().splitlines() if "security" in line]
    assert len(told) == 1
    assert " WARNING django.security.TooManyFieldsSent: " in told[0]
    assert "Traceback" not in out.getvalue()


def test_what_is_called_a_secret_is_masked() -> None:
    event = {
        "event": "x",
        "password": "p1",
        "detail": {"passphrase": "p2", "names": ["a"], "more": {"api_token": "p3"}},
        "raw": KEY.encode(),
    }
    told = str(logs.redact(None, "", event))
    assert not any(secret in told for secret in ("p1", "p2", "p3", KEY.splitlines()[1]))
    assert "'names': ['a']" in told


async def test_that_no_connection_can_be_accepted_is_one_line_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = io.StringIO()
    configuration = logs.configuration("text")
    handler = logging.StreamHandler(told)
    handler.addFilter(logs.Accepts())
    formatter = dict(configuration["formatters"]["event"])
    handler.setFormatter(formatter.pop("()")(**formatter))
    asyncio_log = logging.getLogger("asyncio")
    asyncio_log.addHandler(handler)
    now = time.monotonic()
    loop, broken = asyncio.get_running_loop(), Mock()
    broken.accept.side_effect = OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(loop, "_remove_reader", Mock())
    monkeypatch.setattr(loop, "call_later", Mock())
    try:
        for later in (0, 59, 61):
            monkeypatch.setattr(time, "monotonic", lambda at=now + later: at)
            loop._accept_connection(Mock(), broken, backlog=100)  # type: ignore[attr-defined]
    finally:
        asyncio_log.removeHandler(handler)
    lines = told.getvalue().splitlines()
    assert len(lines) == 2, lines
    assert "out of system resource" in lines[0]
    assert "(199 times" in lines[1]
    assert "accepts" in configuration["handlers"]["stderr"]["filters"]


FORGED = "task \x7f\u2028\x1b[2J\x9b31m\r\n2026-11-30 ERROR forged \u202e"


@pytest.mark.parametrize("traceback", [False, True])
def test_nobody_writes_lines_of_the_log_or_to_its_terminal(
    capsys: pytest.CaptureFixture[str], traceback: bool
) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        told = written("text", capsys, FORGED, exc_info=sys.exc_info() if traceback else None)
    first, *below = told.split("\n")
    assert r"\u001b[2J\u009b31m\r\n2026" in first
    assert all(line.startswith("  ") for line in below)
    assert bool(below) == traceback
    assert all(letter.isprintable() or letter == "\n" for letter in told)


def test_the_log_has_letters_of_every_language_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "東京\u3000本社" in written("text", capsys, "東京\u3000本社")


def test_a_json_line_reaches_no_terminal_raw_and_says_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = written("json", capsys, f"東京 {FORGED}")
    assert told.isprintable()
    assert "東京" in told
    assert json.loads(told)["event"] == f"東京 {FORGED}"
