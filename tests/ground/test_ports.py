"""A held port is the one daemon's that was told it, before it listens as well as after."""

from __future__ import annotations

import socket

import pytest
from ports import HeldPort


def test_a_held_port_is_not_given_to_another() -> None:
    held = HeldPort()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", held.number))

    held.close()


@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_a_server_listens_at_a_held_port_and_does_so_again(address: str) -> None:
    held = HeldPort()

    for _ in range(2):
        with (
            socket.create_server((address, held.number)) as server,
            socket.create_connection(("127.0.0.1", held.number)),
        ):
            server.accept()[0].close()

    held.close()


def test_nobody_is_connected_who_comes_too_early() -> None:
    held = HeldPort()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", held.number), 1)

    held.close()
