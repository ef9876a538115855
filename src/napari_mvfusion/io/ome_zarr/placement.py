"""Where the voxels of an OME-Zarr lie: its coordinate transformations as one matrix, in micrometres where units say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Known, float_triple, is_upright, without_rounding
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.lengths import micrometres, seconds, unknown_units
from napari_mvfusion.io.ome_zarr.axes import SPACE, axes_of, units_of
from napari_mvfusion.io.ome_zarr.transforms import Load, axes_before, cannot_be_inverted, matrix_of
from napari_mvfusion.io.volume_choice import NotChosenError

_ALIKE = 1e-6
_MOST_SYSTEMS = 10_000
# How many times a registration may stretch an image: below all ratios between units that files use.
_MOST_STRETCHED = 5.0
_LONGEST_WORD = 32

Place: TypeAlias = tuple[str, str]
"""A coordinate system: the path of the group that defines it, "" for the group itself, and its name."""


@dataclass(frozen=True, eq=False)
class ZarrPlacement:
    """Where the voxels of an image lie.

    Attributes
    ----------
    size_um, origin_um : (z, y, x)
    in_um : along which of these axes that is micrometres; elsewhere no unit is named, or none that is a length
    affine_um : 4 x 4 matrix from voxel index (z, y, x, 1) to the world where it turns, shears or mirrors, else None
    steps : step along each axis that is not space, in the order of the file, seconds for time
    is_stated : whether the file says any of it
    units : of space (z, y, x) where it lies, as the file writes them
    notes : what is odd about these units, in words
    """

    size_um: FloatTriple
    origin_um: FloatTriple
    in_um: Known
    affine_um: np.ndarray | None
    steps: tuple[float, ...]
    is_stated: bool = True
    units: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class System:
    """A coordinate system: its axes by what they are, and the unit of each as the file writes it."""

    axes: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def units_of_space(self) -> tuple[str, ...]:
        """The unit along z, y and x."""
        return tuple(self.units[self.axes.index(axis)] for axis in SPACE)

    @property
    def is_physical(self) -> bool:
        """Whether its axes of space are lengths."""
        return all(micrometres(unit) is not None for unit in self.units_of_space)


@dataclass(eq=False)
class Systems:
    """Coordinate systems, and the transformations between them, of an image or of a scene with its images.

    Attributes
    ----------
    path : of the image or scene, for messages
    known : the systems
    edges : transformations: from, to, and what the metadata states
    """

    path: Path
    known: dict[Place, System] = field(default_factory=dict)
    edges: list[tuple[Place, Place, Mapping[str, Any]]] = field(default_factory=list)

    def way(self, start: Place, end: Place, load: Load) -> np.ndarray | None:
        """The matrix from a system to another along the fewest transformations, inverted ones too; None where none leads.

        Raises
        ------
        InputError
            If one on the way does not fit the axes of its systems, or cannot be inverted, or two between the same systems
            lay the same pixel at two places.
        """
        if start == end:
            return np.eye(len(self.known[start].axes) + 1)
        reached: dict[Place, np.ndarray] = {start: np.eye(len(self.known[start].axes) + 1)}
        waiting = deque([start])
        while waiting and len(reached) < _MOST_SYSTEMS:
            at = waiting.popleft()
            here: dict[Place, np.ndarray] = {}
            for other, transform, inverted in self._next(at):
                if other in reached and other not in here:
                    continue
                matrix = self._step(at, other, transform, load, inverted=inverted) @ reached[at]
                if other in here:
                    self._refuse_unlike(at, other, here[other], matrix)
                    continue
                here[other] = reached[other] = matrix
                waiting.append(other)
            if end in here:
                return here[end]
        return None

    def _refuse_unlike(self, at: Place, other: Place, first: np.ndarray, second: np.ndarray) -> None:
        """Refuse two transformations between the same systems that contradict each other."""
        if first.shape != second.shape or not np.allclose(first, second, rtol=_ALIKE, atol=_ALIKE):
            raise InputError(
                f"{self.path} has two transforms from '{called(at)}' to '{called(other)}' that contradict each other: "
                "remove the one that does not hold"
            )

    def leads(self, start: Place) -> set[Place]:
        """The systems to which transformations lead from one, forwards or backwards."""
        found, waiting = {start}, [start]
        while waiting:
            for other, _, _ in self._next(waiting.pop()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found

    def _next(self, at: Place) -> Iterator[tuple[Place, Mapping[str, Any], bool]]:
        """Systems beside one: those to which a transformation leads first."""
        yield from ((end, transform, False) for start, end, transform in self.edges if start == at)
        yield from ((start, transform, True) for start, end, transform in self.edges if end == at)

    def _matrix(self, start: Place, end: Place, transform: Mapping[str, Any], load: Load) -> np.ndarray:
        """A transformation between two systems; one of the axes of space alone leaves the others as they are."""
        before, after = self.known[start].axes, self.known[end].axes
        count = axes_before(transform)
        if count == len(SPACE) != len(before):
            inner = matrix_of(self.path, transform, count, load)
            places = [number for number, axis in enumerate(before) if axis in SPACE]
            if inner.shape == (len(SPACE) + 1, len(SPACE) + 1) and len(before) == len(after):
                matrix = np.eye(len(before) + 1)
                matrix[np.ix_(places, [*places, len(before)])] = inner[:-1]
                return matrix
            if inner.shape == (len(SPACE) + 1, len(SPACE) + 1) and len(after) == len(SPACE):
                return inner @ np.eye(len(before) + 1)[[*places, len(before)]]
        matrix = matrix_of(self.path, transform, len(before), load)
        if len(matrix) != len(after) + 1:
            raise InputError(
                f"{self.path} has a transform to '{called(end)}' that gives {len(matrix) - 1} axes, and this has "
                f"{len(after)}: save it again"
            )
        return matrix

    def _step(
        self, start: Place, end: Place, transform: Mapping[str, Any], load: Load, *, inverted: bool
    ) -> np.ndarray:
        """From a system to one beside it; a bijection says itself what leads back."""
        if not inverted:
            return self._matrix(start, end, transform, load)
        if transform["type"] == "bijection" and "inverse" in transform:
            return self._matrix(start, end, transform["inverse"], load)
        return self._inverse(self._matrix(end, start, transform, load), transform)

    def _inverse(self, matrix: np.ndarray, transform: Mapping[str, Any]) -> np.ndarray:
        if cannot_be_inverted(matrix):
            raise InputError(
                f"{self.path} has a transform of type '{transform['type']}' that cannot be inverted, as its use would need"
            )
        return np.linalg.inv(matrix)


def placement_of(
    path: Path, scales: Mapping[str, Any], level: Mapping[str, Any], wanted: str | None, load: Load
) -> ZarrPlacement:
    """Where the voxels of a level lie. Its own transforms apply first, those of the whole image after.

    Before version 0.6 the transforms of the whole image count always; since, they lead to other coordinate systems than
    that of its levels, and which one is meant has to be said where there are several in units of length.

    Parameters
    ----------
    path : of the image, for messages
    scales : the entry of "multiscales"
    level : its entry of "datasets"
    wanted : name of a coordinate system
    load : reads an array of numbers, by its path

    Raises
    ------
    InputError
        If a transform is of a kind that is not known, squeezes the volume flat, or mixes space with time or channels.
    """
    if "coordinateSystems" not in scales:
        if wanted is not None:
            raise InputError(
                f"{path} has one place and no registrations by name: leave --registration (registration=) out"
            )
        stated = scales.get("axes")
        axes = axes_of(path, stated)
        said = level.get("coordinateTransformations") or scales.get("coordinateTransformations")
        if not said and not any(units_of(stated, len(axes))):
            return not_placed(len(axes))
        matrix = to_system_of_levels(path, scales, level, len(axes), load)
        return placed(path, matrix, axes, System(axes, tuple(units_of(stated, len(axes)))))
    systems, start = systems_of(path, scales, level)
    axes = systems.known[start].axes
    matrix = to_system_of_levels(path, scales, level, len(axes), load)
    end = ("", wanted) if wanted is not None else _meant(systems, start)
    if end not in systems.known:
        raise InputError(f"{path} has no coordinate system '{wanted}': it has {_listed(systems.known)}")
    onward = systems.way(start, end, load)
    if onward is None:
        raise InputError(f"{path} has no transform to its coordinate system '{wanted}': choose another")
    said = unlike_units(path, systems.known[start], systems.known[end], end, onward)
    return placed(path, onward @ matrix, axes, systems.known[end], said)


def unlike_units(path: Path, own: System, world: System, place: Place, onward: np.ndarray) -> tuple[str, ...]:
    """A line where the unit of an image and that of the coordinate system it is brought into do not go together.

    Transforms lead from numbers to numbers, so one between different units has to convert them, as the specification has it.
    Whether it does is told by how large it makes the image.

    Parameters
    ----------
    path : of the image, or of the scene that places it
    own : the coordinate system in which the levels of the image lie
    world, place : the one into which it is brought, and its name
    onward : the matrix from the one to the other
    """
    before, after = own.units_of_space, world.units_of_space
    if before == after:
        return ()
    shown = f"{path} brings what is measured in {_units(before)} into '{called(place)}', which is in {_units(after)}"
    own_um, world_um = (np.array([micrometres(unit) or np.nan for unit in units]) for units in (before, after))
    if not np.isfinite(world_um).all():
        return (f"{shown}: the voxel size there is not known, correct the unit of '{called(place)}'",)
    if not np.isfinite(own_um).all():
        return (f"{shown}: what its transform makes of the numbers counts as {_units(after)}",)
    rows, columns = ([system.axes.index(axis) for axis in SPACE] for system in (world, own))
    stretched = np.linalg.norm(onward[np.ix_(rows, columns)] / own_um, axis=1) * world_um
    if (stretched < _MOST_STRETCHED).all() and (stretched > 1 / _MOST_STRETCHED).all():
        return ()
    times = max(stretched, key=lambda n: abs(np.log(n)))
    return (
        f"{shown}, and its transform, which should convert that, makes it {times:.1g} times as large: taken as it stands; "
        "correct the transform or the unit where that is not meant",
    )


def _units(units: Sequence[str]) -> str:
    """Units along z, y and x in words."""
    return ", ".join(f"'{unit[:_LONGEST_WORD]}'" if unit else "no unit" for unit in dict.fromkeys(units))


def not_placed(count: int) -> ZarrPlacement:
    """The placement of an array of so many axes that says nothing of it."""
    nowhere, steps = (0.0, 0.0, 0.0), (1.0,) * (count - len(SPACE))
    return ZarrPlacement((1.0, 1.0, 1.0), nowhere, (False, False, False), None, steps, is_stated=False)


def systems_of(path: Path, scales: Mapping[str, Any], level: Mapping[str, Any]) -> tuple[Systems, Place]:
    """The coordinate systems of an image of version 0.6, and the one in which its levels lie."""
    found = Systems(path, {("", str(each["name"])): system_of(path, each) for each in scales["coordinateSystems"]})
    transforms = level.get("coordinateTransformations", [])
    start = place_of(transforms[0]["output"]) if transforms and "output" in transforms[0] else next(iter(found.known))
    if start not in found.known:
        raise InputError(f"{path} is damaged: its levels lie in '{called(start)}', which is no coordinate system of it")
    for each in scales.get("coordinateTransformations", []):
        before, after = place_of(each["input"]), place_of(each["output"])
        if before in found.known and after in found.known:  # others lead to labels
            found.edges.append((before, after, each))
    return found, start


def system_of(path: Path, stated: Mapping[str, Any]) -> System:
    """A coordinate system as the metadata states it."""
    axes = axes_of(path, stated["axes"])
    return System(axes, tuple(units_of(stated["axes"], len(axes))))


def place_of(stated: Any) -> Place:
    """The coordinate system that a transform leads from or to; drafts of version 0.6 have a name in place of an object."""
    if isinstance(stated, Mapping):
        # The slash in front of an absolute path is what tells it.
        return str(stated.get("path") or "").rstrip("/"), str(stated.get("name") or "")
    return "", str(stated)


def to_system_of_levels(
    path: Path, scales: Mapping[str, Any], level: Mapping[str, Any], count: int, load: Load
) -> np.ndarray:
    """From the voxels of a level to the coordinate system of all levels, which before version 0.6 is that of the image."""
    older = [] if "coordinateSystems" in scales else scales.get("coordinateTransformations", [])
    matrix = np.eye(count + 1)
    for transform in [*level.get("coordinateTransformations", []), *older]:
        matrix = matrix_of(path, transform, count, load) @ matrix
    return matrix


def _meant(systems: Systems, start: Place) -> Place:
    """The system of the levels, where no other one is in units of length."""
    others = [each for each in systems.leads(start) - {start} if systems.known[each].is_physical]
    if not others:
        return start
    names = ", ".join(called(each) for each in (start, *sorted(others)))
    raise NotChosenError(
        f"{systems.path} has {len(others) + 1} coordinate systems: choose one with --registration, of {names} "
        "(registration=)",
        "registration",
        start[1],
    )


def placed(
    path: Path, matrix: np.ndarray, axes: Sequence[str], world: System, notes: tuple[str, ...] = ()
) -> ZarrPlacement:
    """A place as an image states it, from the matrix that leads to a coordinate system.

    Parameters
    ----------
    path : of the image, for messages
    matrix : (axes of the world + 1, axes of the image + 1)
    axes : of the image
    world : the coordinate system to which it leads
    notes : what is odd about its units, in words

    Raises
    ------
    InputError
        If it mixes space with time or channels.
    """
    units = [
        micrometres(unit) if axis in SPACE else seconds(unit)
        for axis, unit in zip(world.axes, world.units, strict=True)
    ]
    matrix = matrix.copy()
    matrix[:-1] *= np.array([1.0 if unit is None else unit for unit in units])[:, None]
    matrix[:, :-1] = without_rounding(matrix[:, :-1])
    rows = [world.axes.index(axis) for axis in SPACE]
    columns = [axes.index(axis) for axis in SPACE]
    other_rows = [index for index in range(len(world.axes)) if index not in rows]
    other_columns = [index for index in range(len(axes)) if index not in columns]
    if matrix[np.ix_(rows, other_columns)].any() or matrix[np.ix_(other_rows, columns)].any():
        raise InputError(
            f"{path} has an affine that mixes space with other axes, as where a specimen drifts: save every time point in "
            "its place, as an image of its own"
        )
    affine = np.eye(4)
    affine[:3, :3] = matrix[np.ix_(rows, columns)]
    affine[:3, 3] = matrix[rows, -1]
    z, y, x = (units[row] is not None for row in rows)
    # Where no unit is named, it is the second; a name that nobody knows is no second.
    stepping = {axis: row for row, axis in enumerate(world.axes) if units[row] is not None or not world.units[row]}
    steps = tuple(
        float(matrix[stepping[axes[index]], index]) if axes[index] in stepping else 1.0 for index in other_columns
    )
    size, origin, turned, known = upright_or_turned(affine, (z, y, x))
    words = world.units_of_space
    return ZarrPlacement(size, origin, known, turned, steps, units=words, notes=notes or unknown_units(path, words))


def upright_or_turned(affine: np.ndarray, in_um: Known) -> tuple[FloatTriple, FloatTriple, np.ndarray | None, Known]:
    """The parts of a place that `StoredVolumes` holds.

    Parameters
    ----------
    affine : 4 x 4, from voxel index (z, y, x, 1) to the world
    in_um : along which axes of the world that is micrometres

    Returns
    -------
    Voxel size and origin (z, y, x); the affine where it turns, shears or mirrors, else None; and along which axes of the
    volume the voxel size is micrometres.
    """
    affine = affine.copy()
    affine[:3, :3] = without_rounding(affine[:3, :3])
    upright = is_upright(affine)
    size = np.diag(affine)[:3] if upright else np.linalg.norm(affine[:3, :3], axis=0)
    known = in_um if upright or all(in_um) else (False, False, False)
    return float_triple(size), float_triple(affine[:3, 3]), None if upright else affine, known


def called(place: Place) -> str:
    """A coordinate system in messages and options: its name, behind the path of the group that defines it."""
    return "/".join(filter(None, place))


def _listed(places: Mapping[Place, System]) -> str:
    return ", ".join(f"'{called(place)}'" for place in places) or "none"
