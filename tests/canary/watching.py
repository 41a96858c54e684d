"""Looks at processes and at temporary files all the time, as a curious neighbour would."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.canary.needles import Needles

EVERY_S = 0.01


class Watch:
    """While the block runs: every command line there is, the environment of every process below
    this one, and every file in the given directories."""

    def __init__(self, needles: Needles, *places: Path) -> None:
        self.needles = needles
        self.places = places
        self.hits: set[str] = set()
        self.looks = 0
        self.seen_files: set[str] = set()
        self._done = threading.Event()
        self._known: dict[bytes, None] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:  # fmt: skip
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.looks += 1
            self._look_at_processes()
            if self.looks % 5 == 0:
                self._look_at_files()

    def _look_at_processes(self) -> None:
        parents: dict[str, str] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                self._look_into(f"/proc/{entry}/cmdline")
                try:
                    with open(f"/proc/{entry}/stat", "rb") as file:
                        parents[entry] = file.read().rpartition(b")")[2].split()[1].decode()
                except (OSError, IndexError):
                    continue
        ours = str(os.getpid())
        for process in parents:
            above = process
            while above in parents and above != ours:
                above = parents[above]
            if above == ours and process != ours:
                self._look_into(f"/proc/{process}/environ")

    def _look_at_files(self) -> None:
        for place in self.places:
            for folder, _folders, names in os.walk(place):
                for name in names:
                    self.seen_files.add(name)
                    self._look_into(os.path.join(folder, name))

    def _look_into(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return
        if data in self._known:
            return
        if len(data) < 100_000:
            self._known[data] = None
        self.hits.update(f"{path}: {name}" for name in self.needles.found_in(data))
