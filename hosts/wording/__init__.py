"""Words the messages of the pure modules in the reader's language.

One module here for each that makes messages; each has `TEXTS`, code -> sentence.
"""

from __future__ import annotations

import logging
import pkgutil
from importlib import import_module

from django.utils.functional import Promise

from certs.problems import STATES
from hosts.messages import Message

__all__ = ["TEXTS", "word"]

logger = logging.getLogger(__name__)


def _merged() -> dict[str, Promise]:
    """The texts of every module of this package; raises ValueError for a code worded twice."""
    merged: dict[str, Promise] = {}
    for module in pkgutil.iter_modules(__path__):
        texts = import_module(f"{__name__}.{module.name}").TEXTS
        if twice := merged.keys() & texts.keys():
            raise ValueError(f"worded twice: {sorted(twice)}")
        merged.update(texts)
    return merged


TEXTS = _merged()


def _sentences(message: Message) -> dict[str, str]:
    """The parameters that are codes themselves, in words."""
    state = STATES.get(str(message.params.get("state", "")))
    return {} if state is None else {"state": str(state)}


def word(message: Message) -> str:
    """The message as a sentence in the active language.

    A code that has no wording (an old row of the history, say) comes back as it is, with its
    parameters: better than no page at all.
    """
    text = TEXTS.get(message.code)
    if text is None:
        return str(message)
    try:
        return str(text) % {**message.params, **_sentences(message)}
    except (KeyError, TypeError, ValueError):
        logger.warning("The wording of %s does not fit its parameters.", message.code)
        return str(message)
