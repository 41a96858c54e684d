"""Every message of the pure modules can be said, in whole sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation

import hosts
from hosts.messages import Message
from hosts.models import Installation
from hosts.wording import TEXTS, word
from xmailadmin.templatetags.portal import STATES

ROOT = Path(hosts.__file__).parent
CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")
#: Message codes begin with one of these; each has a module in hosts/wording.
TOPICS = {code.partition(".")[0] for code in TEXTS}
PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(.))")


def modules() -> list[Path]:
    """Every module of ours that could make a message."""
    skipped = {ROOT / "wording", ROOT / "migrations"}
    return [path for path in sorted(ROOT.rglob("*.py")) if not skipped & {*path.parents}]


def codes(path: Path) -> Iterator[str]:
    """Every string in the module that is written like a message code of a known topic, and every
    code that a `Message(f"…")` can have."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and CODE.fullmatch(text) and text.partition(".")[0] in TOPICS:
            yield text
    for _, code in messages(tree):
        if isinstance(code, ast.JoinedStr):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_.]+"
                for part in code.values
            )
            yield from [code for code in TEXTS if re.fullmatch(pattern, code)] or [pattern]


def messages(tree: ast.AST) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Every `Message(code, …)` with its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message" and node.args:
            yield node, node.args[0]


def placeholders(text: str) -> set[str]:
    """The names in a text; fails for anything else that % could mean."""
    found = set()
    for name, other in PLACEHOLDER.findall(text):
        assert name or other == "%", f"%{other} in {text!r}"
        found.add(name)
    return found - {""}


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_code_has_a_wording(path: Path) -> None:
    names = {f"{module.stem}.py" for module in (ROOT / "wording").glob("*.py")}
    assert [code for code in codes(path) if code not in TEXTS and code not in names] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_parameters_and_placeholders_match(path: Path) -> None:
    for call, code in messages(ast.parse(path.read_text())):
        if not isinstance(code, ast.Constant):
            continue
        name = str(code.value)
        assert name in TEXTS, f"line {call.lineno}: {name} has no wording"
        wanted = placeholders(str(TEXTS[name]))
        if len(call.args) == 1:
            given: set[str] = set()
        elif isinstance(call.args[1], ast.Dict) and None not in call.args[1].keys:
            given = {ast.literal_eval(key) for key in call.args[1].keys if key is not None}
        else:
            continue  # put together elsewhere; the tests of that module say each message
        missing = wanted - given - {"endpoint"}  # probe() names the endpoint in every message
        assert not missing, f"{name} lacks {missing}"


def test_no_wording_is_left_over() -> None:
    used = {code for path in modules() for code in codes(path)}
    assert sorted(TEXTS.keys() - used) == []


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_texts_are_sentences(code: str) -> None:
    text = str(TEXTS[code])
    placeholders(text)
    assert text == text.strip()
    assert text[-1] in ".)s", f"{code} does not end like a sentence"
    assert "  " not in text


def test_word_speaks_the_active_language() -> None:
    with translation.override("en"):
        assert word(Message("mailroot.too_long", {"limit": 255})) == (
            "The path is longer than 255 characters. Use a shorter one."
        )


def test_a_state_is_told_in_words() -> None:
    told = word(Message("registration.broken_pair", {"state": "mismatch"}))
    assert "The private key does not belong to the certificate. Installing" in told


def test_word_never_fails(caplog: pytest.LogCaptureFixture) -> None:
    assert word(Message("no.such_code", {"a": 1})) == "no.such_code a=1"
    assert word(Message("mailroot.too_long")) == "mailroot.too_long"
    assert "mailroot.too_long" in caplog.text
    assert word(Message("remedy.run", {"command": "printf 100%"})).endswith("printf 100%")


def test_messages_survive_json() -> None:
    message = Message("mailroot.too_long", {"limit": 255, "path": "ü"})
    assert Message.from_json(message.to_json()) == message
    assert Message.from_json({"code": "x"}) == Message("x")
    assert str(message) == "mailroot.too_long limit=255 path=ü"
    assert hash(message) == hash(Message("mailroot.too_long"))


@pytest.mark.parametrize("status", Installation.Status)
def test_an_outcome_has_one_name(status: Installation.Status) -> None:
    """In the history's filter, the export and the badge beside it."""
    _, _, badge, _ = STATES[status]
    assert str(badge) == str(status.label)
