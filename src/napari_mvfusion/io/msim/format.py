"""The msim zarr of multiview-stitcher among the formats: one is a volume, and a folder of them a project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Format, ProjectContents, StoredVolumes, ViewListing
from napari_mvfusion.io.members import Member, called_by, describe_members, open_members
from napari_mvfusion.io.msim.reader import is_msim, levels_of, open_msim, registrations_of
from napari_mvfusion.io.ome_zarr.zipped_store import SUFFIXES
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice
from napari_mvfusion.system.file_checks import is_folder

_MOST_VIEWS = 10_000


class MSim(Format):
    """Views of multiview-stitcher, one a folder."""

    name: ClassVar[str] = "msim zarr of multiview-stitcher"
    suffixes: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True
    has_addresses: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By what lies in the folder, however it is called."""
        return is_msim(path)

    def open(self, path: Path) -> StoredVolumes:
        """Look at one; see `open_msim`."""
        return open_msim(path, VolumeChoice())

    def open_at(self, path: Path, at: VolumeChoice) -> StoredVolumes:
        """Look at one at a level, in the place of a registration; see `open_msim`."""
        return open_msim(path, at)


class MSimFolder(Format):
    """Folders of such views."""

    name: ClassVar[str] = "folder of msim zarrs"
    suffixes: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True
    is_project: ClassVar[bool] = True
    own_psfs: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By the folders that lie in it."""
        return is_folder(path) and not is_msim(path) and next(_in(path), None) is not None

    def open(self, path: Path) -> StoredVolumes:
        """Say that a folder of views is no single volume.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"{path} is a folder of {len(list(_in(path)))} views, where one volume is needed: name one of them"
        )

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open its views; they have no PSFs of their own. See `open_members`."""
        del clean
        return open_members(path, _members(path), choice)

    def describe(self, path: Path) -> ProjectContents:
        """What it holds; see `describe_members`."""
        views = sorted(_in(path))
        names = dict.fromkeys(name for view in views for name in registrations_of(view))
        return describe_members(
            path,
            _members(path),
            kept="msim zarrs of multiview-stitcher",
            registrations=tuple(names),
        )

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """Its views, and the levels that all of them have; see `Format.list_views`."""
        return replace(super().list_views(path, choice), levels=min(map(levels_of, _in(path))))


def _in(path: Path) -> Iterator[Path]:
    """The msim zarrs in a folder."""
    try:
        # A folder of a series holds thousands of files, none of which has to be looked into.
        with os.scandir(path) as inside:
            names = [each.name for each in inside if each.is_dir() or each.name.lower().endswith(SUFFIXES)]
    except OSError as error:
        raise InputError(f"the folder {path} cannot be read: {error.strerror or error}") from error
    found = [path / name for name in names if not name.startswith(".")]
    return (child for child in found[:_MOST_VIEWS] if is_msim(child))


def _members(path: Path) -> list[Member]:
    return [Member(called_by(view), partial(open_msim, view)) for view in sorted(_in(path))]
