"""What the log looks like: one line an event, with the request or task it belongs to.

`request_id` is what an error page shows as its reference; a task carries the id of the request
that asked for it, beside its own `task_id`. Whatever looks like a secret is masked last of all.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from xmailadmin.escaping import escaped

__all__ = ["configuration", "masked", "redact", "request_id"]

MASK = "***"
LONGEST = 500  # letters of what anybody may ask for; nobody shall fill the log with it
_as_json = structlog.processors.JSONRenderer(ensure_ascii=False)
OUT_OF_FILES = "accept() out of system resource: no files left (%d times untold before)"
SECRET_NAME = re.compile(
    r"password|passphrase|secret|private_key|token|authorization|cookie|credential|master_key", re.I
)
# Also where an address is part of another one, or of one within that.
SLASH = "(?:/|%(?:25)*2F)"
ASK = "(?:[?&]|%(?:25)*(?:3F|26))"
SECRET_TEXT = (
    # A private key in PEM, also inside the repr of bytes, cut off or not.
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
        "[private key removed]",
    ),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"), rf"\1{MASK}"),  # the password in an address
    # Bounded: each `otpauth:` would look for its secret through to the end.
    (re.compile(r"(otpauth:[^\s'\"]{0,400}?secret=)[A-Z2-7]+"), rf"\1{MASK}"),
    (re.compile(r"(Bearer |Basic )[\w.~+/=-]+"), rf"\1{MASK}"),
    (
        re.compile(rf"({ASK}(?:\w*_)?(?:code|state|token)(?:=|%(?:25)*3D))[^\s&'\"]+", re.I),
        rf"\1{MASK}",
    ),
    # A link that is itself the key, whatever clings to it, and what looks like one elsewhere.
    (
        re.compile(rf"({SLASH}account{SLASH}link{SLASH}|{SLASH}r{SLASH})['\"]*[^\s?'\"]+", re.I),
        rf"\1{MASK}",
    ),
    (re.compile(rf"({SLASH})[A-Z0-9_-]{{20,}}(?![A-Z0-9_-])", re.I), rf"\1{MASK}"),
)


def request_id() -> str:
    """Returns the id that every log line of the request in hand carries; "" outside one."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Masks secrets by the name they go by and by what they look like."""
    for name in event:
        event[name] = _masked(event[name], name)
    if str(event.get("logger", "")).startswith("django"):
        for name in ("event", "request", "user_agent"):
            if len(text := str(event.get(name, ""))) > LONGEST:
                event[name] = f"{text[:LONGEST]}…"
    return event


def masked(text: str) -> str:
    """Returns the text without what looks like a secret in it."""
    for pattern, instead in SECRET_TEXT:
        text = pattern.sub(instead, text)
    return text


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, MutableMapping):
        for key in value:
            value[key] = _masked(value[key], str(key))
        return value
    if name and SECRET_NAME.search(name):
        return MASK
    if isinstance(value, bytes):
        value = repr(value)
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value


class Refusals(logging.Filter):
    """What Django refuses as malformed is one line: anybody can send it, and it is no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class Accepts(logging.Filter):
    """That no connection can be accepted is one line a minute, and how often it was the case.

    asyncio says it a hundred times a turn, each with a traceback: whoever opens connections until
    there is no file left would fill the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next, self._untold = 0.0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "asyncio" or "accept() out of system resource" not in str(record.msg):
            return True
        if time.monotonic() < self._next:
            self._untold += 1
            return False
        record.msg, record.args = OUT_OF_FILES, (self._untold,)
        record.exc_info = record.exc_text = None
        self._next, self._untold = time.monotonic() + 60, 0
        return True


def line(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """Returns the event as a line that a person reads, a traceback below it, set in.

    What is in either may come from anybody: it neither begins a line nor reaches a terminal raw.
    """
    head = "{timestamp} {level} {logger}: {event}".format(
        timestamp=event.pop("timestamp", ""),
        level=str(event.pop("level", "")).upper(),
        logger=event.pop("logger", ""),
        event=event.pop("event", ""),
    )
    below = [str(event.pop(name)) for name in ("exception", "stack") if name in event]
    head = " ".join([head, *(f"{name}={value}" for name, value in event.items())])
    lines = [row for text in below for row in text.split("\n")]
    return "\n  ".join(escaped(row) for row in (head, *lines))


def json_line(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """Returns the event as JSON, which a terminal may show, too."""
    return escaped(str(_as_json(logger, name, event)))


def configuration(form: str) -> dict[str, Any]:
    """Returns Django's LOGGING for `form`, "text" or "json", and sets structlog up alike."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer = json_line if form == "json" else line
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "event": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    renderer,
                ],
            }
        },
        "filters": {"refusals": {"()": Refusals}, "accepts": {"()": Accepts}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "event",
                "filters": ["refusals", "accepts"],
            }
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            # One line a connection and one a task would bury what a person needs to read.
            "asyncssh": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "psycopg.pool": {"level": "ERROR"},  # who needed the connection says so
            "uvicorn": {"level": "WARNING"},
            "django.template": {"level": "INFO"},  # tells whole contexts at DEBUG, with secrets
            "django.request": {"level": "CRITICAL"},  # django_structlog says the same, with ids
        },
    }


# What django_structlog says of each request and task, by setting.
LEVELS = {
    "STATUS_START_LOG_LEVEL": logging.DEBUG,
    "STATUS_2XX_LOG_LEVEL": logging.DEBUG,
    "STATUS_DEFAULT_LOG_LEVEL": logging.DEBUG,
    "STATUS_4XX_LOG_LEVEL": logging.INFO,
    "STATUS_5XX_LOG_LEVEL": logging.ERROR,
    "REQUEST_CANCELLED_LOG_LEVEL": logging.DEBUG,
    "CELERY_DEFAULT_LOG_LEVEL": logging.DEBUG,
}
