"""Breaks the portal on request, with secrets at hand in every frame; notes each task message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.http import HttpRequest, HttpResponseBase

SABOTAGED = "sabotaged"  # the name of the host that breaks what touches it


class Sabotage(AppConfig):
    """Installed by tests/canary/settings.py alone."""

    name = "tests.canary"
    label = "canary"

    def ready(self) -> None:
        import asyncssh
        from celery.signals import before_task_publish

        from hosts import fan_out
        from hosts.models.diagnosis import DiagnosisManager

        asyncssh.set_debug_level(2)  # 3 dumps whole packets, which is its purpose
        install, take = fan_out.__dict__["install"], DiagnosisManager.take

        async def broken_install(transport: Any, order: Any, journal: Any) -> Any:
            if transport.target.name == SABOTAGED:
                key = order.files.key  # in this frame's variables
                raise RuntimeError("sabotage while installing", transport.target, order, len(key))
            return await install(transport, order, journal)

        def broken_take(manager: Any, hosts: Any) -> Any:
            found = list(hosts)
            targets = [host.target() for host in found]
            if any(host.name == SABOTAGED for host in found):
                raise RuntimeError("sabotage while diagnosing", targets)
            return take(manager, found)

        setattr(fan_out, "install", broken_install)  # noqa: B010
        setattr(DiagnosisManager, "take", broken_take)  # noqa: B010
        before_task_publish.connect(note_message, weak=False)


def note_message(body: Any = None, headers: Any = None, **_kwargs: Any) -> None:
    """Keeps what goes to the broker, the one in memory too."""
    with Path(os.environ["CANARY_MESSAGES"]).open("a", encoding="utf-8") as file:
        file.write(f"{headers!r} {body!r}\n")


class FailOnRequest:
    """Raises our own kind of bug in the middle of a request that asks for it."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "X-Sabotage" in request.headers:
            typed = request.POST.dict()
            raise RuntimeError("sabotage of a request", sorted(typed))
        return self.get_response(request)
