"""House rules that no linter knows: who imports whom, how long a file is, what is never named."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("certs", "hosts", "xmailadmin")
MAX_LINES = {"tests": 500}  # by folder; cases are long, not deep
MAX_LINES_ELSEWHERE = 450

# These know neither Django nor Celery, nor does anything of ours that they import.
PURE = (
    "certs.pair",
    "certs.issue",
    "certs.spec",
    "hosts.mailroot",
    "hosts.ctrl",
    "hosts.install",
    "hosts.probe",
    "hosts.diagnosis",
    "hosts.addresses",
    "hosts.messages",
    "hosts.transports",
)
FRAMEWORKS = {"django", "celery", "kombu", "allauth", "crispy_forms", "django_tables2"}

# Written so that this file does not name what it forbids.
REGISTRY_HOSTS = re.compile(
    r"p[y]pi\.org|p[y]thonhosted\.org|n[p]mjs\.|deb\.d[e]bian\.org|u[b]untu\.com/ubuntu", re.I
)


@cache
def tracked_files() -> list[Path]:
    """Returns what git tracks or would add; a file that git ignores is nobody's concern."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = (CHECKOUT / name for name in listing.split("\0") if name)
    return [path for path in files if path.is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def our_code(suffix: str, *folders: str) -> list[Path]:
    return [
        path
        for path in tracked_files()
        if path.suffix == suffix and name_of(path).startswith(folders)
    ]


def module_path(module: str) -> Path | None:
    """Returns the file of one of our modules, or None if it is not ours."""
    if module.split(".")[0] not in PACKAGES:
        return None
    base = CHECKOUT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported_by(path: Path) -> Iterator[str]:
    """Yields the absolute name of every module, and of every name, that the file imports, and
    each package above it, since importing a module runs those first."""
    package = list(path.relative_to(CHECKOUT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def ways_to_frameworks(module: str) -> Iterator[str]:
    """Yields "a -> b -> django" for every way from the module to a framework."""
    seen: set[str] = set()
    waiting = [(module, module)]
    while waiting:
        current, way = waiting.pop()
        path = module_path(current)
        if path is None or current in seen:
            continue
        seen.add(current)
        for name in imported_by(path):
            if name in FRAMEWORKS:
                yield f"{way} -> {name}"
            waiting.append((name, f"{way} -> {name}"))


def pure_modules() -> list[str]:
    transports = sorted((CHECKOUT / "hosts" / "transports").glob("[a-z]*.py"))
    return [*PURE, *(f"hosts.transports.{path.stem}" for path in transports)]


@pytest.mark.parametrize("module", pure_modules())
def test_pure_modules_know_no_framework(module: str) -> None:
    assert module_path(module), f"{module} is gone: mend PURE"
    assert not set(ways_to_frameworks(module))


def test_a_way_to_a_framework_is_found() -> None:
    """The negative control: a Django module must not pass for a pure one."""
    assert set(ways_to_frameworks("hosts.models"))


def test_certs_never_imports_hosts() -> None:
    guilty = {
        name_of(path)
        for path in our_code(".py", "certs/")
        if any(name.split(".")[0] == "hosts" for name in imported_by(path))
    }
    assert not guilty


def test_files_are_short() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for suffix in (".py", ".js", ".html")
        for path in our_code(suffix, *PACKAGES, "templates/", "tests/", "bench/", "manage.py")
        if "/migrations/" not in name_of(path)
    }
    too_long = {
        name: lines
        for name, lines in lengths.items()
        if lines > MAX_LINES.get(name.split("/")[0], MAX_LINES_ELSEWHERE)
    }
    assert too_long == {}


def test_modules_are_named_for_what_they_do() -> None:
    vague = {"utils.py", "helpers.py", "services.py", "util.py", "helper.py", "misc.py"}
    assert [name_of(path) for path in tracked_files() if path.name in vague] == []


def test_locks_name_packages_and_hashes_only() -> None:
    for lock in (CHECKOUT / "requirements").glob("*.txt"):
        for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
            pinned = re.fullmatch(r"[a-z0-9.-]+(\[[a-z,]+\])?==[\w.!+]+( ; .+)? \\", line)
            hashed = re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
            assert pinned or hashed, f"{lock.name}:{number}: {line}"


def test_no_package_registry_is_named() -> None:
    guilty = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        guilty += [f"{name_of(path)}: {found}" for found in REGISTRY_HOSTS.findall(text)]
    assert guilty == []


INLINE = {
    "script": re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", re.I),
    "style element": re.compile(r"<style\b", re.I),
    "style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.I),
    "event handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.I),
    "javascript: address": re.compile(r"[\"']\s*javascript:", re.I),
    "htmx code": re.compile(r"\bhx-(on\b|vals\s*=\s*[\"']js:)", re.I),
}


@pytest.mark.parametrize("kind", INLINE)
def test_templates_carry_no_inline_code(kind: str) -> None:
    """The content security policy would refuse it."""
    guilty = [
        f"{name_of(path)}: {found.group()}"
        for path in our_code(".html", "templates/", *PACKAGES)
        if (found := INLINE[kind].search(path.read_text(encoding="utf-8")))
    ]
    assert guilty == []


def test_shell_scripts_and_ci_can_be_run() -> None:
    scripts = [path for path in tracked_files() if path.suffix == ".sh" or path.name == "run"]
    assert scripts
    assert [name_of(path) for path in scripts if not path.stat().st_mode & 0o100] == []


def test_the_product_has_one_name() -> None:
    """Pages, mails and the authenticator app write it as the documents do."""
    others = re.compile(r"X[M]ail[ -]?Admin|\bXmail ?[a]dmin\b")
    wrong = []
    for path in tracked_files():
        if path.suffix in {".py", ".html", ".txt", ".md", ".po", ".js", ".css"}:
            wrong += [name_of(path)] * bool(others.search(path.read_text(encoding="utf-8")))
    assert wrong == []
