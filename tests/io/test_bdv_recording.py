"""A recording of four views as BigStitcher keeps it, turned and unregistered, fuses as well as registered views do."""

import numpy as np
import pytest

from bdv_projects import Setup, gzip_n5, scaled, write_n5, write_n5_view, xml_of
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation import embryo, light_sheet_psfs, simulate

ANGLES = (0.0, 90.0, 180.0, 270.0)
SIZE, SPACING, VOXEL_UM = 32, 2, 0.5
METHODS = {"cbif": {}, "ebmd": {"iterations": 4}, "generator": {}}


@pytest.fixture(scope="module")
def recording():
    """The same recording twice: on the grid of its truth, and as it was recorded, each view in a frame of its own."""
    truth = embryo(SIZE, np.random.default_rng(3))
    psfs = light_sheet_psfs(ANGLES, SIZE)
    return [
        simulate(
            truth, ANGLES, psfs, spacing=SPACING, registered=registered, voxel_size_um=VOXEL_UM, dtype="uint16",
            rng=np.random.default_rng(4),
        )
        for registered in (True, False)
    ]  # fmt: skip


def write_project(folder, recording, shift=0.0):
    """Write views as they were recorded, with PSFs in their pixels; all of them laid wrong by a shift in their pixels."""
    setups, transforms, names = {}, {}, {}
    flip = np.eye(4)[[2, 1, 0, 3]]
    calibration = scaled(1, 1, SPACING)
    for number, view in enumerate(recording.views.views):
        pixels = np.asarray(view.data[:])
        write_n5_view(folder / "dataset.n5", number, 0, [pixels], [[1, 1, 1]], block=(16, 16, 16), **gzip_n5())
        # Turned into the view's own frame, and of its planes those that were recorded.
        own = rotate_psf(view.psf, -view.angle)
        middle = own.shape[0] // 2
        write_n5(
            folder / "psf.n5" / f"psf_{number}", own[middle % SPACING :: SPACING].copy(), (64, 64, 64), **gzip_n5()
        )
        model = flip @ np.diag([1 / VOXEL_UM] * 3 + [1]) @ view.affine @ flip
        model[:3, 3] += shift * model[:3, :3].sum(axis=1)
        registered = (model @ np.linalg.inv(np.vstack([calibration, [0, 0, 0, 1]])))[:3]
        transforms[0, number] = [registered, calibration]
        setups[number] = Setup(
            pixels.shape[::-1], (VOXEL_UM, VOXEL_UM, SPACING * VOXEL_UM), "µm", {"angle": number, "channel": 0}
        )
        names[number] = f"{view.angle:g}"
    path = folder / "dataset.xml"
    path.write_text(
        xml_of(
            '<ImageLoader format="bdv.n5"><n5 type="relative">dataset.n5</n5></ImageLoader>',
            setups,
            transforms,
            names={"angle": names},
            boxes={"specimen": ((0, 0, 0), (SIZE - 1,) * 3)},
            psfs={(0, number): f"psf_{number}" for number in names},
        ),
        encoding="utf-8",
    )
    return path


def nrmse(views, method, truth):
    """Root mean square error over the range of the truth, after the scale and offset that fit best."""
    fused = np.asarray(fuse(views, make_method(method, **METHODS[method]), device="cpu").data)
    design = np.stack([fused.ravel(), np.ones(fused.size)], axis=1).astype(float)
    fitted = design @ np.linalg.lstsq(design, truth.ravel().astype(float), rcond=None)[0]
    return np.sqrt(np.mean((fitted - truth.ravel()) ** 2)) / np.ptp(truth)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_project_of_turned_views_fuses_as_well_as_registered_views(tmp_path, recording, method):
    registered, raw = recording
    views = open_views(write_project(tmp_path, raw), box="specimen", no_data="none")
    assert views.names == tuple(f"{angle:g}" for angle in ANGLES)
    assert [view.angle for view in views.views] == list(ANGLES)
    assert views.grid == registered.views.grid
    for view, known in zip(views.views, registered.views.views, strict=True):
        assert view.affine is not None
        assert view.data.shape[0] == SIZE // SPACING
        assert (
            np.abs(np.array(np.unravel_index(view.psf.argmax(), view.psf.shape)) - np.array(view.psf.shape) // 2).max()
            == 0
        )
        assert np.argmax(view.psf.shape) in (0, 1)
        assert known.psf is not None
    best = nrmse(registered.views, method, registered.truth)
    assert nrmse(views, method, registered.truth) < 1.01 * best
    if method == "generator":  # which takes long, and the others see it
        return
    # Half a pixel of each view would be seen, as when places are those of corners instead of middles.
    shifted = open_views(write_project(tmp_path / "shifted", raw, shift=0.5), box="specimen", no_data="none")
    assert nrmse(shifted, method, registered.truth) > 1.02 * best
