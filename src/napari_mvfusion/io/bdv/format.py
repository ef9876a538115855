"""Projects of BigDataViewer and BigStitcher among the formats, and folders with one of a fused volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Format, ProjectContents, StoredVolumes, ViewListing
from napari_mvfusion.io.bdv.listing import list_project_views
from napari_mvfusion.io.bdv.project_file import is_project_name, projects_in, read_project, says_project
from napari_mvfusion.io.bdv.reader import open_project_views
from napari_mvfusion.io.bdv.single_volume import open_single
from napari_mvfusion.io.bdv.summary import describe_project
from napari_mvfusion.io.bdv.writer import PROJECT, RECIPE, damaged_level, write_bdv
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice
from napari_mvfusion.system.file_checks import is_folder


class BDVProject(Format):
    """Projects of BigDataViewer and BigStitcher."""

    name: ClassVar[str] = "BDV project"
    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    is_project: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By its ending, also that of a backup."""
        return is_project_name(path) and not is_folder(path)

    def open(self, path: Path) -> StoredVolumes:
        """Open a project of one volume; see `open_single`."""
        return open_single(path, read_project(path))

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open views of a project; see `open_project_views`."""
        return open_project_views(path, choice, clean=clean)

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """The views of a project; see `list_project_views`."""
        return list_project_views(path, choice)

    def describe(self, path: Path) -> ProjectContents:
        """What a project holds; see `describe_project`."""
        return describe_project(path)


class BDVProjectFolder(BDVProject):
    """Folders in which a project lies, whatever else lies there."""

    name: ClassVar[str] = "folder of a BDV project"
    suffixes: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By the projects that lie in it."""
        return bool(projects_in(path))

    def open(self, path: Path) -> StoredVolumes:
        """Open the project as one volume; see `open_single`."""
        return super().open(_the_project(path))

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open views of the project, and say that it is meant by the folder; see `open_project_views`."""
        project = _the_project(path)
        views = super().open_project(project, choice, clean=clean)
        said = Statement(f"{path} opens as the project in it, {project.name}")
        return RegisteredViews(views.views, views.grid, remarks=[said, *views.remarks])

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """The views of the project; see `list_project_views`."""
        return super().list_views(_the_project(path), choice)

    def describe(self, path: Path) -> ProjectContents:
        """What the project holds; see `describe_project`."""
        return super().describe(_the_project(path))


def _the_project(folder: Path) -> Path:
    """The project of a folder.

    Raises
    ------
    InputError
        If there are several, or the only one is damaged beyond being known as a project.
    """
    found = projects_in(folder)
    if len(found) != 1:
        named = " or ".join(str(file) for file in found[:2])
        raise InputError(f"{folder} holds {len(found)} BDV projects: name one of them, as {named}")
    (project,) = found
    if not says_project(project):
        try:
            read_project(project)
        except InputError as error:
            raise InputError(
                f"{error}; without it the files in {folder} would be fused without its registrations: name the files "
                "themselves where that is meant"
            ) from error
    return project


class BDVFolder(Format):
    """Folders with a project of one volume, as results are written: `fused.bdv/dataset.xml`."""

    name: ClassVar[str] = "BDV folder"
    suffixes: ClassVar[tuple[str, ...]] = (".bdv",)
    is_folder: ClassVar[bool] = True
    written: ClassVar[str] = "BDV project"
    new_suffix: ClassVar[str] = ".bdv"

    def open(self, path: Path) -> StoredVolumes:
        """Open the project of a folder; see `open_single`."""
        return open_single(path, read_project(path / PROJECT), path / RECIPE)

    def open_views(self, path: Path, at: VolumeChoice) -> RegisteredViews:
        """Say that there is one volume, and no views.

        Raises
        ------
        InputError
            Always; or what is wrong with the folder.
        """
        self.open_at(path, at)
        raise InputError(
            f"{path} holds one volume, and no views: name the files of views, or {path / PROJECT} as a project of one view"
        )

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write a folder with a project; see `write_bdv`."""
        kind = self.kept_as(how.get("dtype") or data.dtype)
        write_bdv(path, data, grid, **(how | {"dtype": kind.name}))

    def kept_as(self, dtype: Any) -> np.dtype[Any]:
        """As they are, but for yes and no, and numbers of half precision."""
        kind = super().kept_as(dtype)
        others = {"bool": np.uint8, "float16": np.float32}
        return np.dtype(others.get(kind.name, kind))

    def flaw(self, path: Path) -> str:
        """Whether the coarser levels are made of the pixels; see `Format.flaw`."""
        level = damaged_level(path)
        return "" if level is None else f"its coarser level {level} is not made of its voxels"
