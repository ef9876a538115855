"""Zeros and NaN outside a view's field: what is recognised as no data, and what stays a measurement."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_mvfusion.data import no_data
from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.field_of_view import HullMask, NoData, inside_planes, look_for_field
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe, save_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import CBIF, EBMD, Average, LearnedFusion
from napari_mvfusion.methods.base import Method
from napari_mvfusion.simulation import Simulation, light_sheet_psf, nuclei, sample, simulate

SIZE = 48
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def recorded() -> Simulation:
    return sample("embryo", SIZE)


def field(shape: str, volume: tuple[int, ...] = (SIZE,) * 3) -> np.ndarray:
    z, y, x = np.indices(volume)
    size = volume[0]
    return {
        "planes": z >= size // 2,
        "wedge": z + 0.7 * y >= 0.75 * size + 0.05,
        "turned": np.abs(z - y) < 0.3 * size,
        "box": (z >= 5) & (z < size - 3) & (y >= 9) & (y < size - 9) & (x >= 4),
        "slanted": z + 0.6 * y - 0.3 * x >= 0.4 * size + 0.05,
    }[shape]


def auto(simulation: Simulation, changes: dict[int, Change] | None = None) -> RegisteredViews:
    """The views as files would give them: without masks."""
    views = []
    for number, view in enumerate(simulation.views.views):
        data = np.array(view.data)
        if changes and number in changes:
            data = changes[number](data)
        views.append(replace(view, data=data, mask=None, no_data="auto"))
    return RegisteredViews(views, simulation.views.grid)


def masked(shape: str) -> Change:
    return lambda data: np.where(field(shape, data.shape), data, 0)


def shares(views: RegisteredViews) -> list[float]:
    """Share of each view that is taken as no data."""
    drain(views.detect_no_data())
    whole = (slice(None),) * 3
    return [0.0 if view.mask is None else float(1 - np.asarray(view.mask[whole]).mean()) for view in views.views]


def check_faces(mask: HullMask, wanted: np.ndarray) -> None:
    """Nothing that was recorded is lost; at the rim of slanted faces a few voxels beyond may be taken as recorded."""
    made = mask[:, :, :]
    assert not (wanted & ~made).any()
    assert (made & ~wanted).mean() < 0.002


@pytest.mark.parametrize("shape", ["planes", "wedge", "turned", "box", "slanted"])
def test_the_hull_of_a_field_is_exact(shape: str) -> None:
    wanted = field(shape)
    found = drain(look_for_field(np.where(wanted, 7, 0).astype(np.uint16)))
    assert found.hull is not None
    np.testing.assert_array_equal(found.hull[:, :, :], wanted)
    check_faces(inside_planes(np.concatenate([face.planes for face in found.faces]), (SIZE,) * 3), wanted)
    box = (slice(3, 9), slice(30, 41), slice(2, 47))
    np.testing.assert_array_equal(found.hull[box], wanted[box])


def test_the_hull_holds_also_in_photons_most_of_which_are_dark() -> None:
    wanted = field("wedge")
    photons = np.random.default_rng(0).poisson(0.1, wanted.shape)
    found = drain(look_for_field(np.where(wanted, photons, 0)))
    assert isinstance(found.hull, HullMask)
    mask = found.hull[:, :, :]
    assert not (mask & ~wanted).any()
    assert (wanted & ~mask).mean() < 0.02


def test_volumes_without_zeros_in_their_corners_are_not_read() -> None:
    class Corners:
        shape, dtype = (900, 900, 900), np.dtype(np.uint16)

        def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
            size = [len(range(*part.indices(900))) for part in index]
            assert size == [1, 1, 1], "more than a corner was read"
            return np.ones(size, np.uint16)

    assert drain(look_for_field(Corners())).hull is None


class Counted:
    """A lazy volume that counts how often it is read."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.reads = 0

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        self.reads += 1
        return self._values[index]


def test_small_volumes_are_read_a_few_times_wherever_a_field_ends_and_large_ones_give_the_same(
    recorded: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight corners, then for the hull, then as a whole: each read of a lazy volume may compute much more than it gives."""
    masks = []
    for small in (2**24, 0):
        monkeypatch.setattr(no_data, "_SMALL_VOXELS", small)
        views = auto(recorded, {0: masked("planes")})
        lazy = [Counted(np.asarray(view.data)) for view in views.views]
        given = [replace(view, data=data) for view, data in zip(views.views, lazy, strict=True)]
        settled, _, _ = drain(no_data.detect_no_data_of(given, views.grid))
        assert (max(data.reads for data in lazy) <= 10) == (small > 0)
        assert settled[0].mask is not None
        masks.append(np.asarray(settled[0].mask[:, :, :]))
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("shape", ["planes", "wedge", "turned", "box", "slanted"])
@pytest.mark.parametrize("offset", [100.0])
def test_zeros_outside_the_field_of_one_view_are_recognised(shape: str, offset: float) -> None:
    simulation = sample("embryo", 32, offset=offset, dtype="uint16")
    views = auto(simulation, {1: masked(shape)})
    drain(views.detect_no_data())
    mask = views.views[1].mask
    assert isinstance(mask, HullMask)
    check_faces(mask, field(shape, (32,) * 3))
    assert [view.mask is None for view in views.views] == [True, False, True, True]
    (note,) = views.notes
    assert "view '90'" in note
    assert f"{1 - field(shape, (32,) * 3).mean():.0%}" in note


def test_half_of_a_dark_specimen_is_recognised_by_its_abrupt_end(recorded: Simulation) -> None:
    lost = shares(auto(recorded, {0: masked("planes")}))
    assert lost[0] == pytest.approx(0.5, abs=0.02)
    assert lost[1:] == [0, 0, 0]


def test_a_crop_that_takes_a_twentieth_of_the_light_is_recognised() -> None:
    simulation = sample("embryo", 64, dtype="uint16")
    first = np.asarray(simulation.views.views[0].data)
    cut = 14
    assert 0.03 < first[:cut].sum(dtype=float) / first.sum(dtype=float) < 0.08
    whole, cropped = (
        auto(simulation),
        auto(simulation, {0: lambda data: np.pad(data[cut:], ((cut, 0), (0, 0), (0, 0)))}),
    )
    assert not any(shares(whole))
    assert shares(cropped) == [pytest.approx(cut / 64, abs=0.02), 0, 0, 0]


def cut_to(k: int) -> Change:
    """A crop on all six sides, by so many voxels."""
    return lambda data: np.pad(data[k:-k, k:-k, k:-k], k)


def test_a_crop_on_all_sides_is_recognised_where_one_side_is_sure_and_else_named_with_what_tells_it() -> None:
    simulation = sample("embryo", 64, seed=2)
    first = np.asarray(simulation.views.views[0].data)
    sides = {k: 1 - cut_to(k)(first).sum(dtype=float) / first.sum(dtype=float) for k in (11, 12, 13)}
    assert list(sides.values()) == pytest.approx([0.04, 0.08, 0.13], abs=0.01)
    doubtful, *sure = (auto(simulation, {0: cut_to(k)}) for k in sides)
    assert [shares(views)[0] for views in sure] == pytest.approx([1 - (40 / 64) ** 3, 1 - (38 / 64) ** 3], abs=0.01)
    assert shares(doubtful) == [0, 0, 0, 0]
    (said,) = doubtful.notes
    assert "of its voxels are 0 beyond flat faces, where others still show some light" in said
    assert said.endswith("if nothing was recorded there, give --no-data 0=0, or --mask 0=FILE")
    whole = auto(simulation)
    assert (shares(whole), whole.notes) == ([0] * 4, ())


def test_views_turned_by_odd_angles_end_where_the_simulator_says() -> None:
    simulation = sample("embryo", SIZE, angles=(0.0, 60.0, 120.0), offset=100)
    views = auto(simulation)
    drain(views.detect_no_data())
    for made, found in zip(simulation.views.views, views.views, strict=True):
        assert (made.mask is None) == (found.mask is None)
        if made.mask is not None and found.mask is not None:
            assert (np.asarray(made.mask) != found.mask[:, :, :]).mean() < 0.002


DARK: dict[str, tuple[dict[str, object], Change]] = {
    "photons": ({}, lambda data: data),
    "few photons": ({"snr": 5.0}, lambda data: data),
    "integers": ({"dtype": "uint16"}, lambda data: data),
    "background taken away": ({}, lambda data: np.maximum(data - 0.02 * data.max(), 0)),
    "much taken away": ({}, lambda data: np.maximum(data - 0.1 * data.max(), 0)),
}


@pytest.mark.parametrize("name", DARK)
@pytest.mark.parametrize("phantom", ["embryo", "nuclei"])
def test_zeros_that_are_dark_pixels_stay(phantom: str, name: str) -> None:
    settings, change = DARK[name]
    simulation = sample(phantom, 40, **settings)
    views = auto(simulation, dict.fromkeys(range(len(simulation.views)), change))
    assert not any(shares(views))
    assert views.notes == ()


def photons(simulation: Simulation, peak: float, seed: int, dim: float = 1.0) -> list[View]:
    """Counted photons without any background, so that most pixels are 0; the first view may be dimmer."""
    rng = np.random.default_rng(seed)
    expected = [np.asarray(view.data, np.float64) for view in simulation.views.views]
    expected = [np.maximum(each - each.min() - 1e-9, 0) for each in expected]
    unit = peak / max(np.quantile(each, 0.9999) for each in expected)
    return [
        replace(view, data=rng.poisson(each * unit * (1.0 if v else dim)).astype(np.uint16), no_data="auto")
        for v, (view, each) in enumerate(zip(simulation.views.views, expected, strict=True))
    ]


def spots(kind: str, size: int = 32) -> np.ndarray:
    """Beads or small nuclei, apart or crowded in the middle."""
    rng = np.random.default_rng(len(kind))
    count, width, crowded = {"beads": (40, 0.0, False), "nuclei": (20, 1.5, False), "crowded": (30, 1.0, True)}[kind]
    places = rng.normal(size / 2, size / 8, (count, 3)) if crowded else rng.uniform(2, size - 2, (count, 3))
    volume = np.zeros((size,) * 3)
    volume[tuple(places.astype(int).clip(0, size - 1).T)] = rng.uniform(0.3, 1, count)
    return ndimage.gaussian_filter(volume, width) if width else volume


DARK_ANGLES = ((0.0, 90.0), (0.0, 180.0), (0.0, 90.0, 180.0, 270.0))


@pytest.mark.parametrize("angles", DARK_ANGLES)
@pytest.mark.parametrize("kind", ["beads", "nuclei", "crowded"])
@pytest.mark.long
def test_dark_pixels_of_counted_photons_are_no_field(kind: str, angles: tuple[float, ...]) -> None:
    psfs = [light_sheet_psf(angle, axial_fwhm=6, lateral_fwhm=2, shape=(13, 13, 13)) for angle in angles]
    rng = np.random.default_rng(3)
    simulation = simulate(spots(kind), angles, psfs, rng=rng, poisson=False, attenuation=0.01)
    for peak, dim in ((1, 1.0), (3, 1.0), (10, 1.0), (30, 0.1), (100, 0.1), (1000, 1.0)):
        assert not any(shares(RegisteredViews(photons(simulation, peak, peak, dim)))), (peak, dim)


@pytest.mark.parametrize("peak", [3, 30, 1000])
def test_a_field_is_recognised_in_counted_photons_too(peak: int) -> None:
    angles = (0.0, 90.0)
    psfs = [light_sheet_psf(angle, axial_fwhm=6, lateral_fwhm=2, shape=(13, 13, 13)) for angle in angles]
    rng = np.random.default_rng(3)
    simulation = simulate(nuclei((32, 32, 64), rng), angles, psfs, rng=rng, poisson=False)
    first, second = photons(simulation, peak, peak)
    assert not any(shares(RegisteredViews([first, second])))
    seen = np.indices(second.shape)[0] >= 12
    second = replace(second, data=np.where(seen, np.asarray(second.data), 0))
    lost = shares(RegisteredViews([first, second]))
    assert lost == [0, pytest.approx(12 / 32, abs=0.04)]


def test_zeros_of_all_views_at_one_place_stay() -> None:
    simulation = sample("nuclei", 32, offset=100)
    assert not any(shares(auto(simulation, {0: masked("planes"), 1: masked("planes")})))


def test_a_view_alone_stays_as_it_is(recorded: Simulation) -> None:
    views = auto(recorded, {0: masked("planes")}).select(["0"])
    assert shares(views) == [0]


def test_nan_at_the_border_is_no_data_and_never_reaches_the_result(recorded: Simulation) -> None:
    views = auto(recorded, {2: lambda data: np.where(field("wedge"), data, np.nan)})
    fused = fused_quietly(views)
    others = np.mean([np.asarray(recorded.views.views[v].data) for v in (0, 1, 3)], axis=0)
    assert np.isfinite(fused).all()
    np.testing.assert_allclose(fused[~field("wedge")], others[~field("wedge")], rtol=1e-5, atol=1e-4)
    assert "NaN" in views.notes[0]


def test_one_nan_inside_is_named_and_can_be_left_out(recorded: Simulation) -> None:
    def spoilt(data: np.ndarray) -> np.ndarray:
        data[20, 21, 22] = np.nan
        return data

    views = auto(recorded, {0: spoilt})
    with pytest.raises(InputError, match=r"\(20, 21, 22\)"):
        views.statistics()
    asked = RegisteredViews([replace(view, no_data="nan") for view in auto(recorded, {0: spoilt}).views])
    assert np.isfinite(fused_quietly(asked)).all()
    np.testing.assert_allclose(shares(asked), [1 / SIZE**3, 0, 0, 0], atol=1e-9)


def test_every_zero_is_no_data_where_that_is_asked(recorded: Simulation) -> None:
    corner = np.ones((SIZE,) * 3, bool)
    corner[:20, :20] = False  # not convex, so it is not recognised
    views = auto(recorded, {0: lambda data: np.where(corner, data + 1, 0)})
    asked = RegisteredViews([replace(view, no_data="0") for view in views.views[:1]])
    drain(asked.detect_no_data())
    assert asked.views[0].mask is not None
    np.testing.assert_array_equal(asked.views[0].mask[:, :, :], corner)


def test_what_was_ordered_as_no_data_is_one_note_for_all_views(recorded: Simulation) -> None:
    ordered = RegisteredViews([replace(view, no_data="0") for view in auto(recorded, {}).views])
    events = [*fuse_events(ordered, Average())]
    notes = [event.message for event in events if isinstance(event, Noted) and "no data" in event.message]
    names = ", ".join(f"'{name}'" for name in ordered.names)
    assert notes == [f"views {names}: every 0 is taken as no data"]
    assert not [event for event in events if isinstance(event, Warned) and "no data" in event.message]


@pytest.mark.parametrize("shape", ["L", "hole"])
def test_a_field_that_is_not_convex_is_said_and_can_be_told(shape: str) -> None:
    simulation = sample("embryo", 32, offset=100, dtype="uint16")
    z, y, x = np.indices((32,) * 3)
    missing = (z < 16) & (y < 16) if shape == "L" else (z < 20) & (np.abs(y - 16) < 6) & (np.abs(x - 16) < 6)
    views = [replace(view, offset=0.0) for view in auto(simulation, {1: lambda data: np.where(missing, 0, data)}).views]

    def said(no_data: NoData) -> list[str]:
        asked = [view if v != 1 else replace(view, no_data=no_data) for v, view in enumerate(views)]
        events = fuse_events(RegisteredViews(asked, simulation.views.grid), Average())
        return [event.message for event in events if isinstance(event, Warned)]

    (line,) = [line for line in said("auto") if "in one piece" in line]
    assert line.startswith("view '90' is 0 in ")
    # Of the part that is missing, where others show light.
    assert 0.03 < float(line.split("%")[0].split()[-1]) / 100 <= missing.mean() + 0.001
    assert "--no-data 90=0" in line
    for told in ("0", "none"):
        assert not [line for line in said(told) if "in one piece" in line]
    assert shares(RegisteredViews([replace(view, no_data="0") for view in views]))[1] == pytest.approx(missing.mean())


def test_boxes_of_a_recognised_field_are_those_of_the_whole() -> None:
    views = auto(sample("embryo", 32, offset=100), {0: masked("slanted")})
    whole, covered = views.read(views.grid.box), views.coverage(views.grid.box)
    assert covered is not None
    for box in (Box((0, 0, 0), (7, 32, 32)), Box((5, 9, 11), (21, 30, 32)), Box((31, 31, 31), (32, 32, 32))):
        np.testing.assert_array_equal(views.read(box), whole[(slice(None), *box.slices)])
        np.testing.assert_array_equal(views.coverage(box), covered[(slice(None), *box.slices)])
    part = views.region(Box((4, 4, 4), (20, 20, 20)))
    np.testing.assert_array_equal(part.coverage(part.grid.box), covered[:, 4:20, 4:20, 4:20])


def test_what_lies_outside_of_a_mask_may_be_anything() -> None:
    data = np.full((6, 6, 6), 5.0, np.float32)
    data[:2] = np.nan
    data[2] = np.inf
    mask = np.ones(data.shape, bool)
    mask[:3] = False
    turned = np.eye(4)
    turned[0, 3] = 0.5
    for affine in (None, turned):
        views = RegisteredViews([View(data, "a", affine=affine, mask=mask)], Grid((6, 6, 6)))
        assert np.isfinite(views.read(views.grid.box)).all()


@pytest.mark.parametrize("turned", [False, True])
def test_nan_in_a_mask_is_outside_and_said(turned: bool) -> None:
    rng = np.random.default_rng(1)
    data = rng.random((6, 6, 6), np.float32) + 1
    numbers, zeros = np.ones(data.shape, np.float32), np.ones(data.shape, np.float32)
    numbers[:3], zeros[:3] = np.nan, 0
    affine = np.eye(4)
    affine[0, 3] = 0.5
    read, said = [], []
    for mask in (numbers, zeros):
        view = View(data, "a", affine=affine if turned else None, mask=mask)
        views = RegisteredViews([view], Grid(data.shape))
        covered = views.coverage(views.grid.box)
        assert covered is not None
        read.append((views.read(views.grid.box), covered))
        said.append(views.notes)
    np.testing.assert_array_equal(read[0][0], read[1][0])
    np.testing.assert_array_equal(read[0][1], read[1][1])
    assert 0 < read[0][1].mean() < 0.6
    assert said == [("view 'a': NaN in its mask counts as outside, like 0 (108 of 216 voxels)",), ()]


def test_a_mask_of_a_time_lapse_is_that_of_each_time_or_one_for_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(1, 99, (3, 5, 6, 7)).astype(np.uint16)
    moving, still = np.zeros(pixels.shape, np.uint8), np.zeros(pixels.shape[1:], np.uint8)
    for t in range(3):
        moving[t, t:] = 1
    still[2:] = 1
    for name, values, axes in (("view", pixels, "TZYX"), ("moving", moving, "TZYX"), ("still", still, "ZYX")):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", values, metadata={"axes": axes})
    for timepoint in range(3):
        for name, mask in (("moving", moving[timepoint]), ("still", still)):
            file = tmp_path / f"{name}.ome.tif"
            opened = open_views([tmp_path / "view.ome.tif"], masks={"view": file}, timepoint=timepoint)
            covered = opened.coverage(opened.grid.box)
            assert covered is not None
            np.testing.assert_array_equal(covered[0], mask)


def test_a_recipe_repeats_masks_and_refuses_others(tmp_path: Path) -> None:
    simulation = sample("nuclei", 32, offset=100, dtype="uint16")
    files, mask = [], field("planes", simulation.views.grid.shape)
    for number, view in enumerate(simulation.views.views):
        data = np.where(mask, np.asarray(view.data), 0) if number == 0 else np.asarray(view.data)
        files.append(str(tmp_path / f"view{number}.tif"))
        write_tiff(files[-1], data, simulation.views.grid)
    write_tiff(tmp_path / "mask.tif", mask.astype(np.uint8), simulation.views.grid)
    told = Inputs(source=files, no_data="none", masks={"view0": str(tmp_path / "mask.tif")})
    known = Inputs(source=files, no_data="auto")
    results = []
    for inputs in (told, known):
        events = fuse_events(inputs.open(), Average(), inputs=inputs.model_dump(mode="json"))
        results.append(drain(events))
    assert results[0] is not None
    assert results[1] is not None
    np.testing.assert_array_equal(np.asarray(results[0].data), np.asarray(results[1].data))
    hashes = [[view.get("mask_sha256") for view in result.recipe["views"]] for result in results]
    assert hashes[0] == hashes[1]
    assert hashes[0][0]
    assert hashes[0][1] is None
    save_recipe(results[0].recipe, tmp_path / "told.json")
    again = drain(load_recipe(tmp_path / "told.json").repeat(tmp_path / "again.tif"))
    assert again is not None
    unaware = json.loads((tmp_path / "told.json").read_text())
    for entry in unaware["views"]:
        entry.pop("mask_sha256", None)
    (tmp_path / "unaware.json").write_text(json.dumps(unaware))
    said = [
        event.message
        for event in load_recipe(tmp_path / "unaware.json").repeat(tmp_path / "more.tif")
        if isinstance(event, Warned)
    ]
    assert any("the recipe knows of no pixels of view 'view0'" in message for message in said)
    write_tiff(tmp_path / "mask.tif", (~mask).astype(np.uint8), simulation.views.grid, overwrite=True)
    with pytest.raises(InputError, match="has data changed"):
        drain(load_recipe(tmp_path / "told.json").repeat(tmp_path / "third.tif"))


def test_a_recipe_of_old_takes_every_pixel_as_measured() -> None:
    assert Inputs.model_validate({"source": "folder"}).no_data == "none"


def test_a_mask_for_a_view_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    write_tiff(file, np.ones((4, 4, 4), np.uint8), Grid((4, 4, 4)))
    with pytest.raises(InputError, match="'b'"):
        open_views([file], masks={"b": file})


@pytest.mark.parametrize(
    "method", [Average(), CBIF(), EBMD(iterations=10), LearnedFusion(mirrored=False)], ids=lambda method: method.name
)
def test_every_method_has_the_light_where_one_view_recorded_nothing(method: Method) -> None:
    whole = sample("nuclei", 32).views
    mask = field("planes", whole.grid.shape)
    first = np.where(mask, np.asarray(whole.views[0].data), 0)

    def half(**known: object) -> np.ndarray:
        views = [replace(whole.views[0], data=first, **known), *whole.views[1:]]  # type: ignore[arg-type]
        return fused_quietly(RegisteredViews(views, whole.grid), method)

    found, told, all_there = half(no_data="auto"), half(mask=mask), fused_quietly(whole, method)
    assert found[~mask].mean() == pytest.approx(told[~mask].mean(), rel=0.01)
    # The other view lost some of its light on the way to this half.
    assert found[~mask].mean() == pytest.approx(all_there[~mask].mean(), rel=0.12)
    assert half()[~mask].mean() < 0.7 * all_there[~mask].mean()


def fused_quietly(views: RegisteredViews, method: Method | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(fuse(views, method or Average()).data)
