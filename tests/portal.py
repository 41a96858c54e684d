"""The real portal as a person starts it: `manage.py up` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import free_port, running

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass
class Portal:
    """One data directory with an administrator, served while `up()` runs."""

    home: Path
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    username: str = "admin"
    password: str = "correct-horse-battery-staple"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}.log"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of this portal; none of it leaks in from the tests'."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XMAILADMIN_", "DATABASE_URL", "CELERY_", "DJANGO_"))
        }
        return kept | {
            "DJANGO_SETTINGS_MODULE": "xmailadmin.settings",
            "XMAILADMIN_HOME": str(self.home),
            "XMAILADMIN_BIND": f"127.0.0.1:{self.port}",
            "XMAILADMIN_URL": self.url,
            "XMAILADMIN_ADMIN": self.username,
            "XMAILADMIN_ADMIN_PASSWORD": self.password,
            **self.extra_environment,
        }

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[bytes]]:
        """Serves the portal until the block ends, as if Ctrl-C were pressed then."""
        with running(
            [sys.executable, str(CHECKOUT / "manage.py"), "up"],
            self.log,
            self.answers,
            number=signal.SIGINT,
            environment=self.environment,
        ) as process:
            yield process

    def status(self, path: str) -> int:
        """Returns the HTTP status of a page; redirects are not followed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": f"localhost:{self.port}"})
            return connection.getresponse().status
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.status("/") < 500
        except (OSError, http.client.HTTPException):
            return False

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one of the portal's commands and returns how it ended."""
        done = subprocess.run(
            [sys.executable, str(CHECKOUT / "manage.py"), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stderr}")
        return done

    def manage_json(self, *arguments: str) -> dict[str, Any]:
        """Runs a command with --json and returns the object it printed."""
        answer: dict[str, Any] = json.loads(self.manage(*arguments, "--json").stdout)
        return answer
