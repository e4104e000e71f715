"""The workers of a supervisor, one after the other."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import traceback
from typing import Callable, Dict, Iterator, Optional, Tuple

from .output import Output, out_of_the_way
from .processes import PR_SET_PDEATHSIG, set_process_option
from .progress import Progress
from .protocol import MESSAGE_BYTES
from .tree import Tree
from .worker import work


class Workers:
    """A worker that is forked, given jobs over a line, and replaced when it is gone.

    Args:
        selector: Where the supervisor waits for what it says.
        output: The files that it writes to.
        on_answer: Called when it has said something.
        give_up: Called in a new worker, which has all that the supervisor has: gives up what is not for it.

    Attributes:
        tree: It, and all that it has started.
        progress: How far it is.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        output: Output,
        on_answer: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        self.tree = Tree()
        self.progress = Progress()
        self._selector = selector
        self._output = output
        self._on_answer = on_answer
        self._give_up = give_up
        self._line: Optional[socket.socket] = None
        self._used = False

    def start(self, outcomes: Dict[int, bytes]) -> None:
        """Fork a worker: the supervisor stays small and has one thread, so that costs about a millisecond.

        Args:
            outcomes: The records of the nodes of its first job that have ended under a worker before it.
        """
        self._forget()
        self._line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._used = False
        # Until the child has given up the handlers of this process, an order to end would be lost on it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        worker = os.fork()

        if worker == 0:
            try:
                self._become_worker(parent)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                line = socket.socket(fileno=out_of_the_way(far.detach()))
                work(line, self.progress, self._output, outcomes)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)

        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.tree = Tree(worker)
        far.close()
        self._line.setblocking(False)
        self._selector.register(self._line, selectors.EVENT_READ, self._on_answer)

    def give(self, prefix: str, call: bytes, outcomes: Dict[int, bytes], *, fresh: bool) -> None:
        """Give a job, or what is left of it, to the worker.

        Args:
            call: What there is to do, if that is not in a file.
            outcomes: The records of the nodes that have ended.
            fresh: To one that has had no job before.
        """
        if fresh and self._used:
            self.tree.end()

        if not self.tree.has_worker:
            self.start(outcomes)

        assert self._line is not None
        self._used = True
        self.progress.clear()
        self._line.send(prefix.encode() + b"\n" + call)

    def end(self) -> None:
        """End the worker and all that it has started, and remove what it could not."""
        self.tree.end()

        if self.progress.folder:
            import shutil

            shutil.rmtree(self.progress.folder, ignore_errors=True)

    def answers(self) -> Iterator[Tuple[bytes, int, bytes]]:
        """Yield all that the worker has said: a word, the node that this is about, and its record."""
        while self._line is not None:
            try:
                message = self._line.recv(2 * MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                message = b""

            if not message:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._line)

                return

            header, _, record = message.partition(b"\n")
            word, node_id = header.split()
            yield word, int(node_id), record

    def _become_worker(self, parent: int) -> None:
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)

        if os.getppid() != parent:
            os._exit(1)

        os.setsid()
        self._give_up()
        self._selector.close()

        if self._line is not None:
            self._line.close()

    def _forget(self) -> None:
        if self._line is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._line)

            self._line.close()

        self._line = None
