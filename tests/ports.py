"""A port for a daemon of a test: held from the moment that it is chosen, so that no other process is given it."""

from __future__ import annotations

import socket


class HeldPort:
    """A port that the kernel gives to nobody else until it is closed.

    A daemon that is told its number can listen at it all the same, and again when it was restarted: servers set
    ``SO_REUSEADDR``, as this socket does, and this one does not listen.

    Attributes:
        number: Which one it is.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # At all addresses, for the daemon may listen at any.
        self._socket.bind(("", 0))
        self.number = int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
