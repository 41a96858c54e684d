"""Sets the clock of a process of the portal wrong, by as many seconds as TEST_CLOCK says; tests
put this directory on its PYTHONPATH."""

import os
import time

import time_machine

if offset := float(os.environ.get("TEST_CLOCK", "0")):
    time_machine.travel(time.time() + offset, tick=True).start()
