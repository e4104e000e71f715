"""A worker is forked from its supervisor, whose handlers it must not keep for a moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from signal import SIGTERM

FORK = """
import os, selectors, signal, sys
from covalent_core._runner import workers
from covalent_core._runner.output import Output
from covalent_core._runner.signals import Signals

said = os.dup(1)
signals = Signals()
supervisor = os.getpid()
set_option = workers.set_process_option

def tell_then_set_option(*arguments):
    assert os.getpid() != supervisor
    os.kill(os.getpid(), signal.SIGTERM)
    set_option(*arguments)

workers.set_process_option = tell_then_set_option
started = workers.Workers(selectors.DefaultSelector(), Output(sys.argv[1]), lambda: None, signals.undo)
started.start({})
pid, status = os.wait()
os.kill(os.getpid(), signal.SIGTERM)
# Its own output goes where that of a task goes.
os.write(said, f"{os.waitstatus_to_exitcode(status)} {signals.terminated}".encode())
"""


def test_an_order_to_end_that_comes_before_a_worker_is_itself_is_not_lost(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORK, f"{tmp_path}/output"], capture_output=True, text=True, check=True, timeout=20
    )
    assert ran.stdout.split() == [str(-SIGTERM), "True"], ran.stderr
