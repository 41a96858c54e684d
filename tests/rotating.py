"""Many secrets, and rotations of their master key that are killed (for tests/test_rotation.py).

A program of its own: Django is loaded once, and each step runs in a fork of it, since there are
neither threads nor connections yet that a fork would break.

    python -m tests.rotating die HOME ROWS POINTS     prints one JSON object a point
    python -m tests.rotating fill ROWS                in the portal of the environment
    python -m tests.rotating load                     until its input ends; prints one JSON object
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.db import connections, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")


def fill(rows: int) -> None:
    """Makes sealed secrets of every kind: keys, passwords of hosts, authenticator apps."""
    from allauth.mfa.adapter import get_adapter

    from certs.models import Pair
    from hosts.models import Host
    from xmailadmin.prepare import prepare

    prepare()
    with transaction.atomic():
        for number in range(rows * 6 // 10):
            Pair.objects.adopt(f"key {number}".encode(), None, found_on="host")
        for number in range(rows * 3 // 10):
            host = Host.objects.create(name=f"mail{number}", mailroot=f"/m{number}")
            host.keep_secrets(password=f"password of {host.pk}")
        for number in range(rows // 10):
            get_adapter().encrypt(f"authenticator {number}")


def secrets() -> Counter[str]:
    """Opens every secret, and returns how many each master key has sealed."""
    from certs.models import Pair
    from hosts.models import Host
    from xmailadmin import vault
    from xmailadmin.models import AuthenticatorSecret

    found: Counter[str] = Counter()
    for pair in Pair.objects.all():
        assert (pair.private_key() or b"").startswith(b"key ")
        found[vault.sealed_by(pair.key_sealed)] += 1
    for host in Host.objects.all():
        assert host.target().credential.password.startswith(f"password of {host.pk}")
        found[vault.sealed_by(host.password_sealed)] += 1
    for row in AuthenticatorSecret.objects.all():
        opened = vault.open_sealed(row.secret_sealed, vault.place(row, "secret_sealed"))
        assert opened.startswith(b"authenticator ")
        found[vault.sealed_by(row.secret_sealed)] += 1
    return found


def rotate(die_at: int | None = None) -> int:
    """Rotates, dies at that moment, or returns how many moments there were."""
    from xmailadmin import audit, rotation

    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def replacement(*arguments: Any, **options: Any) -> Any:
            moment()
            answer = original(*arguments, **options)
            moment()
            return answer

        setattr(owner, name, replacement)

    rotation.GRACE_S = 0
    for owner, name in (
        (os, "open"),  # first of all the lock, then the scratch file of the keys
        (os, "fsync"),
        (Path, "replace"),
        (Path, "unlink"),
        (rotation, "_wait_for_transactions"),
        (rotation, "_rewrap_row"),
        (transaction.Atomic, "__exit__"),
        (audit, "record"),
    ):
        watched(owner, name)
    moment()
    rotation.rotate()
    moment()
    return moments


def in_fork(home: Path, step: Callable[[], Any]) -> Any:
    """Returns what the step returns in a process of its own; None if that was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["XMAILADMIN_HOME"] = str(home)
        connections["default"].settings_dict["NAME"] = str(home / "xmailadmin.sqlite3")
        try:
            home.mkdir(exist_ok=True)
            os.write(write, json.dumps(step()).encode())
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    return json.loads(told)


def die(place: Path, rows: int, points: int) -> None:
    """Kills rotations at so many points, all over, and the closest where the keys are written."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(template, place / name))

    def look() -> dict[str, Any]:
        from xmailadmin import audit, vault

        kept = sorted(path.name for path in Path(os.environ["XMAILADMIN_HOME"]).iterdir())
        told = [problem.code for problem in audit.verify()]
        return {
            "sealed": dict(secrets()),
            "keys": vault.key_ids(),
            "files": kept,
            "audit": told,
        }

    template = place / "template"
    in_fork(template, lambda: fill(rows))
    moments = in_fork(copy("dry"), rotate)
    edge = points // 4
    middle = points - 2 * edge
    chosen = [
        *range(2, 2 + 3 * edge, 3),
        *(moments * number // (middle + 1) for number in range(1, middle + 1)),
        *range(moments - 3 * edge + 1, moments, 3),
    ]
    for point in chosen:
        home = copy(f"point{point}")
        ended = in_fork(home, lambda point=point: rotate(point))  # type: ignore[misc]
        killed = in_fork(home, look)
        in_fork(home, rotate)
        resumed = in_fork(home, look)
        told = {"point": point, "of": moments, "ended": ended, "killed": killed}
        print(json.dumps(told | {"resumed": resumed}), flush=True)  # noqa: T201
        shutil.rmtree(home)


def load() -> None:
    """Reads and changes secrets all the time."""
    from certs.models import Pair
    from hosts.models import Host

    done: Counter[str] = Counter()
    errors: list[str] = []
    stop = threading.Event()

    def again_and_again(what: str, step: Callable[[int], object]) -> None:
        while not stop.is_set():
            try:
                step(done[what])
                done[what] += 1
            except Exception as error:
                errors.append(f"{what}: {error!r}")
                time.sleep(0.05)
        connections.close_all()

    def write(count: int) -> None:
        with transaction.atomic():
            hosts = Host.objects.order_by("pk")
            host = hosts.select_for_update()[count % 20]
            host.keep_secrets(password=f"password of {host.pk}, changed {count}")
        Pair.objects.adopt(f"key anew {count}".encode(), None, found_on="host")

    threads = [
        threading.Thread(target=again_and_again, args=(what, step))
        for what, step in (("read", lambda _count: secrets()), ("written", write))
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(done | {"errors": errors}))  # noqa: T201


if __name__ == "__main__":
    django.setup()
    match sys.argv[1:]:
        case ["die", place, rows, points]:
            die(Path(place), int(rows), int(points))
        case ["fill", rows]:
            fill(int(rows))
        case ["load"]:
            load()
