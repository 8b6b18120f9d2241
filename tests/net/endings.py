"""The ways in which a connection ends, and how its client sees that it has."""

from __future__ import annotations

import socket

from lab.traffic.ask import ABORT, END, abort_on_close, ask


def client_ends(connection: socket.socket) -> None:
    """By a FIN, which the backend answers with its own."""
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""


def backend_ends(connection: socket.socket) -> None:
    connection.send(END)
    assert connection.recv(1) == b""


def client_resets(connection: socket.socket) -> None:
    abort_on_close(connection)


def backend_resets(connection: socket.socket) -> None:
    connection.send(ABORT)
    try:
        connection.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError("the backend's reset did not come")


def is_reset(connection: socket.socket) -> bool:
    """Whether a question over it meets a reset."""
    try:
        ask(connection)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False
