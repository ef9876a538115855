"""A project of BigDataViewer or BigStitcher as values: its views, where they lie, its boxes and PSFs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from xml.etree.ElementTree import Element

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, FloatTriple, Known, Triple

ViewId: TypeAlias = tuple[int, int]
"""Time point and setup, by the numbers that the project gives them."""

KINDS = ("angle", "illumination", "tile", "channel")
"""What a setup has one of each."""

OWN_TAG = "MVFusion"
"""The element of the XML that only this package writes and reads."""


@dataclass(frozen=True)
class NamedPart:
    """An angle, illumination, tile or channel: its number and name, and the degrees of an angle where they are said."""

    number: int
    name: str
    degrees: float | None = None

    def __str__(self) -> str:
        return str(self.number) if self.name == str(self.number) else f"{self.number} ({self.name})"


@dataclass(frozen=True)
class ViewSetup:
    """What is recorded at every time point in one way.

    Attributes
    ----------
    number : by which all else names it
    name : as the project calls it, often ""
    shape : voxels (z, y, x), None where the project does not say
    voxel_size : (z, y, x) in `unit`, None where the project does not say
    unit : as it stands there
    parts : number of its angle, illumination, tile and channel, where it has one
    """

    number: int
    name: str
    shape: Triple | None
    voxel_size: FloatTriple | None
    unit: str
    parts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class ViewTransform:
    """One of the transforms of a view: its name, and 3 x 4 numbers in (x, y, z), as they stand in the file."""

    name: str
    matrix: np.ndarray


@dataclass(frozen=True)
class NamedBox:
    """A box that was defined in BigStitcher: world units (z, y, x), first and last both inside."""

    name: str
    first: Triple
    last: Triple


@dataclass(frozen=True)
class StoredPath:
    """A path as it stands in the file, and whether it counts from the folder of the project."""

    text: str
    relative: bool


@dataclass(frozen=True)
class OwnWords:
    """What a project that this package has written says beside what all projects say.

    Attributes
    ----------
    world_unit_um : what one unit of its world is, None where it does not say
    known : along which axes (z, y, x) anybody said the voxel size
    time_step : seconds from one time point to the next
    """

    world_unit_um: float | None = None
    known: Known = ALL_KNOWN
    time_step: float = 1.0


@dataclass(frozen=True, eq=False)
class Project:
    """A project of BigDataViewer or BigStitcher.

    Attributes
    ----------
    path : the XML file
    base : where relative paths count from
    loader : the element that says where pixels are
    setups : by their numbers
    timepoints : names of the time points by their numbers, in order
    parts : angles, illuminations, tiles and channels by their numbers
    missing : views that were not recorded
    transforms : of each view; the last one meets its pixels first
    boxes : by their names
    adjustments : scale and offset that bring a view to the brightness of the others
    psfs : name of the file or dataset of a view's PSF
    own : what only projects of this package say
    """

    path: Path
    base: StoredPath
    loader: Element
    setups: Mapping[int, ViewSetup]
    timepoints: Mapping[int, str]
    parts: Mapping[str, Mapping[int, NamedPart]]
    missing: frozenset[ViewId]
    transforms: Mapping[ViewId, tuple[ViewTransform, ...]]
    boxes: Mapping[str, NamedBox]
    adjustments: Mapping[ViewId, tuple[float, float]] = field(default_factory=dict)
    psfs: Mapping[ViewId, str] = field(default_factory=dict)
    own: OwnWords = OwnWords()

    def part(self, kind: str, setup: ViewSetup) -> NamedPart | None:
        """The angle, illumination, tile or channel of a setup, None where it has none."""
        number = setup.parts.get(kind)
        if number is None:
            return None
        return self.parts.get(kind, {}).get(number, NamedPart(number, str(number)))

    def used(self, kind: str) -> list[NamedPart]:
        """The angles, illuminations, tiles or channels of all setups, in order of their numbers."""
        found = {part.number: part for s in self.setups.values() if (part := self.part(kind, s)) is not None}
        return [found[number] for number in sorted(found)]

    def views(self, timepoint: int) -> list[ViewId]:
        """The views that were recorded at a time point, in order of their setups."""
        return [(timepoint, setup) for setup in self.setups if (timepoint, setup) not in self.missing]


def stored_path(element: Element) -> StoredPath:
    """The path that an element holds."""
    return StoredPath((element.text or "").strip(), element.get("type") == "relative")
