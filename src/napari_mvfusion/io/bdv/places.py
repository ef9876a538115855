"""Where the files of a project are: inside its own folder, unless its user has allowed more."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.project import Project, StoredPath
from napari_mvfusion.io.volume_choice import OutsideError

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


@dataclass(frozen=True)
class Places:
    """Finds the files that a project names.

    Attributes
    ----------
    project : the project
    outside : whether they may lie outside of the folder of its XML file
    """

    project: Project
    outside: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the XML file."""
        return self.project.path.parent

    def find(self, stored: StoredPath) -> Path:
        """The file or folder that is meant, whether it exists or not.

        Raises
        ------
        InputError
            If it lies on the network, or outside of the project without leave.
        """
        below = self._plain(self.project.base, self.folder)
        return self.checked(self._plain(stored, below))

    def below(self, folder: Path, name: str) -> Path:
        """What a name in the file means below a folder of the project.

        Raises
        ------
        InputError
            As `find`.
        """
        return self.checked(self._plain(StoredPath(name.strip("/"), True), folder))

    def checked(self, path: Path) -> Path:
        """The path itself, after a look at where it leads, also by links.

        Raises
        ------
        InputError
            If it leads outside of the project without leave.
        """
        if self.outside:
            return path
        inside = Path(os.path.realpath(self.folder))
        meant = Path(os.path.realpath(path))
        if not meant.is_relative_to(inside):
            # What the path itself hides: a link, of its own or on the way.
            by_link = Path(os.path.normpath(path.absolute())).is_relative_to(os.path.normpath(self.folder.absolute()))
            shown = f"{path}, which is a link to {meant}" if by_link else str(path)
            raise OutsideError(
                f"{self.project.path} leads to {shown}, outside of its own folder, which is not followed unasked: if these "
                "are its pixels or PSFs, allow it with --outside (outside=True)",
                path,
            )
        return path

    def _plain(self, stored: StoredPath, below: Path) -> Path:
        """The path on this machine that a path of the file stands for."""
        text = stored.text
        if "\0" in text or not text:
            raise InputError(f"{self.project.path} is damaged: a path in it is {'empty' if not text else 'no path'}")
        if _DRIVE.match(text) and os.name != "nt":
            raise InputError(
                f"{self.project.path} leads to {text}, which is a path of Windows: put the files beside it, and make the "
                "path relative (in BigStitcher: save the project there)"
            )
        if "://" in text or text.startswith("file:"):
            parts = urlsplit(text)
            if parts.scheme != "file":
                raise InputError(
                    f"{self.project.path} keeps its pixels on the network ({text[:80]}), where they are not read: copy "
                    "them, or re-save the project as N5, HDF5 or OME-Zarr on a disk"
                )
            text = unquote(parts.path)
        named = Path(text.replace("\\", "/"))
        return Path(os.path.normpath(below / named))  # an absolute one stays as it is
