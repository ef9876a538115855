"""A zarr at an address, http, https or s3, which is read without listing anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore

from napari_mvfusion.errors import InputError, MVFusionError, is_out_of_memory
from napari_mvfusion.io.ome_zarr.checked_store import Checked, is_metadata
from napari_mvfusion.system.file_checks import cause_of, check_address

# Seconds that a server may say nothing, and between two attempts.
SILENCE, PAUSE = 30.0, 0.5
_ATTEMPTS = 3
# What lies at an address is asked for once in so many seconds: the same metadata is looked at for many reasons.
_REMEMBERED = 10.0
_PIECE = 2**22
_PARTIAL = 206
_FORBIDDEN = (401, 403)
_ABSENT = (404, 410)
_SERVER = 500
_GO_ON = "check the network, then go on with --resume"

_seen: dict[str, tuple[float, bytes | None]] = {}


class RemoteFiles(Checked, FsspecStore):  # type: ignore[misc]  # zarr is not followed by mypy
    """The files below an address; public ones, or with the keys that this computer holds for S3.

    Raises
    ------
    InputError
        If a library for such addresses is not installed.
    """

    supports_listing = False
    fs: Any

    def __init__(self, fs: Any, read_only: bool = True, path: str = "", **options: Any) -> None:
        super().__init__(fs, read_only=read_only, path=path, **options)
        self._process = os.getpid()

    @classmethod
    def at(cls, address: str) -> RemoteFiles:
        """The store of an address."""
        check_address(address)
        try:
            return cls.from_url(address, storage_options=_options(address), read_only=True)  # type: ignore[no-any-return]
        except ImportError as error:
            raise InputError(
                f"{address} needs a library to be read ({cause_of(error)}): pip install 'napari-mvfusion[remote]'"
            ) from error

    def place_of(self, key: str) -> Path:
        """The address of a key."""
        return Path(self._address(key))

    def _address(self, key: str) -> str:
        whole = f"{self.path}/{key}".rstrip("/")
        return whole if "://" in whole else f"s3://{whole}"

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Bytes of a file, None where there is none."""
        prototype = default_buffer_prototype() if prototype is None else prototype
        found = await self._remembered(key) if is_metadata(key) else await self._read(key, byte_range)
        value = None if found is None else prototype.buffer.from_bytes(found)
        self.check_content(key, value, byte_range)
        return value

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """Parts of files."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is a file of this name."""
        return await self.get(key) is not None

    async def list(self) -> AsyncIterator[str]:
        """Nothing: no listing is asked for."""
        nothing: tuple[str, ...] = ()
        for key in nothing:
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Nothing, as `list`."""
        nothing: tuple[str, ...] = ()
        for key in nothing:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Nothing, as `list`."""
        nothing: tuple[str, ...] = ()
        for key in nothing:
            yield key

    async def _remembered(self, key: str) -> bytes | None:
        address, now = self._address(key), time.monotonic()
        if address in _seen and now - _seen[address][0] < _REMEMBERED:
            return _seen[address][1]
        found = await self._read(key, None)
        for old in [each for each, (when, _) in _seen.items() if now - when > _REMEMBERED]:
            del _seen[old]
        _seen[address] = now, found
        return found

    async def _read(self, key: str, byte_range: Any) -> bytes | None:
        """The bytes of a file, after some attempts; None where there is none."""
        address = self._address(key)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._asked(key, byte_range)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
            except MVFusionError:
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                status = getattr(error, "status", None)
                if isinstance(error, PermissionError) or status in _FORBIDDEN:
                    # Where nothing may be listed, S3 says the same of what is not there.
                    if is_metadata(key):
                        return None
                    raise InputError(f"{address} may not be read ({_why(error)}): ask who keeps it") from error
                if status is not None and status < _SERVER:
                    raise InputError(f"{address} cannot be read ({_why(error)}): check the address") from error
                if attempt + 1 == _ATTEMPTS:
                    raise InputError(f"{address} cannot be read ({_why(error)}): {_GO_ON}") from error
                await asyncio.sleep(PAUSE * 2**attempt)
        return None

    async def _asked(self, key: str, byte_range: Any) -> bytes:
        if self._process != os.getpid():
            # A connection belongs to the process that made it, and a fork needs its own.
            made: Any = self.fs
            self.fs = type(made)(*made.storage_args, **made.storage_options)
            self._process = os.getpid()
        if not hasattr(self.fs, "set_session") or self.fs.protocol not in ("http", ("http", "https")):
            return await self._from_bucket(key, byte_range)
        start, stop = _part(byte_range)
        headers = {} if byte_range is None else {"Range": _range_header(start, stop)}
        url = self._address(key)
        session = await self.fs.set_session()
        async with asyncio.timeout(SILENCE):
            answer = await session.get(self.fs.encode_url(url), headers=headers)
        async with answer:
            if answer.status in _ABSENT:
                raise FileNotFoundError(url)
            answer.raise_for_status()
            self.check_size(key, answer.content_length or 0)
            pieces: list[bytes] = []
            while piece := await self._next_piece(answer):
                pieces.append(piece)
                if sum(map(len, pieces)) > self.most_bytes(key):
                    raise InputError(f"{url} is damaged: it is longer than its pixels can be; copy it again")
            whole = b"".join(pieces)
            # Some servers send all of a file, whatever part of it they are asked for.
            return whole if byte_range is None or answer.status == _PARTIAL else whole[start:stop]

    async def _next_piece(self, answer: Any) -> bytes:
        async with asyncio.timeout(SILENCE):
            return bytes(await answer.content.read(_PIECE))

    async def _from_bucket(self, key: str, byte_range: Any) -> bytes:
        start, stop = _part(byte_range)
        path = f"{self.path}/{key}".rstrip("/")
        if byte_range is None:
            stop = self.most_bytes(key) + 1
        found = bytes(await self.fs._cat_file(path, start=start or None, end=stop))
        self.check_size(key, len(found))
        return found


def _part(byte_range: Any) -> tuple[int, int | None]:
    """First byte, negative where it is counted from the end, and the one after the last."""
    match byte_range:
        case RangeByteRequest(start=start, end=end):
            return start, end
        case OffsetByteRequest(offset=offset):
            return offset, None
        case SuffixByteRequest(suffix=suffix):
            return -suffix, None
    return 0, None


def _range_header(start: int, stop: int | None) -> str:
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def _options(address: str) -> dict[str, Any]:
    """How the library of an address is asked: buckets that are public without keys, where this computer has none."""
    if address.startswith("s3:"):
        keys = any(name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"))
        known = keys or (Path.home() / ".aws" / "credentials").is_file()
        return {"anon": not known, "config_kwargs": {"connect_timeout": SILENCE, "read_timeout": SILENCE}}
    # So that the passwords of .netrc and the proxy of this computer are used.
    return {"client_kwargs": {"trust_env": True}}


def _why(error: Exception) -> str:
    """Why a server cannot be asked, in words."""
    if getattr(error, "status", None) is not None:
        return f"{error.status} {getattr(error, 'message', '')}".strip()  # type: ignore[attr-defined]
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    if type(error).__name__ in ("ClientPayloadError", "ServerDisconnectedError", "ConnectionResetError"):
        return "the connection broke off"
    return cause_of(error)
