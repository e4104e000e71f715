"""From the lock of a home to its dispatcher and back."""

from __future__ import annotations

from covalent_core import _failures
from covalent_core._home import Home
from covalent_core._lock import TASK_MARK, is_part_of_task, take_lock, this_process
from covalent_core.errors import DispatcherError


def serve(home: Home, *, idle_seconds: float | None = None) -> bool:
    """Be the dispatcher of `home` until idle for long enough, or told to end by SIGTERM or SIGINT.

    Args:
        idle_seconds: End after so long without a dispatch. None: never.

    Returns:
        False if another dispatcher serves this home already.

    Raises:
        DispatcherError: This process is part of a task.
        StoreError: The store cannot be used where it is.
    """
    if is_part_of_task():
        raise DispatcherError(
            f"{this_process()} cannot be the dispatcher of {home.folder}: it is part of a task "
            f"({TASK_MARK} is set), and would end with it; start it outside of tasks"
        )

    home.create()

    while (lock := take_lock(home)) is not None:
        with lock, _failures.noted(home):
            # Of several that clients have started at the same moment, one alone pays for all that a dispatcher needs.
            from covalent_core._dispatch.dispatcher import Dispatcher

            dispatcher = Dispatcher(home, idle_seconds=idle_seconds)
            dispatcher.run()

        # A dispatch stored after the last look and before the lock was given back would wait for nobody.
        if idle_seconds is None or dispatcher.told_to_end or not dispatcher.has_work():
            return True

    return False
