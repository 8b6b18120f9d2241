"""A byte stream that proves itself: what arrives is what was sent, whole, and nobody reset the connection.

Decides: the format, the same in both directions and at both ends. A stream is frames; a frame is a length (32 bits,
network order) and that many octets; length 0 ends it, and is followed by a digest of all octets before.
Rules: frames have uneven lengths so that segments and frames never line up; content comes from a seed and does not
repeat with a period that a power of two divides, so a lost, doubled or moved block changes the digest.
Must never: swallow an error; every way of ending is in the result.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.wait import SLOWNESS

LENGTH: Final = struct.Struct("!I")
DIGEST_SIZE: Final = 32
PATTERN_SIZE: Final = 99_991  # a prime
PATIENCE: Final = 120.0 * SLOWNESS
"""Seconds without progress after which an end gives up; longer than any pause of TCP that a test causes."""


@dataclass(frozen=True, slots=True)
class Received:
    """How one direction ended at its receiver. `intact`: the end came, and the digest is that of what was sent."""

    octets: int
    intact: bool
    reset: bool
    error: str = ""


class Progress:
    """Octets moved so far; written by one thread, read by others."""

    def __init__(self) -> None:
        self.octets = 0


def send(
    connection: socket.socket, *, seed: int, octets_per_second: int, finished: Callable[[], bool], progress: Progress
) -> None:
    """Send frames at about the given rate (0: as fast as it goes) until `finished()`, then the end and its digest.

    Raises OSError as the socket does.
    """
    chance = random.Random(seed)
    pattern = chance.randbytes(PATTERN_SIZE) * 2
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    started = time.monotonic()
    for number in itertools.count():
        if finished():
            break
        start = number * 7919 % PATTERN_SIZE
        payload = pattern[start : start + chance.randint(1, 32_768)]
        digest.update(payload)
        connection.sendall(LENGTH.pack(len(payload)) + payload)
        progress.octets += len(payload)
        if octets_per_second:
            due = started + progress.octets / octets_per_second
            while (ahead := due - time.monotonic()) > 0 and not finished():
                time.sleep(min(ahead, 0.1))
    connection.sendall(LENGTH.pack(0) + digest.digest())


def _exactly(connection: socket.socket, size: int) -> bytes:
    whole = bytearray()
    while len(whole) < size:
        part = connection.recv(size - len(whole))
        if not part:
            raise EOFError(f"the peer closed after {len(whole)} of {size} octets")
        whole += part
    return bytes(whole)


def receive(connection: socket.socket, progress: Progress) -> Received:
    """Receive frames up to the end and say how it went; never raises for what the network did."""
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    try:
        while size := LENGTH.unpack(_exactly(connection, LENGTH.size))[0]:
            payload = _exactly(connection, size)
            digest.update(payload)
            progress.octets += size
        intact = _exactly(connection, DIGEST_SIZE) == digest.digest()
    except ConnectionResetError as error:
        return Received(progress.octets, intact=False, reset=True, error=str(error))
    except (OSError, EOFError) as error:
        return Received(progress.octets, intact=False, reset=False, error=f"{type(error).__name__}: {error}")
    return Received(progress.octets, intact=intact, reset=False, error="" if intact else "the digest differs")
