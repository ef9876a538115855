"""Samples from the user's own views: blocks of them in memory, some tiles of which are never trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.provenance import psf_sha256
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.residuals import estimate_noise
from napari_mvfusion.methods.base import TileInput
from napari_mvfusion.methods.cells import FILTER_MARGIN
from napari_mvfusion.methods.cellwise_filter import CellwiseFilter, transmission_for
from napari_mvfusion.methods.filter_input import brightness_scale
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.psf import crop_psf
from napari_mvfusion.psf.usable import psf_of
from napari_mvfusion.training.config import DataSettings, TrainConfig
from napari_mvfusion.training.held_out import CELL, Split, check_blocks, split_tiles
from napari_mvfusion.training.memory_fallback import least_side
from napari_mvfusion.training.noise_splitting import expected_light, split_noise
from napari_mvfusion.training.resimulation import Resimulated, fit_transmissions, generate, resimulate
from napari_mvfusion.training.training_events import Waiting
from napari_mvfusion.training.training_samples import (
    TRIES,
    Recording,
    TrainingSample,
    TrainingVolume,
    arrays_of,
    cut_at_random,
    ends,
    part_of,
    rather_bright,
)

_LEAST_COVERED = 1e-6
# The coarse pass looks at every eighth plane, averaged over cells of 4 x 4 voxels.
_PLANES = 8
_FIRST_STREAM = 3
_SPLIT_STREAM = 6
_RESIMULATION_STREAM = 7


@dataclass(frozen=True, eq=False)
class Block:
    """A part of one of the volumes.

    Attributes
    ----------
    volume : index of the volume
    box : voxels of its grid; begins at multiples of 4
    """

    volume: int
    box: Box


class OwnViews:
    """Tiles of registered views, as a source of samples.

    Small volumes, or regions, are held whole. Large ones are represented by informative blocks; each is read with the
    surroundings that the filter needs, and divided by the brightness of its whole volume, so that a network sees
    in training what it sees when it fuses. Which tiles a step draws depends on seed and step alone.

    Parameters
    ----------
    config : of the training run
    views : one or several volumes or time points, each with PSFs; for the paper's networks in the order of the channels
    device : where samples go, and where the estimates are computed
    start : the network that training starts from, of the architecture of the configuration; None takes the filtered
        image for what it generates
    """

    def __init__(
        self,
        config: TrainConfig,
        views: Sequence[RegisteredViews],
        device: torch.device,
        start: Network | None = None,
    ) -> None:
        self._config = config
        self._start = start
        self._given = tuple(views)
        # No network can learn anything from a hot pixel, and a score would be about nothing else.
        self._views = tuple(each.without_hot() for each in views)
        self._device = device
        self._tile, self._batch = config.tile, config.batch
        self.recordings = tuple(describe_psfs(each, config.weights.energy) for each in views)
        for each, recording in zip(views, self.recordings, strict=True):
            check_tile(recording, config.tile)
            region_of(each, config.data)
        self._volumes: list[TrainingVolume] = []
        self._noise_splits: list[list[TrainingVolume]] = []
        self._resimulated: list[list[Resimulated]] = []
        self._split: Split | None = None

    @property
    def split(self) -> Split:
        """Which tiles are held out; known once `begin` is done."""
        assert self._split is not None
        return self._split

    @property
    def volumes(self) -> Sequence[TrainingVolume]:
        """The blocks that are held in memory; known once `begin` is done."""
        return self._volumes

    def identity(self) -> tuple[str, ...]:
        """Hashes of pixels and PSFs, and where views have data."""
        found = []
        for views in self._given:
            for view, numbers in zip(views.views, views.statistics(), strict=True):
                assert view.psf is not None
                placed = "" if view.affine is None else str(np.asarray(view.affine).tolist())
                words = [view.name, numbers.sha256, psf_sha256(view.psf), f"{view.weight:g} {view.offset:g}", placed]
                words += [f"gain {view.gain:g}"] if view.gain != 1 else []
                found.append(hashlib.sha256("|".join(words).encode()).hexdigest())
        return tuple(found)

    def begin(self, step: int) -> Generator[Waiting, None, None]:
        """Choose the blocks and read them, whatever the step."""
        del step
        blocks: list[Block] = []
        for index, views in enumerate(self._views):
            blocks += yield from self._blocks_of(index, views)
        check_blocks([block.box.shape for block in blocks], self._config.tile)
        noise: dict[int, tuple[Noise, ...]] = {}
        for done, block in enumerate(blocks):
            yield Waiting("preparing the views", done / len(blocks))
            views = self._views[block.volume]
            if block.volume not in noise:
                # The first block of a volume is its most informative one.
                part = views.region(block.box, views.statistics())
                noise[block.volume] = tuple(estimate_noise(part, v) for v in range(len(views)))
            result = yield from self._read(block, noise[block.volume])
            self._resimulated.append([])
            if self._config.resimulates:
                assert result is not None
                turn = len(set(self._config.tile)) == 1
                number, volume, architecture = len(self._volumes) - 1, self._volumes[-1], self._config.architecture
                for copy in range(self._config.data.copies):
                    yield Waiting("resimulating the result", done / len(blocks))
                    rng = np.random.default_rng([self._config.seed, _RESIMULATION_STREAM, number, copy])
                    self._resimulated[-1].append(resimulate(result, volume, architecture, rng, self._device, turn=turn))
        guides = [_seen_mean(volume.arrays["views"], volume.arrays.get("coverage")) for volume in self._volumes]
        self._split = split_tiles(guides, self._config.tile, self._config.validation)
        yield Waiting("preparing the views", 1.0)

    def draw(self, step: int) -> list[TrainingSample]:
        """The samples of a step."""
        rng = np.random.default_rng([self._config.seed, _FIRST_STREAM, step])
        turn = isinstance(self._config.architecture, UniversalArchitecture)
        drawn = []
        for _ in range(self._batch):
            block, corner = self._place(rng)
            splits = self._noise_splits[block]
            volume = splits[rng.integers(len(splits))] if splits else self._volumes[block]
            sample = self._cut(volume, corner, rng, turn=turn)
            block, corner = self._place(rng)
            if resimulated := self._resimulated[block]:
                found = resimulated[rng.integers(len(resimulated))]
                place = found.corner(corner, self._tile)
                sample = replace(sample, example=self._cut(found.volume, place, rng, turn=turn))
            drawn.append(sample)
        return drawn

    def _place(self, rng: np.random.Generator) -> tuple[int, Triple]:
        """A random block and corner, rather a bright one."""
        tries = rng.integers(0, len(self.split.corners), TRIES)
        block, *corner = self.split.corners[tries[rather_bright(self.split.light[tries], rng)]]
        return int(block), triple(corner)

    def _cut(self, volume: TrainingVolume, corner: Triple, rng: np.random.Generator, *, turn: bool) -> TrainingSample:
        return cut_at_random(volume, corner, self._tile, rng, self._device, turn=turn)

    def least_tile(self) -> Triple:
        """The smallest tile in which the blur with every PSF is known somewhere."""
        psfs = [psf.shape for recording in self.recordings for psf in recording.psfs]
        return triple(least_side(max(shape[axis] for shape in psfs)) for axis in range(3))

    def shrink(self, tile: Triple, batch: int) -> None:
        """From now on draw smaller tiles, at the corners of the larger ones, and so many a step.

        A smaller tile lies inside the larger one at its corner, so it touches nothing that is held out either.
        """
        self._tile, self._batch = tile, batch

    def validation(self) -> list[TrainingVolume]:
        """The tiles that are held out."""
        found: list[TrainingVolume] = []
        for block, box in self.split.held_out:
            tile = part_of(self._volumes[block], box)
            if splits := self._noise_splits[block]:
                tile = replace(tile, noise_split=part_of(splits[len(found) % len(splits)], box))
            found.append(tile)
        return found

    def close(self) -> None:
        """Forget the blocks."""
        self._volumes.clear()
        self._noise_splits.clear()
        self._resimulated.clear()

    def _blocks_of(self, index: int, views: RegisteredViews) -> Generator[Waiting, None, list[Block]]:
        """The blocks of a volume, the most informative one first."""
        settings = self._config.data
        region = region_of(views, settings)
        if region.size <= settings.whole_below:
            return [Block(index, region)]
        candidates = blocks_in(region, settings.side)
        detail = []
        for done, box in enumerate(candidates):
            yield Waiting("looking for informative blocks", done / len(candidates))
            detail.append(_detail(views, box))
        best = np.argsort(-np.array(detail), kind="stable")[: settings.blocks]
        return [Block(index, candidates[int(i)]) for i in best]

    def _read(self, block: Block, noise: tuple[Noise, ...]) -> Generator[Waiting, None, np.ndarray | None]:
        """Read a block as the network reads it, with what is known of how it was recorded.

        Returns
        -------
        What the start makes of it, float32 (z, y, x) in the network's brightness, where that is needed.
        """
        views, settings, weights = self._views[block.volume], self._config.data, self._config.weights
        reading = _Reading(self._config.architecture, views, block.box, self._device)
        whole = reading.arrays(reading.pixels)
        scale = reading.scale
        arrays = {name: values[reading.inner].copy() for name, values in whole.items()}
        covered = views.coverage(block.box)
        if covered is not None:
            arrays["coverage"] = covered.astype(np.float16)
        known = self.recordings[block.volume]
        scaled = tuple(Noise(n.gain / scale, n.read_variance / scale**2) for n in noise)
        low, high = ends(arrays["views"])
        volume = TrainingVolume(arrays, high - low, scale, Recording(known.names, known.psfs, scaled))
        result = None
        if self._config.asks_start:
            yield Waiting("looking at what the start makes of the views", 0.0)
            result = self._result(volume, views, block.box)
        if weights.gains == "attenuation":
            arrays["fitted_transmission"] = (
                arrays["transmission"] if "transmission" in arrays else np.ones_like(arrays["views"])
            )
        elif result is not None:
            arrays["fitted_transmission"] = fit_transmissions(result, volume, self._device).astype(np.float16)
        number = len(self._volumes)
        self._volumes.append(volume)
        self._noise_splits.append([])
        if weights.likelihood != "split":
            return result
        light = whole["blurred"].astype(np.float32) if "blurred" in whole else expected_light(whole["views"])
        given = {"expected": light[reading.inner].astype(np.float16)}
        given |= {name: arrays[name] for name in ("coverage", "fitted_transmission") if name in arrays}
        for copy in range(settings.copies):
            yield Waiting("splitting the noise", copy / settings.copies)
            rng = np.random.default_rng([self._config.seed, _SPLIT_STREAM, number, copy])
            read, split_target = split_noise(reading.pixels / np.float32(scale), light, scaled, rng)
            split = {
                name: values[reading.inner].copy() for name, values in reading.arrays(read * np.float32(scale)).items()
            }
            split |= given | {"split_target": split_target[reading.inner].astype(np.float16)}
            self._noise_splits[number].append(replace(volume, arrays=split))
        return result

    def _result(self, volume: TrainingVolume, views: RegisteredViews, box: Box) -> np.ndarray:
        """What the start makes of a block, in the network's brightness."""
        if self._start is not None:
            return generate(self._start, volume, self._device)
        if "estimate" in volume.arrays:
            return volume.arrays["estimate"].astype(np.float32)
        reading = _Reading(UniversalArchitecture(), views, box, self._device)
        estimate = reading.arrays(reading.pixels)["estimate"][reading.inner].astype(np.float32)
        return estimate * np.float32(reading.scale / volume.scale)


class _Reading:
    """A block with the surroundings that the filter needs, as a network reads it.

    Attributes
    ----------
    pixels : float32 (view, z, y, x), of the block with its surroundings
    inner : the block within them
    scale : brightness that counts as 1
    """

    def __init__(self, architecture: Architecture, views: RegisteredViews, box: Box, device: torch.device) -> None:
        self._device = device
        self._cellwise: CellwiseFilter | None = None
        statistics = views.statistics()
        wide = box
        if isinstance(architecture, UniversalArchitecture):
            wide = box.grow((FILTER_MARGIN,) * 3).clip(views.grid.shape)
            self.scale = brightness_scale(statistics)
            transmission = transmission_for(views, architecture)
            part = views.region(wide, statistics)
            self._cellwise = CellwiseFilter(part, architecture, self.scale, device, transmission)
        else:
            self.scale = max(numbers.maximum for numbers in statistics)
        self.inner = (..., *box.inside(wide).slices)
        self.pixels = views.read(wide)
        self._covered = views.coverage(wide)
        self._whole = Box.whole(wide.shape)

    def arrays(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What a network reads of these pixels, float16, with the surroundings."""
        if self._cellwise is None:
            return {"views": (pixels / np.float32(self.scale)).astype(np.float16)}
        covered = None if self._covered is None else torch.from_numpy(self._covered).to(self._device)
        values = torch.from_numpy(pixels).to(self._device)
        return arrays_of(
            self._cellwise.network_input(self._whole, TileInput(self._whole, self._whole, values, covered, None, None))
        )


def scan_all(views: Sequence[RegisteredViews]) -> Generator[Waiting, None, None]:
    """Look once at every pixel of several volumes: their statistics, which are kept.

    Raises
    ------
    InputError
        If a pixel is NaN, infinite or negative, or a view is constant or has no data.
    """
    for index, each in enumerate(views):
        for event in each.scan():
            yield Waiting("looking at the views", (index + event.fraction) / len(views))
        for view, numbers in zip(each.views, each.statistics(), strict=True):
            if numbers.minimum == numbers.maximum:
                raise InputError(
                    f"{view.label} has the value {numbers.minimum:g} everywhere: leave it out, or check its file"
                )
            if numbers.minimum < 0:
                raise InputError(
                    f"{view.label} has negative values (down to {numbers.minimum:g}), but light cannot be negative: "
                    "set its camera offset to the value of dark pixels"
                )


def describe_psfs(views: RegisteredViews, energy: float) -> Recording:
    """The PSFs of views, cut to a share of their energy and brought to sum 1; noise is yet unknown.

    Raises
    ------
    InputError
        If a view has no PSF.
    """
    psfs = []
    for view in views.views:
        cropped = crop_psf(np.maximum(psf_of(view, "training on views"), 0), energy)
        psfs.append(np.ascontiguousarray(cropped / cropped.sum(dtype=np.float64), np.float32))
    return Recording(views.names, tuple(psfs), (Noise(0.0, 0.0),) * len(views))


def check_tile(recording: Recording, tile: Triple) -> None:
    """Check that the blur of a tile is known somewhere in it.

    Raises
    ------
    InputError
        If a PSF is as large as the tile; names both.
    """
    for name, psf in zip(recording.names, recording.psfs, strict=True):
        if any(n <= k for n, k in zip(tile, psf.shape, strict=True)):
            raise InputError(
                f"the PSF of view '{name}' spans {' x '.join(map(str, psf.shape))} voxels, so nothing of the blur of a tile "
                f"of {' x '.join(map(str, tile))} is known: choose a larger tile, or a lower weights.energy to cut the PSF"
            )


def region_of(views: RegisteredViews, settings: DataSettings) -> Box:
    """The region of a volume that is trained on; it begins at multiples of 4, as blocks do in the engine.

    Raises
    ------
    InputError
        If it leaves the volume.
    """
    if settings.start is None or settings.stop is None:
        return views.grid.box
    start = triple(a // CELL * CELL for a in settings.start)
    if any(a < 0 or b > n or b <= a for a, b, n in zip(start, settings.stop, views.grid.shape, strict=True)):
        raise InputError(
            f"the region {settings.start} to {settings.stop} does not lie in the volume of {views.grid.shape}: "
            "give voxels (z, y, x) inside it"
        )
    return Box(start, settings.stop)


def blocks_in(region: Box, side: int) -> list[Box]:
    """Cut a region into even blocks of at most `side` voxels a side, each of which begins at multiples of 4."""
    sides = triple(min(CELL * ceil(n / ceil(n / side) / CELL), n) for n in region.shape)
    return [
        Box(
            triple(a + o for a, o in zip(part.start, region.start, strict=True)),
            triple(b + o for b, o in zip(part.stop, region.start, strict=True)),
        )
        for part in TilePlan(region.shape, sides).boxes
    ]


def _seen_mean(values: np.ndarray, covered: np.ndarray | None) -> np.ndarray:
    """Mean over the views that have data, float32 (z, y, x); 0 where none has.

    Parameters
    ----------
    values : (view, z, y, x), anything finite where a view has no data
    covered : the same shape, 1 where it has, or None where every view has everywhere
    """
    if covered is None:
        return np.asarray(values.mean(axis=0, dtype=np.float32))
    light = np.einsum("vzyx,vzyx->zyx", values, covered, dtype=np.float32)
    return np.asarray(light / np.maximum(covered.sum(axis=0, dtype=np.float32), _LEAST_COVERED))


def _detail(views: RegisteredViews, box: Box) -> float:
    """How much there is to see in a block: the standard deviation of the mean view, coarsely sampled.

    Where views end, that of each view where it has data: the edge of a field is no detail.
    """
    samples, seen = [], []
    for z in range(box.start[0], box.stop[0], _PLANES):
        plane = Box((z, *box.start[1:]), (z + 1, *box.stop[1:]))
        values, covered = views.read(plane)[:, 0], views.coverage(plane)
        samples.append(_in_cells(values if covered is not None else values.mean(axis=0, keepdims=True)))
        seen.append(np.ones(samples[-1].shape, bool) if covered is None else _in_cells(covered[:, 0]) == 1)
    cells, known = np.stack(samples, axis=1), np.stack(seen, axis=1)
    spread = [float(np.var(view[where])) if where.any() else 0.0 for view, where in zip(cells, known, strict=True)]
    counts = known.sum(axis=(1, 2, 3))
    return float(np.sqrt(np.average(spread, weights=counts))) if counts.any() else 0.0


def _in_cells(planes: np.ndarray) -> np.ndarray:
    """Means of (view, y, x) over cells, or the planes themselves where they are smaller than a cell."""
    count, *sides = planes.shape
    y, x = (n // CELL for n in sides)
    if not (y and x):
        return planes
    return np.asarray(planes[:, : CELL * y, : CELL * x].reshape(count, y, CELL, x, CELL).mean(axis=(2, 4)))
