"""Names, settings and paths of a MailRoot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.mailroot import (
    DEFAULTS,
    check_path,
    looks_like_mailroot,
    missing_companions,
    parse_server_tab,
    sftp_path,
)

SERVER_TAB = (
    '# "EnableSMTP-TLS"\t"0"\n'
    '"RootDomain"\t"a.test"\n'
    '"EnablePOP3-TLS"\t"0"\n'
    '"SSLWantCert"\t"1"\n'
    '"SSLMaxCertsDepth"\t"3"\n'
    "no tab at all\n"
    '"SSLWantVerify"'
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_server_tab(newline: str) -> None:
    tab = parse_server_tab(SERVER_TAB.replace("\n", newline).encode())
    assert tab.given == {"EnablePOP3-TLS": "0", "SSLWantCert": "1", "SSLMaxCertsDepth": "3"}
    assert tab.on("EnableSMTP-TLS")  # the line is a comment
    assert not tab.on("EnablePOP3-TLS")
    assert tab.number("SSLMaxCertsDepth") == 3
    assert tab.verifies_clients
    assert not tab.on("SSLWantVerify")
    assert tab.to_json().keys() == DEFAULTS.keys()


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("0", False), ("2", True), ("", False), ("yes", False), (" 1x", True),
     ("00", False), ("-1", True)],
)  # fmt: skip
def test_switches_are_read_like_numbers_in_c(value: str, on: bool) -> None:
    assert parse_server_tab(f'"SSLWantVerify"\t"{value}"\n'.encode()).on("SSLWantVerify") is on


def test_the_first_of_two_settings_counts_and_capitals_matter() -> None:
    tab = parse_server_tab(b'"SSLWantVerify"\t"1"\n"SSLWantVerify"\t"0"\n"SSLWANTCERT"\t"1"\n')
    assert tab.on("SSLWantVerify")
    assert not tab.on("SSLWantCert")


@given(st.binary(max_size=300))
def test_no_server_tab_breaks_the_parser(data: bytes) -> None:
    parse_server_tab(data).to_json()


def test_a_mailroot_holds_server_tab() -> None:
    assert looks_like_mailroot(["SERVER.TAB", "domains.tab"])
    assert not looks_like_mailroot(["domains.tab"])
    assert missing_companions(["server.tab", "Domains.tab", "mailusers.tab"]) == [
        "ctrlaccounts.tab"
    ]


@pytest.mark.parametrize(
    ("path", "os"),
    [
        ("/var/MailRoot", "unix"),
        ("/var/MailRoot/", "unix"),
        ("/var/Mail Root/メール", "unix"),
        ("/a..b", "unix"),
        ("C:\\MailRoot", "windows"),
        ("C:/MailRoot", "windows"),
        ("C:\\xmail\\MailRoot", "windows"),
        ("\\\\server\\share\\MailRoot", "windows"),
    ],
)
def test_good_paths(path: str, os: str) -> None:
    assert check_path(path, os) is None


@pytest.mark.parametrize(
    ("path", "os", "code"),
    [
        ("", "unix", "mailroot.empty"),
        (" ", "windows", "mailroot.empty"),
        ("/var/Mail\nRoot", "unix", "mailroot.control_character"),
        ("/var/Mail\rRoot", "unix", "mailroot.control_character"),
        ("/var/Mail\x00Root", "unix", "mailroot.control_character"),
        ("/var/Mail\tRoot", "unix", "mailroot.control_character"),
        ("C:\\Mail\x85Root", "windows", "mailroot.control_character"),
        ("/" + "a" * 300, "unix", "mailroot.too_long"),
        ("var/MailRoot", "unix", "mailroot.not_absolute_unix"),
        ("C:\\MailRoot", "unix", "mailroot.not_absolute_unix"),
        ("~/MailRoot", "unix", "mailroot.not_absolute_unix"),
        ("/var/MailRoot", "windows", "mailroot.not_absolute_windows"),
        ("MailRoot", "windows", "mailroot.not_absolute_windows"),
        ("C:MailRoot", "windows", "mailroot.not_absolute_windows"),
        ("C:\\Mail|Root", "windows", "mailroot.forbidden_character"),
        ("C:\\MailRoot:stream", "windows", "mailroot.forbidden_character"),
        ("/var/../etc", "unix", "mailroot.parent"),
        ("/var/MailRoot/..", "unix", "mailroot.parent"),
        ("C:\\MailRoot\\..\\x", "windows", "mailroot.parent"),
        ("C:/MailRoot/../x", "windows", "mailroot.parent"),
        ("/", "unix", "mailroot.whole_disk"),
        ("//./", "unix", "mailroot.whole_disk"),
        ("C:\\", "windows", "mailroot.whole_disk"),
        ("\\\\server\\share", "windows", "mailroot.whole_disk"),
    ],
)
def test_bad_paths(path: str, os: str, code: str) -> None:
    problem = check_path(path, os)
    assert problem is not None
    assert problem.code == code


@given(st.text(max_size=60), st.sampled_from(["unix", "windows"]))
def test_what_is_accepted_is_absolute_and_leads_nowhere_else(path: str, os: str) -> None:
    if check_path(path, os) is None:
        assert ".." not in path.replace("\\", "/").split("/") or (os == "unix" and "\\" in path)
        assert not any(character in path for character in "\r\n\0\t")
        assert sftp_path(path, os).startswith("/")


@pytest.mark.parametrize(
    ("path", "os", "expected"),
    [
        ("/var/MailRoot", "unix", "/var/MailRoot"),
        ("C:\\MailRoot", "windows", "/C:/MailRoot"),
        ("d:/xmail/MailRoot", "windows", "/d:/xmail/MailRoot"),
    ],
)
def test_sftp_paths(path: str, os: str, expected: str) -> None:
    assert sftp_path(path, os) == expected
