"""Projects of BigDataViewer and BigStitcher among the formats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Format, ProjectContents, StoredVolumes, ViewListing
from napari_mvfusion.io.bdv.listing import list_project_views
from napari_mvfusion.io.bdv.project_file import is_project_name, read_project
from napari_mvfusion.io.bdv.reader import open_project_views
from napari_mvfusion.io.bdv.summary import describe_project
from napari_mvfusion.io.volume_choice import ProjectChoice
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
        """Say that a project is no single volume.

        Raises
        ------
        InputError
            Always; or what is wrong with the project.
        """
        count = len(read_project(path).setups)
        raise InputError(
            f"{path} is a project of {count} {'view' if count == 1 else 'views'}, where one volume is needed: name a file "
            "of one volume"
        )

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open views of a project; see `open_project_views`."""
        return open_project_views(path, choice, clean=clean)

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """The views of a project; see `list_project_views`."""
        return list_project_views(path, choice)

    def describe(self, path: Path) -> ProjectContents:
        """What a project holds; see `describe_project`."""
        return describe_project(path)
