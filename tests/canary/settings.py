"""The portal as it is, but that it logs whatever it can, and breaks where a test wants it to."""

import copy
import os

from xmailadmin.settings import *  # noqa: F403
from xmailadmin.settings import INSTALLED_APPS, LOGGING, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.canary.sabotage.Sabotage"]
MIDDLEWARE = [*MIDDLEWARE, "tests.canary.sabotage.FailOnRequest"]
LOGGING = copy.deepcopy(LOGGING)
LOGGING["root"]["level"] = "DEBUG"
for _name, _logger in LOGGING["loggers"].items():
    if _name != "django.template":  # held back on purpose, see xmailadmin/logs.py
        _logger["level"] = "DEBUG"
LOGGING["loggers"] |= {
    name: {"level": "DEBUG"} for name in ("kombu", "asyncio", "django", "allauth", "uvicorn.error")
}
os.environ.setdefault("PYTHONASYNCIODEBUG", "1")
