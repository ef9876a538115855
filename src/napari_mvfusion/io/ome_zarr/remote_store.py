"""A zarr at an address, http, https or s3, which is read without listing anything."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore

from napari_mvfusion.errors import InputError, MVFusionError, is_out_of_memory
from napari_mvfusion.io.ome_zarr.checked_store import Checked, is_metadata
from napari_mvfusion.io.ome_zarr.recent_files import RECENT
from napari_mvfusion.system.file_checks import cause_of, check_address

# Seconds that a server may say nothing, in all attempts together, and between two attempts.
SILENCE, PAUSE = 30.0, 0.5
# Bytes a second that a server has to send at least, beyond that.
SLOWEST = 2**12
_ATTEMPTS = 3
# What lies at an address is asked for once in so many seconds while it is opened: the same metadata is looked at for many
# reasons. Who opens it again asks again.
_REMEMBERED = 10.0
_PIECE = 2**22
_PARTIAL = 206
_FORBIDDEN = (401, 403)
_ABSENT = (404, 410)
_SERVER = 500
_PAGES = (b"<!doctype html", b"<html")
_PAGE_BEGINS = 256
_LED_ELSEWHERE = ("NonHttpUrlRedirectClientError", "InvalidUrlRedirectClientError")
_PAGE = "is answered with a web page, as where one has to log in"

_seen: dict[str, tuple[float, bytes | None]] = {}
_opened_last = -math.inf


def ask_anew() -> None:
    """Forget what servers answered so far, as something is opened now, or could not be."""
    global _opened_last
    # Not `_seen.clear()`: another thread may be looking through it.
    _opened_last = time.monotonic()


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
        # What was received is kept for one opened store: who opens it again asks again.
        self._owner = uuid4()

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
        name = self._owner, key, byte_range
        if is_metadata(key):
            found = await self._remembered(key)
        elif (found := RECENT.find(name)) is None:
            found = await self._read(key, byte_range)
        value = None if found is None else prototype.buffer.from_bytes(found)
        self.check_content(key, value, byte_range)
        if found is not None and not is_metadata(key):
            RECENT.keep(name, found)
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
        before = _seen.get(address)
        if before is not None and before[0] > max(_opened_last, now - _REMEMBERED):
            return before[1]
        found = await self._read(key, None)
        for old in [each for each, (when, _) in _seen.items() if now - when > _REMEMBERED]:
            del _seen[old]
        _seen[address] = now, found
        return found

    async def _read(self, key: str, byte_range: Any) -> bytes | None:
        """The bytes of a file, after some attempts; None where there is none."""
        patience = _Patience()
        for attempt in range(_ATTEMPTS):
            try:
                return await self._asked(key, byte_range, patience)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
            except MVFusionError:
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                if is_metadata(key) and isinstance(error, (_NotGivenError, PermissionError)):
                    # Where nothing may be listed, S3 says the same of what is not there; some servers answer with a page.
                    return None
                if isinstance(error, TimeoutError):
                    raise InputError(self._failure(key, patience.lost())) from error
                if attempt + 1 == _ATTEMPTS or not _may_mend(error):
                    raise InputError(self._failure(key, error)) from error
                await asyncio.sleep(PAUSE * 2**attempt)
        return None

    async def why_none(self) -> str:
        """Why there is no zarr at the address, as far as the server says it: what it is, and what to do."""
        ask_anew()
        try:
            await self._asked("zarr.json", None, _Patience())
        except _NotGivenError as error:
            return self._failure("zarr.json", error)
        except Exception as error:
            if is_out_of_memory(error):
                raise
        return f"{self._address('')} is no OME-Zarr that all may read: check the address, and that its bucket is public"

    def _failure(self, key: str, error: Exception) -> str:
        """Why a file cannot be read, and what to do; what stands first is the address that was given, or what lies below."""
        address = self._address("" if is_metadata(key) and "/" not in key else key)
        if isinstance(error, _NotGivenError):
            return f"{address} {error}"
        if isinstance(error, PermissionError):
            return f"{address} may not be read ({_why(error)}): ask who keeps it"
        if not _may_mend(error):
            return f"{address} cannot be read ({_why(error)}): check the address"
        return f"{address} cannot be read ({_why(error)}): check the network, then {_again(key)}"

    async def _asked(self, key: str, byte_range: Any, patience: _Patience) -> bytes:
        if self._process != os.getpid():
            # A connection belongs to the process that made it, and a fork needs its own.
            made: Any = self.fs
            self.fs = type(made)(*made.storage_args, **made.storage_options)
            self._process = os.getpid()
        if not hasattr(self.fs, "set_session") or self.fs.protocol not in ("http", ("http", "https")):
            return await self._from_bucket(key, byte_range, patience)
        start, stop = _part(byte_range)
        headers = {} if byte_range is None else {"Range": _range_header(start, stop)}
        url = self._address(key)
        session = await self.fs.set_session()
        async with patience.next():
            # Its own bound, of five minutes for any file, is taken away.
            answer = await session.get(self.fs.encode_url(url), headers=headers, timeout=None)
        async with answer:
            if answer.status in _ABSENT:
                raise FileNotFoundError(url)
            if answer.status in _FORBIDDEN:
                raise _NotGivenError(f"may not be read ({answer.status} {answer.reason}): ask who keeps it")
            answer.raise_for_status()
            whole = await self._received(key, answer.content, answer.content_length, patience)
            # Some servers send all of a file, whatever part of it they are asked for.
            return whole if byte_range is None or answer.status == _PARTIAL else whole[start:stop]

    async def _from_bucket(self, key: str, byte_range: Any, patience: _Patience) -> bytes:
        start, stop = _part(byte_range)
        bucket, name, _ = self.fs.split_path(f"{self.path}/{key}".rstrip("/"))
        part = {} if byte_range is None else {"Range": _range_header(start, stop)}
        async with patience.next():
            answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=name, **part)
        try:
            return await self._received(key, answer["Body"], answer.get("ContentLength"), patience)
        finally:
            answer["Body"].close()

    async def _received(self, key: str, content: Any, length: int | None, patience: _Patience) -> bytes:
        """What a server sends, no more than there can be, and no slower than it may be."""
        self.check_size(key, length or 0)
        pieces: list[bytes] = []
        while True:
            async with patience.next():
                piece = bytes(await content.read(_PIECE))
            if not piece:
                break
            pieces.append(piece)
            patience.received += len(piece)
            if sum(map(len, pieces)) > self.most_bytes(key):
                raise InputError(f"{self._address(key)} is damaged: it is longer than it can be; copy it again")
        whole = b"".join(pieces)
        begins = whole[:_PAGE_BEGINS].lstrip().lower()
        if begins.startswith(_PAGES) or (is_metadata(key) and begins.startswith(b"<")):
            raise _NotGivenError(f"{_PAGE}: check the address, or download the data first")
        return whole


class _NotGivenError(Exception):
    """A server answers, but does not give a file: why, and what to do."""


class _Patience:
    """How long a file is waited for: as long as a server may say nothing, and longer for each byte that it sends.

    Attributes
    ----------
    received : bytes, in all attempts
    """

    def __init__(self) -> None:
        self.received = 0
        self._begun = time.monotonic()

    def next(self) -> asyncio.Timeout:
        """The longest wait for the next answer or piece."""
        left = self._begun + SILENCE + self.received / SLOWEST - time.monotonic()
        return asyncio.timeout(max(0.0, min(SILENCE, left)))

    def lost(self) -> TimeoutError:
        """What is said when it came to an end."""
        slow = f"the server sends less than {SLOWEST / 1024:g} kB a second"
        return TimeoutError(slow if self.received else "the server does not answer")


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


def _may_mend(error: Exception) -> bool:
    """Whether asking again may help: a server that fails or cannot be reached, not one that understood and refused."""
    if isinstance(error, (_NotGivenError, PermissionError)) or type(error).__name__ in _LED_ELSEWHERE:
        return False
    status = getattr(error, "status", None)
    return status is None or status >= _SERVER


def _again(key: str) -> str:
    """What to do when the network works again: a run that has begun to read pixels goes on."""
    return "try again" if is_metadata(key) else "go on with --resume"


def _why(error: Exception) -> str:
    """Why a server cannot be asked, in words."""
    kind = type(error).__name__
    if kind == "TooManyRedirects":
        return "it leads on to other addresses without end"
    if kind in _LED_ELSEWHERE:
        return "it leads on to what is no web address"
    if getattr(error, "status", None) is not None:
        return f"{error.status} {getattr(error, 'message', '')}".strip()  # type: ignore[attr-defined]
    if kind == "ClientConnectorDNSError":
        return f"the name {error.host} is not known"  # type: ignore[attr-defined]
    if kind == "ClientConnectorError":
        return "the server cannot be reached"
    if kind in ("ClientPayloadError", "ServerDisconnectedError", "ConnectionResetError"):
        return "the connection broke off"
    if isinstance(error, OSError) and error.strerror:
        return cause_of(OSError(error.strerror))
    return cause_of(error)
