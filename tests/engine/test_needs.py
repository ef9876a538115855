"""What a fusion would take, told without reading a pixel, beside what a look at the pixels says."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.forecast import Forecaster, Speeds
from napari_mvfusion.engine.needs import fusion_needs
from napari_mvfusion.methods import CBIF, EBMD, Average, JointWiener
from napari_mvfusion.simulation import sample

GIB = 2**30


class Unread:
    """Pixels that nobody may look at."""

    def __init__(self, shape, dtype=np.uint16):
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), 3

    def __getitem__(self, index):
        raise AssertionError("a pixel was read")


@pytest.fixture(scope="module")
def nuclei():
    return sample("nuclei", 32).views


@pytest.fixture(scope="module")
def dimmed():
    """The same, of a specimen that took a good part of the light."""
    return sample("nuclei", 32, attenuation=0.05, snr=50).views


@pytest.mark.parametrize("method", [Average(), EBMD(iterations=2)], ids=lambda method: method.name)
@pytest.mark.parametrize("placed", [False, True])
def test_sizes_tell_as_much_memory_as_pixels_do(nuclei, method, placed):
    place = np.diag([1.0, 1.0, 1.0, 1.0])
    place[0, 3] = 0.5
    views = RegisteredViews([replace(view, affine=place if placed else None) for view in nuclei.views], nuclei.grid)
    unread = RegisteredViews([replace(view, data=Unread(view.shape)) for view in views.views], views.grid)
    seen, told = (
        make(which, Speeds()).forecast(method, "cpu", memory_bytes=GIB, to_file=True)
        for make, which in ((Forecaster, views), (Forecaster.of_sizes, unread))
    )
    # These views lost no light, which sizes do not tell: such as may have are told to take what that takes.
    assert 2**20 < seen.memory_bytes <= told.memory_bytes <= 1.2 * seen.memory_bytes


@pytest.mark.parametrize(
    "method",
    [
        Average(),
        Average(attenuation="estimated"),
        CBIF(attenuation="estimated"),
        JointWiener(),
        EBMD(iterations=2),
        EBMD(iterations=2, attenuation="none"),
        EBMD(iterations=2, attenuation="given"),
    ],
    ids=lambda method: f"{method.name}, {method.attenuation}",
)
@pytest.mark.parametrize("to_file", [False, True])
def test_the_memory_of_lost_light_is_told_without_a_look_at_it(dimmed, method, to_file):
    passed = np.full(dimmed.grid.shape, 0.7, np.float32)
    given = RegisteredViews([replace(view, transmission=passed) for view in dimmed.views], dimmed.grid)
    views = given if method.attenuation == "given" else dimmed
    unread = [
        replace(
            view,
            data=Unread(view.shape, np.float32),
            transmission=None if view.transmission is None else Unread(view.shape),
        )
        for view in views.views
    ]
    told = Forecaster.of_sizes(RegisteredViews(unread, views.grid), Speeds())
    seen = Forecaster(views, Speeds())
    budget = {"memory_bytes": GIB, "to_file": to_file}
    assert told.forecast(method, "cpu", **budget) == seen.forecast(method, "cpu", **budget)


def test_the_largest_volumes_are_told_at_once():
    """Of views that are blended of tiles, masks say where these are: they are as large as the volume."""
    shape = (2000, 4000, 20_000)
    views = RegisteredViews([View(Unread(shape), str(n), mask=Unread(shape, np.float32)) for n in range(3)])
    needs = fusion_needs(views, device="cpu")
    assert needs.view_bytes == 3 * 2 * np.prod(shape)
    assert needs.methods[0].memory_bytes < needs.fused_bytes


def test_needs_are_told_in_words(nuclei):
    unread = RegisteredViews([replace(view, data=Unread(view.shape)) for view in nuclei.views], nuclei.grid)
    needs = fusion_needs(unread, device="cpu")
    assert needs.view_bytes == 2 * 4 * 32**3 * 2
    assert needs.fused_bytes == 4 * 32**3 * 4
    assert needs.lines[0].startswith("Fused volume: 32 × 32 × 128 voxels (z, y, x) of 1 × 1 × 1 µm, 524 kB")
    assert needs.lines[1] == "2 views: 524 kB of pixels, read piece by piece"
    assert [line.split(":")[0] for line in needs.lines[2:]] == ["Average", "Deconvolution (EBMD)", "Free memory"]
    first, second = nuclei.views
    without = fusion_needs(RegisteredViews([first, replace(second, psf=None)]), device="cpu")
    assert without.lines[3] == "Deconvolution (EBMD): needs a PSF of each view, and 1 of 2 have none"


def test_what_does_not_fit_is_said(nuclei):
    needs = fusion_needs(nuclei, device="cpu", memory_share=1e-6)
    assert [each.memory_bytes for each in needs.methods] == [None, None]
    assert "does not fit into memory: choose larger voxels, or a box" in needs.lines[2]


def test_many_views_are_told_as_quickly(nuclei):
    """Kernels of deconvolution are products over pairs of views, which of many would take minutes."""
    (first, *_) = nuclei.views
    many = RegisteredViews([replace(first, name=str(n)) for n in range(40)])
    assert all(each.memory_bytes for each in fusion_needs(many, device="cpu").methods)
