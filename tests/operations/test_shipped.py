"""What is shipped for operating the portal can at least be read by what it is meant for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.portal import CHECKOUT
from tests.servers import find_program

UNITS = sorted((CHECKOUT / "deploy" / "systemd").glob("*.service"))
GUIDE = (CHECKOUT / "docs" / "operating.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"(?m)(?:manage\.py |^    portal |`portal )(?!shell\b)(\w+)")
INSTRUCTION = re.compile(r"^(FROM|WORKDIR|COPY|RUN|ENV|USER|VOLUME|EXPOSE|STOPSIGNAL|CMD) \S")


def test_compose_file_fits_the_schema() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(CHECKOUT / "compose.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_services_start_what_there_is() -> None:
    compose = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "redis", "prepare", "web", "worker", "ticker"}
    for name in ("prepare", "web", "worker", "ticker"):
        used = set(services[name]["secrets"])
        assert used <= set(compose["secrets"])
        told = services[name]["environment"]
        assert {f"/run/secrets/{each}" for each in used} <= set(told.values()), name
        command = services[name]["command"]
        if command[1] == "manage.py":
            commands = CHECKOUT / "xmailadmin" / "management" / "commands"
            assert (commands / f"{command[2]}.py").is_file()


def test_dockerfile_is_well_formed_and_copies_what_there_is() -> None:
    text = re.sub(r"\\\n", " ", (CHECKOUT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not INSTRUCTION.match(line)] == []
    allowed = (CHECKOUT / ".dockerignore").read_text()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            source = line.split()[1]
            assert (CHECKOUT / source).exists(), line
            assert f"!{source}" in allowed, line


def test_units_are_accepted_by_systemd(tmp_path: Path) -> None:
    analyze = find_program("systemd-analyze")
    program = tmp_path / "bin" / "program"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    (tmp_path / "units").mkdir()
    for unit in UNITS:
        text = re.sub(r"/opt/xmailadmin/\.venv/bin/\w+", str(program), unit.read_text())
        (tmp_path / "units" / unit.name).write_text(text)
    assert len(UNITS) == 4
    units = sorted(map(str, (tmp_path / "units").iterdir()))
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "xmailadmin" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("command", sorted(set(COMMAND.findall(GUIDE))))
def test_commands_of_the_guide_exist(command: str) -> None:
    found = [
        path.stem
        for app in ("xmailadmin", "hosts", "certs")
        for path in (CHECKOUT / app / "management" / "commands").glob("*.py")
    ]
    assert command in found


def test_the_example_environment_names_settings_that_exist() -> None:
    example = (CHECKOUT / "deploy" / "environment.example").read_text()
    names = re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)
    code = "".join(path.read_text() for path in (CHECKOUT / "xmailadmin").glob("*.py"))
    assert [name for name in names if name.removesuffix("_FILE") not in code] == []
