"""Every text that a person reads is in both languages: English in the code, Japanese beside it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from tests.servers import missing
from tests.test_repository import CHECKOUT, PACKAGES, name_of, our_code

PO = CHECKOUT / "xmailadmin" / "locale" / "ja" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")
TAG = re.compile(r"</?[a-z][^>]*>")
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def catalog(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="ja", domain="django", abort_invalid=True)


def messages() -> list[Message]:
    return [message for message in catalog(PO) if message.id]


def singular_and_plural(text: str | list[str] | tuple[str, ...]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def keys(found: Catalog) -> set[tuple[str | None, tuple[str, ...]]]:
    return {(m.context, tuple(singular_and_plural(m.id))) for m in found if m.id}


def test_every_text_is_translated() -> None:
    untranslated = [m.id for m in messages() if not all(singular_and_plural(m.string or ""))]
    assert untranslated == []


def test_no_translation_is_a_guess_or_left_over() -> None:
    assert [message.id for message in messages() if message.fuzzy] == []
    assert list(catalog(PO).obsolete) == []


def test_translations_keep_placeholders_and_tags() -> None:
    wrong = []
    for message in messages():
        original = singular_and_plural(message.id)[-1]
        for text in singular_and_plural(message.string or ""):
            for pattern in (PLACEHOLDER, TAG):
                if sorted(pattern.findall(original)) != sorted(pattern.findall(text)):
                    wrong.append((original, text))
    assert wrong == []


def test_english_texts_are_english() -> None:
    assert [m.id for m in messages() if JAPANESE.search(" ".join(singular_and_plural(m.id)))] == []


def test_the_translation_file_is_up_to_date(tmp_path: Path) -> None:
    """What `make messages` would change now."""
    if not shutil.which("xgettext"):
        missing("gettext is not installed")
    copy = tmp_path / "checkout"
    for folder in (*PACKAGES, "templates"):
        shutil.copytree(
            CHECKOUT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "manage.py", copy)
    subprocess.run(
        [sys.executable, "manage.py", "makemessages", "--locale=ja", "--verbosity=0"],
        cwd=copy,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "xmailadmin.settings"},
        check=True,
    )
    fresh = keys(catalog(copy / PO.relative_to(CHECKOUT)))
    assert fresh == keys(catalog(PO)), "run: make messages"


# Names and notations that are the same in every language.
SAME_EVERYWHERE = re.compile(
    r"(?<!\w)(XMail(Admin|CFG)?|MailRoot(/\S*)?|server\.(key|cert|tab|der)|SERVER\.TAB|certs\.pem|pair\.zip"
    r"|SMTPS?|POP3S?|CTRLS?|STARTTLS|STLS|TLS|SSL(/TLS)?|SFTP|SSH|TCP|PEM|DER|ZIP|IP|DNS|URL"
    r"|SHA-?(1|256|384)|RSA|EC|P-(256|384)|X\.509|Python|Django|[a-z]+\.example(\.\w+)?"
    r"|AM|PM|UTC|JSON|CSV|ID|Unix|Windows( XP| Vista)?|macOS|Linux|Android|iOS|Tokyo)(?!\w)"
)
READ_ATTRIBUTES = {"title", "alt", "placeholder", "aria-label", "aria-description", "label"}
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
DJANGO = re.compile(
    r"\{%\s*comment.*?endcomment\s*%\}|\{#.*?#\}"
    r"|\{%\s*block \w+_class\s*%\}.*?endblock.*?%\}"  # fills a class attribute elsewhere
    r"|\{%\s*blocktrans(late)?\b.*?endblocktrans(late)?\s*%\}"
    r"|\{%.*?%\}|\{\{.*?\}\}",
    re.DOTALL,
)


class Reader(HTMLParser):
    """Collects the text that a person would read or hear, with the line it stands on."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in READ_ATTRIBUTES:
                self.read(value or "")
        # A text in a named language, as in the language switch, is no text to translate.
        silent = tag in {"script", "style", "code", "kbd", "samp", "svg"} or dict(attrs).get("lang")
        if tag not in VOID:
            self.open.append((tag, bool(silent) and tag != "html"))

    def handle_endtag(self, tag: str) -> None:
        # Branches of an {% if %} may open a tag twice that is closed once.
        for index in range(len(self.open) - 1, -1, -1):
            if self.open[index][0] == tag:
                del self.open[index:]
                return

    def handle_data(self, data: str) -> None:
        if not any(silent for _, silent in self.open):
            self.read(data)

    def read(self, text: str) -> None:
        rest = SAME_EVERYWHERE.sub(" ", text)
        if re.search(r"[^\W\d_]{2}", rest):
            self.found.append((self.getpos()[0], text.strip()))


def untranslated(template: str) -> list[tuple[int, str]]:
    reader = Reader()
    reader.feed(DJANGO.sub(lambda tag: "\n" * tag.group().count("\n"), template))
    reader.close()
    return reader.found


def test_templates_show_translated_text_only() -> None:
    guilty = [
        f"{name_of(path)}:{line}: {text}"
        for path in our_code(".html", "templates/", *PACKAGES)
        for line, text in untranslated(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("<p>Hosts</p>", ["Hosts"]),
        ('<p title="All hosts">{{ n }}</p>', ["All hosts"]),
        ("{% if x %}<p>Yes{% endif %}", ["Yes"]),
        ('<p>{% translate "Hosts" %} {{ n }} (SHA-256)</p>', []),
        ("<p>{% blocktranslate %}{{ n }} hosts{% endblocktranslate %}</p>", []),
        ('<span lang="ja">日本語</span><code>make up</code>', []),
        ("{# Hosts #}{% comment %}<p>Hosts</p>{% endcomment %}", []),
    ],
)
def test_untranslated_text_is_found(template: str, found: list[str]) -> None:
    """The controls of the test above, both ways."""
    assert [text for _, text in untranslated(template)] == found


# Keyword arguments and Meta options whose text ends up on a page.
SHOWN_KEYWORDS = {"label", "help_text", "verbose_name", "verbose_name_plural", "empty_text"}


def bare_texts(path: Path) -> Iterator[str]:
    """Yields "line: text" for texts that are shown as they are, outside gettext."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        shown: list[ast.expr] = []
        if isinstance(node, ast.Call):
            shown += [word.value for word in node.keywords if word.arg in SHOWN_KEYWORDS]
            match node.func:
                case ast.Attribute(value=ast.Name(id="messages")) if len(node.args) > 1:
                    shown.append(node.args[1])
                case ast.Name(id="ValidationError") | ast.Attribute(attr="ValidationError"):
                    shown += node.args[:1]
        elif isinstance(node, ast.ClassDef) and any(
            "Choices" in ast.unparse(b) for b in node.bases
        ):
            pairs = (line.value for line in node.body if isinstance(line, ast.Assign))
            shown += [pair.elts[1] for pair in pairs if isinstance(pair, ast.Tuple)]
        elif isinstance(node, ast.ClassDef) and node.name == "Meta":
            shown += [
                line.value
                for line in node.body
                if isinstance(line, ast.Assign)
                and isinstance(line.targets[0], ast.Name)
                and line.targets[0].id in SHOWN_KEYWORDS
            ]
        for value in shown:
            if isinstance(value, ast.JoinedStr) or (
                isinstance(value, ast.Constant)
                and isinstance(value.value, str)
                and re.search(r"[^\W\d_]{2}", SAME_EVERYWHERE.sub("", value.value))
            ):
                yield f"{value.lineno}: {ast.unparse(value)}"


def test_code_shows_translated_text_only() -> None:
    guilty = [
        f"{name_of(path)}:{found}"
        for path in our_code(".py", *PACKAGES)
        if "/migrations/" not in name_of(path)
        for found in bare_texts(path)
    ]
    assert guilty == []
