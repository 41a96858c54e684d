"""A process that has everything loaded and forks one more for each act that it is told.

    python -m tests.faults.stage     (with XMAILADMIN_HOME)

Reads one JSON object a line: {"act", "arguments", "lease", "trap", "answer": a path}. Writes the
new process's id. That process leaves {"value"} or {"error"} at the path when it comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import django


def _perform(what: dict[str, Any]) -> None:
    from tests.faults import acts, injection

    if what.get("lease"):
        acts.shorten_lease(what["lease"])
    if what.get("trap"):
        injection.set_trap(injection.Trap(**what["trap"]))
    try:
        answer = {"value": getattr(acts, what["act"])(**what["arguments"])}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    path = Path(what["answer"])
    path.with_suffix(".part").write_text(json.dumps(answer))
    path.with_suffix(".part").rename(path)


def main() -> None:
    """Fork until the input ends."""
    django.setup()
    from tests.faults import acts, injection

    assert acts
    assert injection
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is gone at once
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _perform(json.loads(line))
            sys.stderr.flush()
            os._exit(0)
        print(process, flush=True)  # noqa: T201  the answer to whoever told us


if __name__ == "__main__":
    main()
