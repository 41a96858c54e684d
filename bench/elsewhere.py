"""Helpers in processes of their own, so that their work is not counted as that of who is measured.

A helper is a module with `serve(request)`, a context manager that yields what it answers. It serves
until the block ends.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.portal import CHECKOUT


@contextmanager
def elsewhere(module: str, request: object) -> Iterator[Any]:
    """Runs `serve(request)` of a module elsewhere, and yields its answer."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.elsewhere", module],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdout:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


if __name__ == "__main__":
    with importlib.import_module(sys.argv[1]).serve(json.loads(sys.stdin.readline())) as answer:
        print(json.dumps(answer), flush=True)
        sys.stdin.read()  # ends when whoever wants the helper closes it, or dies
