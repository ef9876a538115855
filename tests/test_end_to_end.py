"""The whole way on measured PSFs: recorded views, every method in the engine, tiles, storages, own affines, quality."""

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.planning import LIBRARY_BYTES
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import CBIF, EBMD
from napari_mvfusion.simulation import embryo, simulate


@pytest.fixture(scope="module")
def psfs(quad_psfs):
    return {angle: prepare_psf(psf).psf for angle, psf in quad_psfs.items()}


@pytest.fixture(scope="module")
def made(psfs):
    rng = np.random.default_rng(7)
    return simulate(embryo(80, rng), list(psfs), list(psfs.values()), rng=rng)


@pytest.fixture(scope="module")
def whole(made):
    return fuse(made.views, EBMD(iterations=3), device="cpu")


@pytest.mark.parametrize("tile", [(32, 48, 80), (80, 16, 33), (64, 64, 64)])
def test_ebmd_in_tiles_equals_ebmd_of_the_whole_volume(made, whole, tile):
    tiled = fuse(made.views, EBMD(iterations=3), tile=tile, device="cpu")
    assert tiled.recipe["run"]["storage"] == "memory"
    assert np.abs(tiled.data - whole.data).max() < 1e-4 * np.ptp(whole.data)
    assert tiled.changes == pytest.approx(whole.changes, rel=1e-3)


def test_ebmd_with_its_estimate_on_disk_equals_ebmd_of_the_whole_volume(made, whole, tmp_path):
    # Enough for a tile of 64^3 with its halo, but not for the three estimates and the views.
    fused = fuse(
        made.views,
        EBMD(iterations=3),
        tile=(64, 64, 64),
        out=tmp_path / "f.zarr",
        memory_bytes=LIBRARY_BYTES + 11 * 2**20,
        device="cpu",
    )
    assert fused.recipe["run"]["storage"] == "disk"
    assert np.abs(fused.data[:] - whole.data).max() < 1e-4 * np.ptp(whole.data)


def test_the_ranking_is_the_published_one(made):
    """View 0 is worse than CBIF, and CBIF worse than EBMD."""
    first = evaluate(made.views.read(made.views.grid.box, [0])[0], made.truth)
    cbif = evaluate(fuse(made.views, CBIF()).data, made.truth)
    ebmd = evaluate(fuse(made.views, EBMD(iterations=24)).data, made.truth)
    assert first.all.nrmse > cbif.all.nrmse > ebmd.all.nrmse
    assert ebmd.all.nrmse < 0.8 * cbif.all.nrmse
    assert first.foreground.cc < cbif.foreground.cc < ebmd.foreground.cc


def test_views_that_are_placed_by_their_affines_are_fused_as_the_registered_ones(psfs):
    """Recorded views in their own frames, with missing corners, give nearly the volume that registered ones give."""
    specimen = embryo(64, np.random.default_rng(2))
    angles = [0.0, 90.0]
    kernels = [psfs[0], psfs[90]]
    results = {}
    for registered in (True, False):
        made = simulate(specimen, angles, kernels, poisson=False, registered=registered, rng=np.random.default_rng(3))
        results[registered] = fuse(made.views, EBMD(iterations=4), tile=(48, 64, 64), device="cpu").data
    assert np.abs(results[True] - results[False]).max() < 1e-3 * np.ptp(results[True])


def test_oblique_views_and_any_number_of_them_are_fused():
    specimen = embryo(64, np.random.default_rng(2))
    made = simulate(specimen, [0, 60, 120], registered=False, rng=np.random.default_rng(3))
    fused = fuse(made.views, EBMD(iterations=8))
    average = evaluate(made.views.read(made.views.grid.box).mean(axis=0), made.truth)
    assert evaluate(fused.data, made.truth).all.nrmse < average.all.nrmse


def test_views_from_a_zarr_give_what_views_in_memory_give(made, whole, tmp_path):
    write_views_zarr(tmp_path / "v.zarr", made.views)
    fused = fuse(open_views(tmp_path / "v.zarr"), EBMD(iterations=3), device="cpu")
    assert (fused.data == whole.data).all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v, p: View(v, "90"), r"90.*no PSF"),
        (lambda v, p: View(v, "90", psf=p[1:]), r"90.*even"),
        (lambda v, p: View(v, "90", psf=np.zeros_like(p)), r"90.*no positive sum"),
        (lambda v, p: View(v, "90", psf=np.where(p == p.max(), np.nan, p)), r"90.*NaN"),
        (lambda v, p: View(v, "90", psf=np.ones((91, 91, 91), np.float32)), r"90.*more than the volume"),
        (lambda v, p: View(v - 50.0, "90", psf=p), r"90.*negative"),
        (lambda v, p: View(np.full_like(v, 3), "90", psf=p), r"90.*(same value|constant)"),
    ],
    ids=["no PSF", "even PSF", "empty PSF", "NaN PSF", "PSF larger than the volume", "negative view", "constant view"],
)
def test_what_ebmd_cannot_use_is_named_before_the_work(made, spoil, words):
    good = made.views.views[0]
    assert good.psf is not None
    wrong = spoil(np.asarray(made.views.views[1].data), good.psf)
    with pytest.raises(InputError, match=words):
        fuse(RegisteredViews([good, wrong], made.views.grid), EBMD(iterations=1))


def test_one_view_and_ten_views_are_deconvolved_with_a_word_of_warning(made):
    one = made.views.select([made.views.names[0]])
    with pytest.warns(UserWarning, match="only"):
        assert np.isfinite(fuse(one, EBMD(iterations=2)).data).all()
    ten = RegisteredViews([View(v.data, f"{v.name} {i}", psf=v.psf) for i in range(3) for v in made.views.views][:10])
    with pytest.warns(UserWarning, match="10 views"):
        assert np.isfinite(fuse(ten, EBMD(iterations=1)).data).all()


@pytest.mark.cuda
def test_the_gpu_gives_what_the_cpu_gives(made, whole):
    fused = fuse(made.views, EBMD(iterations=6), device="cuda")
    assert np.abs(fused.data - whole.data).max() < 1e-4 * np.ptp(whole.data)
