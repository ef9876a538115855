"""What can be said of a file before it is opened, and words for what other people's parsers say of its content."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from napari_mvfusion.addresses import address_of, flaw_of
from napari_mvfusion.errors import DamagedError, InputError, MVFusionError, is_out_of_memory

# Recipes of hundreds of views and configurations are far below this.
MOST_TEXT_BYTES = 2**24
OVER_NETWORK = "only OME-Zarr folders open over the network; copy the file here first"
_SHOWN_LETTERS = 80
_FIRST_BYTES = 8
# What files of other kinds begin with, and what to do with these.
_BEGINNINGS = (
    (b"\x89HDF", "it is HDF5: give it a name that ends in .h5"),
    (b"PK\3\4", "it is a zip file: unpack it, or let the name of an OME-Zarr end in .zarr.zip"),
    (b"<?xml", "it is XML: name the files that it describes, or save it as {kind}"),
)
_LONGEST_MESSAGE = 1500
# Paths of usual length are repeated, so that they can be copied.
_LONG_WORD = re.compile(r"\S{161,}")
_SHARED_LETTERS, _END_LETTERS = 100, 40
_WORDS_OF_A_CAUSE = 200


def is_there(path: str | Path) -> bool:
    """Whether there is anything of this name; False also for names that no system takes, True for addresses.

    Whether there is something at an address is known when it is opened.
    """
    if address_of(path) is not None:
        return True
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name; False also for names that no system takes, True for addresses.

    What an address holds is not known before it is asked for, and holds other files where it is anything that is read here.
    """
    if address_of(path) is not None:
        return True
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_absent(path: Path) -> bool:
    """Whether there is nothing of this name: a link to nothing, or a file that may not be looked at, is something.

    Parameters
    ----------
    path : on a disk
    """
    try:
        path.lstat()
    except FileNotFoundError:
        # A folder on the way that is no folder hides what should lie in it.
        return next(folder.is_dir() for folder in path.parents if os.path.lexists(folder))
    except (OSError, ValueError):
        return False
    return False


def check_address(path: str | Path) -> None:
    """Raise where a name is an address that cannot be asked, or holds a password or key; see `flaw_of`.

    Raises
    ------
    InputError
        If it is one.
    """
    if flaw := flaw_of(path):
        raise InputError(flaw)


def check_there(path: Path, advice: str) -> None:
    """Raise unless there is something of this name.

    Parameters
    ----------
    path : in question
    advice : what to do where there is nothing, for example "name a TIFF folder"

    Raises
    ------
    InputError
        If there is nothing of this name, it is longer than names can be, or a folder on the way may not be read. Whether
        there is something at an address is known when it is opened.
    """
    check_address(path)
    if address_of(path) is not None:
        return
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise InputError(_missing(path, error, "", advice)) from error


def check_file(path: Path, called: str = "") -> os.stat_result:
    """Look at a file before it is opened: reading a pipe or a device could wait for ever.

    Parameters
    ----------
    path : of the file; links are followed
    called : what it is, for the message, for example "the PSF"

    Returns
    -------
    What the system says of the file.

    Raises
    ------
    InputError
        If it does not exist, is empty, is no plain file, or its name is longer than names can be.
    """
    found = check_plain(path, called)
    if found.st_size == 0:
        raise DamagedError(f"{called} {path} is empty (0 bytes): copy or export it again".strip())
    return found


def check_plain(path: Path, called: str = "", if_folder: str = "name the file") -> os.stat_result:
    """Look at a file, which may be empty, before it is opened; see `check_file`.

    Parameters
    ----------
    path, called : as there
    if_folder : what helps where it is a folder

    Raises
    ------
    InputError
        If it does not exist, is no plain file, or its name is longer than names can be.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(_missing(path, error, called, "check its name")) from error
    named = f"{called} {path}".strip()
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{named} is a folder, where a file is needed: {if_folder}")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{named} is a pipe, socket or device: copy what it gives to a plain file first")
    return found


def refuse_other(path: Path, kind: str, called: str = "") -> NoReturn:
    """Refuse a file that is of another kind than what it is opened as, which copying it again would not mend.

    Parameters
    ----------
    path : of the file, which is there
    kind : what it should be, for example "TIFF"
    called : what it is, for the message, for example "the PSF"

    Raises
    ------
    InputError
        Always; says that it is damaged where it begins with zeros, and what to do with one of a kind that is known.
    """
    named = f"{called} {path}".strip()
    with path.open("rb") as file:
        first = file.read(_FIRST_BYTES)
    if not any(first):
        raise DamagedError(f"{named} is damaged: it begins with zeros; copy or export it again")
    for beginning, advice in _BEGINNINGS:
        if first.startswith(beginning) and kind not in advice:
            raise InputError(f"{named} is no {kind} file: {advice.format(kind=kind)}")
    text = first.decode("latin-1")
    shown = f"'{text}'" if text.isascii() and text.isprintable() else f"the bytes {first.hex(' ')}"
    raise InputError(f"{named} is no {kind} file (it begins with {shown}): name another, or save it as {kind}")


def read_text(path: Path, kind: str) -> str:
    """The text of a small file.

    Parameters
    ----------
    path : of the file
    kind : what it should be, for the message, for example "recipe"

    Raises
    ------
    InputError
        If it cannot be read, is no plain file, is no text in UTF-8, or is far too long for what it should be.
    """
    called = f"the {kind}"
    size = check_file(path, called).st_size
    if size > MOST_TEXT_BYTES:
        raise InputError(f"{path} is no {kind}: it has {size:,} bytes, which is too long; check its name")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no {kind}: it is not text in UTF-8; check its name") from error
    except OSError as error:
        raise InputError(f"{called} {path} cannot be read: {error.strerror or error}") from error


@contextmanager
def parsing(what: str, advice: str) -> Iterator[None]:
    """Turn whatever a parser raises about content that it was not made for into a `DamagedError`.

    Parsers of TIFF, zarr, XML and YAML raise errors of any type on damaged files. Only calls of them belong inside, so
    that mistakes of our own are not taken for damage.

    Parameters
    ----------
    what : what is wrong, with the name of the file, for example "a.tif cannot be read as a TIFF file"
    advice : the fix

    Raises
    ------
    DamagedError
        Our own errors, and memory that runs out, pass unchanged.
    """
    try:
        yield
    except MVFusionError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise DamagedError(f"{what} ({_plainly(error)}): {advice}") from error


def _plainly(error: Exception) -> str:
    """Why content cannot be parsed, without the words of the language."""
    if isinstance(error, KeyError):
        return f"{cause_of(error).removeprefix('KeyError: ')} is missing"
    if isinstance(error, IndexError):
        return "an entry is missing"
    if isinstance(error, (TypeError, AttributeError)):
        return "an entry is of another kind than belongs there"
    return cause_of(error)


def cause_of(error: Exception) -> str:
    """What an error says, in one line of bounded length."""
    text = " ".join(str(error).split()) or "no reason given"
    text = text if len(text) <= _WORDS_OF_A_CAUSE else text[: _WORDS_OF_A_CAUSE - 1] + "…"
    # The message of a KeyError is only the key.
    return text if isinstance(error, (OSError, ValueError, RuntimeError)) else f"{type(error).__name__}: {text}"


def without_repeats(text: str) -> str:
    """A message in which very long names and paths that repeat most of an earlier one have only their two ends."""
    seen: list[str] = []

    def short(match: re.Match[str]) -> str:
        word = match[0]
        start, end = word[:_SHARED_LETTERS], word[-_SHARED_LETTERS:]
        known = any(each.startswith(start) or each.endswith(end) for each in seen)
        seen.append(word)
        return f"{word[:_END_LETTERS]}…{word[-_END_LETTERS:]}" if known else word

    return _LONG_WORD.sub(short, text)


def shortened(text: str) -> str:
    """A message for a user, without its middle where what was given makes it longer than anybody reads."""
    text = without_repeats(text)
    half = _LONGEST_MESSAGE // 2
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:half]} … {text[-half:]}"


def _missing(path: Path, error: OSError | ValueError, called: str, advice: str) -> str:
    """Why the system does not find a file, in words."""
    number = error.errno if isinstance(error, OSError) else None
    if address_of(path) is not None:
        return f"{called} {path} lies at an address: {OVER_NETWORK}".strip()
    if number == errno.ENAMETOOLONG:
        shown = str(path)[:_SHOWN_LETTERS]
        return f"{called} '{shown}…' is longer than the name of a file can be: {advice}".strip()
    named = f"{called} {path}".strip()
    link = next((place for place in (path, *path.parents) if place.is_symlink()), None)
    if number == errno.ELOOP:
        return f"{named} is a link that leads back to itself: copy what it should lead to"
    if number == errno.ENOENT and link is not None and not link.exists():
        said = named if link == path else f"{named} lies behind {link}, which"
        return f"{said} is a link to {link.readlink()}, which does not exist: copy what it should lead to"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"{named} does not exist: {advice}"
    if number == errno.EACCES:
        return f"{named} may not be read: change the permissions of it and of the folders it lies in"
    return f"{named} cannot be read ({cause_of(error)}): {advice}"
