"""Values on a pipe between two processes of one run. Both ends are ours: nothing else is ever unpickled.

Arrays go beside the pickle as they lie in memory, so that sending large ones neither copies them nor holds the
interpreter lock.
"""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

_COUNT = struct.Struct("<Q")
_PIECE = 2**20


def send(pipe: IO[bytes], value: object) -> None:
    """Write a value.

    Raises
    ------
    OSError
        If the other end is gone.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raw = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    pipe.write(_COUNT.pack(len(raw)) + b"".join(_COUNT.pack(part.nbytes) for part in raw))
    for part in raw:
        for start in range(0, part.nbytes, _PIECE):
            pipe.write(part[start : start + _PIECE])
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read what `send` wrote.

    Raises
    ------
    EOFError
        If the other end closed the pipe.
    """
    (count,) = _COUNT.unpack(_read(pipe, _COUNT.size))
    lengths = [_COUNT.unpack(_read(pipe, _COUNT.size))[0] for _ in range(count)]
    body, *buffers = [_read(pipe, length) for length in lengths]
    return pickle.loads(body, buffers=buffers)


def _read(pipe: IO[bytes], length: int) -> bytearray:
    found = bytearray(length)
    rest = memoryview(found)
    while rest.nbytes:
        taken = pipe.readinto(rest[:_PIECE])  # type: ignore[attr-defined]
        if not taken:
            raise EOFError("the other end closed the pipe")
        rest = rest[taken:]
    return found
