"""Find out where views have no data: those that ask for it get masks, before anything is read."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from napari_mvfusion.data.events import Preparing, Statement
from napari_mvfusion.data.field_faces import Verdict, ends_abruptly
from napari_mvfusion.data.field_of_view import (
    FieldSearch,
    HullMask,
    NumberMask,
    ValueMask,
    VolumeLike,
    inside_planes,
    look_for_field,
)
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.missed_pixels import missed_beyond, planes_to_look_at
from napari_mvfusion.data.sampling import mark_covered, read_view, to_view
from napari_mvfusion.data.view import View

_MEAN_PLANES = 12
_NO_DARKNESS = 0.99
_SMALL_VOXELS = 2**24
# So many voxels beyond a face would hold something if the view had recorded there.
_FEWEST_MISSED = 60
# A view that has so many faces at which it may end is likely to be a crop; see `field_faces`.
_SEVERAL_FACES = 3


def is_no_data_known(view: View) -> bool:
    """Whether the mask of a view says all that is known of where it has data, as 0 and 1."""
    return view.no_data == "none" and not _has_number_mask(view)


def detect_no_data_of(
    views: Sequence[View], grid: Grid
) -> Generator[Preparing, None, tuple[tuple[View, ...], dict[str, str], dict[str, str]]]:
    """Give masks to views that ask for it with `View.no_data`; see `RegisteredViews.detect_no_data`.

    Parameters
    ----------
    grid : of the fused volume

    Yields
    ------
    Preparing, after each slab.

    Returns
    -------
    The views, whose masks say all that is known; what is left out of each and why, in words, by the view's name, as a
    `Statement` where it was ordered; and alike what may be no data and was not left out.
    """
    views, notes = _without_numbers(views)
    found = [FieldSearch() for _ in views]
    auto = [v for v, view in enumerate(views) if view.no_data == "auto" and view.mask is None]
    for done, v in enumerate(auto):
        search = look_for_field(views[v].data)
        while True:
            try:
                share = next(search)
            except StopIteration as end:
                found[v] = end.value
                break
            yield Preparing("looking for fields", (done + share) / len(auto))
    fields = _fields(views, found, grid)
    detected: list[View] = []
    doubts: dict[str, str] = {}
    for view, what, (known, doubtful) in zip(views, found, fields, strict=True):
        if doubtful:
            doubts[view.name] = _doubt(doubtful)
        mask: VolumeLike | None = view.mask
        if view.no_data in ("0", "nan"):
            mask = ValueMask(view.data, zero=view.no_data == "0", nan=view.no_data == "nan", also=view.mask)
            ordered = Statement(f"every {view.no_data} is taken as no data")
            before = notes.get(view.name)
            notes[view.name] = ordered if before is None else f"{ordered}; {before}"
        elif view.no_data == "auto" and view.mask is None:
            mask = known
            if what.nan_at_border:
                mask = ValueMask(view.data, nan=True, also=mask)
            if note := _note(what, known):
                notes[view.name] = note
        detected.append(replace(view, mask=mask, no_data="none"))
    return tuple(detected), notes, doubts


def _has_number_mask(view: View) -> bool:
    return view.mask is not None and np.dtype(view.mask.dtype).kind == "f"


def _without_numbers(views: Sequence[View]) -> tuple[list[View], dict[str, str]]:
    """The views, whose masks are no floating-point numbers any more, and what is to be said of NaN in them."""
    plain: list[View] = []
    notes: dict[str, str] = {}
    for view in views:
        if view.mask is None or not _has_number_mask(view):
            plain.append(view)
            continue
        mask = NumberMask(view.mask)
        if count := mask.count_nan():
            notes[view.name] = f"NaN in its mask counts as outside, like 0 ({count:,} of {prod(mask.shape):,} voxels)"
        plain.append(replace(view, mask=mask))
    return plain, notes


def _fields(views: Sequence[View], found: Sequence[FieldSearch], grid: Grid) -> list[tuple[HullMask | None, float]]:
    """The field of each view, where it ends inside the view's array; and the share of it that may lie outside as well."""
    if not any(what.faces for what in found):
        return [(None, 0.0)] * len(views)
    plain = [_plain(view) for view in views]
    known = [
        view if what.hull is None else replace(view, mask=what.hull) for view, what in zip(plain, found, strict=True)
    ]
    means = [what.mean or _sampled_mean(view, grid) for view, what in zip(plain, found, strict=True)]

    def read(box: Box) -> np.ndarray:
        block = np.empty((len(plain), *box.shape), np.float32)
        for view, out in zip(plain, block, strict=True):
            read_view(view, grid, box, out)
        return block

    def inside(box: Box) -> np.ndarray:
        block = np.ones((len(known), *box.shape), np.float32)
        for view, out in zip(known, block, strict=True):
            mark_covered(view, grid, box, out)
        return block > 0

    fields: list[tuple[HullMask | None, float]] = []
    for v, (view, what) in enumerate(zip(plain, found, strict=True)):
        to_grid = np.linalg.inv(to_view(view, grid))
        candidates = []
        for face in what.faces:
            places = (face.points @ to_grid[:3, :3].T + to_grid[:3, 3]).round().astype(int)
            half = inside_planes(face.planes, view.shape)
            beyond = round(half.outside * prod(view.shape))
            verdict = ends_abruptly(v, places, beyond, grid.shape, means, read, inside)
            if verdict != "no":
                candidates.append((face.planes, half, places, verdict))
        ends: list[tuple[np.ndarray, Verdict]] = []
        if candidates:
            at = planes_to_look_at(grid.shape, [places for _, _, places, _ in candidates])
            parts = [partial(_beyond, view, half, grid) for _, half, _, _ in candidates]
            missed = missed_beyond(v, at, grid.shape, means, read, inside, parts)
            ends = [
                (planes, verdict)
                for (planes, _, _, verdict), count in zip(candidates, missed, strict=True)
                if count > _FEWEST_MISSED
            ]
        fields.append(_field_of(view, what, ends))
    return fields


def _field_of(
    view: View, what: FieldSearch, ends: Sequence[tuple[np.ndarray, Verdict]]
) -> tuple[HullMask | None, float]:
    """The field of a view, by the faces at which it ends, or may end; and the share of it that is doubtful."""
    sure = [planes for planes, verdict in ends if verdict == "yes"]
    if len(ends) < _SEVERAL_FACES:
        ends = [(planes, verdict) for planes, verdict in ends if verdict == "yes"]
    if sure:
        # Where no pixel inside is dark, those beyond are not either: one face that is an end stands for all. And where one
        # face is an end, others that may be one are.
        every = inside_planes(np.concatenate([planes for planes, _ in ends]), view.shape)
        return (what.hull if what.filled > _NO_DARKNESS else every), 0.0
    if not ends:
        return None, 0.0
    return None, inside_planes(np.concatenate([planes for planes, _ in ends]), view.shape).outside


def _plain(view: View) -> View:
    """A view as it is in its file, without NaN, for many small boxes."""
    data = _Kept(view.data)
    mask = ValueMask(data, nan=True, also=None if view.mask is None else _Kept(view.mask))
    return replace(view, data=data, no_data="none", offset=0.0, gain=1.0, remove_hot=False, mask=mask)


class _Kept:
    """A volume of which many boxes are read: as a whole once where it is small, and else each box once for all who ask.

    Opening a box of a lazy volume takes milliseconds, and may compute far more than the box.
    """

    def __init__(self, volume: VolumeLike) -> None:
        self._volume = volume
        self.shape, self.dtype = volume.shape, volume.dtype
        whole = (slice(None),) * len(self.shape)
        self._whole: np.ndarray | None = np.asarray(volume[whole]) if prod(self.shape) <= _SMALL_VOXELS else None
        self._last: tuple[Any, np.ndarray] | None = None

    def __getitem__(self, index: Any, /) -> np.ndarray:
        if self._whole is not None:
            return np.asarray(self._whole[index])
        if self._last is None or self._last[0] != index:
            self._last = index, np.asarray(self._volume[index])
        return self._last[1]


def _beyond(view: View, half: HullMask, grid: Grid, box: Box) -> np.ndarray:
    """What of a box lies in the array of a view and not inside some planes, bool."""
    whole, inner = np.ones(box.shape, np.float32), np.ones(box.shape, np.float32)
    mark_covered(view, grid, box, whole)
    mark_covered(replace(view, mask=half), grid, box, inner)
    return np.asarray((whole > 0) & (inner == 0))


def _sampled_mean(view: View, grid: Grid) -> float:
    """Brightness of a view where it has data, from some planes."""
    depth, height, width = grid.shape
    light, amount = 0.0, 0
    for z in np.unique(np.linspace(0, depth - 1, min(depth, _MEAN_PLANES)).astype(int)):
        plane = Box((int(z), 0, 0), (int(z) + 1, height, width))
        values, covered = np.empty(plane.shape, np.float32), np.ones(plane.shape, np.float32)
        read_view(view, grid, plane, values)
        mark_covered(view, grid, plane, covered)
        light += float(values.sum(dtype=np.float64))
        amount += int(np.count_nonzero(covered))
    return light / amount if amount else 0.0


def _doubt(share: float) -> str:
    """What is said of a view of which this share of the voxels may be no data, and counts as dark."""
    return (
        f"{share:.0%} of its voxels are 0 beyond flat faces, where others still show some light: the outside of its field, "
        "or the dark round a specimen"
    )


def _note(found: FieldSearch, field: HullMask | None) -> str:
    """What was recognised about a view, in a line; empty where there is nothing."""
    parts = []
    zeros = 0.0 if field is None else field.outside - found.nan / prod(field.shape)
    if zeros > 0:
        parts.append(f"{zeros:.{0 if zeros >= 0.01 else 1}%} of its voxels are 0 outside its field")
    if found.nan_at_border:
        parts.append(f"{found.nan} of its voxels are NaN")
    if not parts:
        return ""
    return f"{' and '.join(parts)}; they are taken as no data and left to the other views"
