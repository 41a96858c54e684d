"""What is refused before anybody reads it, and what is left unread."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import pytest
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from tests import people
from xmailadmin import uploads
from xmailadmin.uploads import MOST, Bounded


async def answer(
    body: bytes,
    *,
    announced: int | None = None,
    kind: str = "",
    chunk: int = 65536,
    cookie: str = "tz=Asia/Tokyo; sessionid=abc",
) -> list[Any]:
    """What the bounded application sends for this body."""
    reads: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            reads.append(len(message.get("body", b"")))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(sum(reads)).encode()})

    parts = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
    waiting = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
        for at, part in enumerate(parts)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    headers.append((b"cookie", cookie.encode()))
    if kind:
        headers.append((b"content-type", kind.encode()))
    await Bounded(app)(
        {"type": "http", "path": "/", "method": "POST", "headers": headers}, receive, send
    )
    return [sent[0]["status"], sent[1]["body"], len(waiting)]


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_what_fits_passes(size: int) -> None:
    status, body, _ = asyncio.run(answer(b"x" * size, announced=size))
    assert (status, body) == (200, str(size).encode())


def test_what_announces_too_much_is_refused_unread() -> None:
    status, _, unread = asyncio.run(answer(b"x" * (MOST + 1), announced=MOST + 1))
    assert (status, unread) == (413, 17)


def test_without_a_session_only_little_is_taken() -> None:
    for cookie in ("", "xsessionid=abc; csrftoken=sessionid"):
        size = uploads.SMALL
        assert asyncio.run(answer(b"x" * size, announced=size, cookie=cookie))[0] == 200
        told = asyncio.run(answer(b"x" * (size + 1), announced=size + 1, cookie=cookie))
        assert (told[0], told[2]) == (413, 2)


async def test_only_some_large_bodies_are_waited_for_at_once() -> None:
    """Whoever sends none of them to its end must not fill the memory; small ones still pass."""
    whole = asyncio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        await whole.wait()
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def status(size: int) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", b"%d" % size), (b"cookie", b"sessionid=abc")]
        await bounded(
            {"type": "http", "path": "/", "method": "POST", "headers": headers}, receive, send
        )
        return int(sent[0]["status"])

    bounded = Bounded(app)
    waiting = [asyncio.create_task(status(MOST)) for _ in range(uploads.LARGE_AT_ONCE)]
    small = asyncio.create_task(status(uploads.SMALL))
    await asyncio.sleep(0)
    waiting.pop().cancel()  # as when the connection is lost
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(status(MOST)))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(status(MOST), 5) == 503
    whole.set()
    assert set(await asyncio.gather(small, *waiting)) == {200}
    assert await status(MOST) == 200


def test_what_sends_too_much_unannounced_is_cut_off() -> None:
    status, _, unread = asyncio.run(answer(b"x" * (4 * MOST)))
    assert status == 413
    assert unread > 40  # of 64 parts


@pytest.mark.parametrize(
    "charset",
    [
        "utf-16", "utf-32", "utf-7", "idna", "punycode", "hex", "rot13", "unicode_escape", "zlib",
        "raw_unicode_escape", "undefined", "base64", "cp037", "utf-8-sig", '"UTF8 "', "x",
        "iso-2022-jp", "utf-8; charset=utf-7",
    ],
)  # fmt: skip
def test_what_is_not_utf8_is_refused_unread(charset: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
        told = f"{kind}; charset={charset}"
        status, body, unread = asyncio.run(answer(b"login=x", kind=told))
        assert (status, unread) == (415, 1)
        assert b"UTF-8" in body
    assert asyncio.run(answer(b"x", kind="text/plain; name*=nothing''x"))[0] == 415


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"'])
def test_utf8_passes_however_it_is_written(charset: str) -> None:
    told = f"application/x-www-form-urlencoded{charset}"
    assert asyncio.run(answer(b"login=x", kind=told))[0] == 200


async def answer_to(
    *headers: tuple[str, str], method: str = "POST", path: str = "/"
) -> tuple[int, bytes]:
    """What is answered to these headers, and that by nobody who reads them if it is a refusal."""
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("read")

    told = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "path": path, "method": method, "headers": told}
    await Bounded(app)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("name", ["content-type", "accept", "x-anything"])
def test_a_header_that_is_too_long_is_refused_unread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django would count the quotes from the start again at each semicolon."""
    monkeypatch.setattr(uploads, "parse_header_parameters", None)
    value = 'a/b;x="' + ";" * (uploads.LONGEST if name[0] == "x" else uploads.LONGEST_PARSED)
    for headers in ([(name, value)], [(name, value[:600])] * 14):
        status, body = asyncio.run(answer_to(*headers))
        assert status == 431
        assert name.encode() in body


def test_headers_as_browsers_send_them_pass() -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    kind = "multipart/form-data; boundary=----WebKitFormBoundary" + "x" * 70
    page = "http://localhost/?" + "hosts=1&" * 2000
    cookies = ("cookie", "a=" + "b" * 9000)
    headers = [("accept", accept), ("content-type", kind), ("referer", page), cookies]
    assert asyncio.run(answer_to(*headers))[0] == 200


def test_cookies_with_escapes_are_nobodys_here_and_left_unread() -> None:
    """Python takes escapes out in a time that grows with the square of their number."""
    seen: list[dict[str, str]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        began = time.process_time()
        seen.append(ASGIRequest({**scope, "path": "/", "method": "GET"}, io.BytesIO()).COOKIES)
        seen.append({"took": "long" if time.process_time() - began > 0.5 else "no time"})

    cookies = (
        rb'csrftoken=abc; a="' + rb"\"" * 28_000 + rb'"; tz=Asia/Tokyo;'
        rb'sessionid="aaaaaaaaaaaaaaaa\000"; shade="x=y"'
    )
    headers = [(b"cookie", cookies), (b"x-path", rb"C:\here")]
    scope = {"type": "http", "path": "/", "method": "POST", "headers": headers}
    asyncio.run(Bounded(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [{"csrftoken": "abc", "tz": "Asia/Tokyo", "shade": "x=y"}, {"took": "no time"}]


@pytest.mark.parametrize("blank", [b"\xa0", b"\x85", b"\x1c", b"\t", b"\xc2\xa0", b"\x00"])
@pytest.mark.parametrize("piece", [b"%s__Host-sessionid=x", b"__Host-sessionid%s=x"])
def test_a_cookie_whose_name_is_another_one_for_browsers_is_left_unread(
    blank: bytes, piece: bytes
) -> None:
    """Any host of the domain can have a browser send it."""
    seen: list[dict[str, str]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(ASGIRequest({**scope, "path": "/", "method": "GET"}, io.BytesIO()).COOKIES)

    headers = [(b"cookie", b"__Host-sessionid=own; " + piece % blank + b"; tz=Asia/Tokyo")]
    scope = {"type": "http", "path": "/", "method": "POST", "headers": headers}
    asyncio.run(Bounded(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [{"__Host-sessionid": "own", "tz": "Asia/Tokyo"}]


@pytest.mark.django_db
def test_no_cookie_of_the_portals_has_an_escape(client: Client, rf: RequestFactory) -> None:
    people.person("viewer")
    client.post(reverse("account_login"), {"login": "hanako", "password": people.PASSWORD})
    client.post(reverse("set_language"), {"language": "ja"})
    response = HttpResponse()
    messages = CookieStorage(rf.get("/"))
    messages.add(20, 'The pair "mail; 1" \\ あ\n')
    messages.update(response)
    told = client.cookies.output() + response.cookies.output()
    for name in ("sessionid", "csrftoken", "django_language", "messages"):
        assert f"{name}=" in told
    assert "\\" not in told


@pytest.mark.parametrize("method", ["D" * 60_000, "get", "PROPFIND", "DELETE", ""])
def test_a_method_that_the_portal_has_no_use_for_is_refused_unread(method: str) -> None:
    """It may be of any length, and what is refused later is put on record with its method."""
    status, body = asyncio.run(answer_to(method=method))
    assert status == 501
    assert b"method" in body


@pytest.mark.parametrize("path", ["@evil.example/", ".evil.example/", "http://a/", "*", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    """Django would put it behind the portal's name when it leads on to HTTPS."""
    assert asyncio.run(answer_to(path=path))[0] == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_the_methods_of_browsers_pass(method: str) -> None:
    assert asyncio.run(answer_to(method=method))[0] == 200


def test_a_body_in_chunks_is_refused_unread() -> None:
    for told in ("chunked", "gzip, chunked", ""):
        status, body = asyncio.run(answer_to(("transfer-encoding", told)))
        assert status == 411
        assert b"how long" in body


@pytest.mark.django_db
def test_too_many_fields_are_a_bad_request() -> None:
    client = people.signed_in(people.person("operator"))
    fields = "&".join(f"f{number}=1" for number in range(10_001))
    response = client.post(
        reverse("host_add"), fields, content_type="application/x-www-form-urlencoded"
    )
    assert response.status_code == 400
