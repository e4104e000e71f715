"""The runner: a fork of the agent, for which no interpreter need start."""

import os
import runpy
import signal
import sys
import time

#: The modules of the agent: a task may have some of these names.
MODULES = ("agent", "mirror", "objects", "request", "runner", "watcher")

#: Seconds between two looks at it, at first and at last.
SHORTEST, LONGEST = 0.001, 0.05


class Runner:
    """Runs ``bundle.pyz``.

    Made before there are threads: of these a fork has none, and what they hold it would hold for ever.

    Args:
        folder: Where that is.
        deadline: When the job is out of time, in seconds since 1970.
    """

    def __init__(self, folder, deadline):
        sys.stdout.flush()
        sys.stderr.flush()
        # One that comes at once is not for the handler of the agent, which the fork has at first.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        self._pid = os.fork()

        if not self._pid:
            become_runner(folder, deadline)

        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def terminate(self):
        """Let it end the job; it sees to the grace period."""
        os.kill(self._pid, signal.SIGTERM)

    def wait(self, seconds=float("inf")):
        """Return whether it has ended, at the latest after that time."""
        latest, pause = time.monotonic() + seconds, SHORTEST

        # It is left as a zombie, so that its number stays its own: a signal may be on its way to it.
        while os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = latest - time.monotonic()

            if left <= 0:
                return False

            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST)

        return True


def become_runner(folder, deadline):
    """Be what ``python bundle.pyz`` would be in that folder; does not return."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.environ.pop("COVALENT_CORE_START")

        if deadline != float("inf"):
            os.environ["COVALENT_CORE_DEADLINE"] = "%d" % deadline

        for name in MODULES:
            sys.modules.pop(name, None)

        sys.argv[:] = ["bundle.pyz"]
        runpy.run_path("bundle.pyz", run_name="__main__")
    except BaseException:
        # It would go on as the agent.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(1)
