"""Formats whose files hold one image or several, which are named by number: `views.lif:2` is the third one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.volume_choice import SeveralImagesError

_SHOWN = 3
# A colon cannot be part of a name in Windows, and a number after it is seldom one elsewhere.
_NAMED = re.compile(r"(?P<file>.+):(?P<image>\d{1,6})", re.DOTALL)


class NumberedImages(Format):
    """A format of one file, in which an image may be named by its number."""

    def split(self, path: Path) -> tuple[Path, int | None]:
        """A file, and which of its images is named, counted from 0; None where none is."""
        named = _NAMED.fullmatch(str(path))
        if named is None or not named["file"].lower().endswith(self.suffixes) or path.is_file():
            return path, None
        return Path(named["file"]), int(named["image"])

    def place(self, path: Path) -> Path:
        """The file, without the number of an image in it."""
        return self.split(path)[0]

    def elsewhere(self, path: Path, place: Path) -> Path:
        """The image of the same number in another file."""
        number = self.split(path)[1]
        return place if number is None else Path(f"{place}:{number}")

    def recognises(self, path: Path) -> bool:
        """By its ending, also where an image is named."""
        return super().recognises(self.place(path))


def choose_image(file: Path, number: int | None, described: Sequence[str]) -> int:
    """The image of a file that is meant.

    Parameters
    ----------
    file : the file
    number : what is named, counted from 0; None for the only one
    described : every image that there is, in a few words, at least one

    Raises
    ------
    InputError
        If there is none of that number; a `SeveralImagesError` where there are several and none is named.
    """
    count = len(described)
    if number is None and count > 1:
        names = [Path(f"{file}:{index}") for index in range(count)]
        shown = " or ".join(f"{name} ({words})" for name, words in zip(names[:_SHOWN], described, strict=False))
        more = f" (there are {count})" if count > _SHOWN else ""
        raise SeveralImagesError(f"{file} holds several images: name one of them, as {shown}{more}", names)
    if number is not None and number >= count:
        raise InputError(f"{file} holds {count} images, counted from 0: {file}:{number} is not there")
    return number or 0
