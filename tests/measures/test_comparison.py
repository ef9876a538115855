"""Pictures that compare volumes, written and read again."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.measures.comparison import comparison_figure, profile_figure, save_comparison

GRID = Grid((10, 12, 16), (2.0, 1.0, 1.0))
VOLUME = np.random.default_rng(5).random(GRID.shape).astype(np.float32)


def shown(figure, number=0):
    """The picture in one of the axes, and its limits."""
    (image,) = figure.axes[number].get_images()
    return np.asarray(image.get_array()), image.get_clim()


def test_the_slices_go_through_the_position_and_end_with_the_region():
    region = Box((2, 3, 4), (9, 11, 15))
    figure = comparison_figure({"a": VOLUME}, GRID, position=(5, 6, 7), region=region, fit=False, limits=(0.25, 0.75))
    cuts = [shown(figure, row)[0] for row in range(3)]
    np.testing.assert_array_equal(cuts[0], VOLUME[5, 3:11, 4:15])
    np.testing.assert_array_equal(cuts[1], VOLUME[2:9, 6, 4:15])
    np.testing.assert_array_equal(cuts[2], VOLUME[2:9, 3:11, 7].T)
    assert shown(figure)[1] == (0.25, 0.75)


def test_gains_are_fitted_only_where_that_is_asked_for():
    both = {"a": VOLUME, "b": 4 * VOLUME + 1}
    fitted = comparison_figure(both, GRID)
    np.testing.assert_allclose(shown(fitted, 3)[0], shown(fitted, 0)[0], atol=1e-5)
    plain = comparison_figure(both, GRID, fit=False)
    np.testing.assert_allclose(shown(plain, 3)[0], 4 * shown(plain, 0)[0] + 1, atol=1e-5)


def test_what_is_not_computed_yet_is_left_out():
    unfinished = VOLUME.copy()
    unfinished[:, :, 8:] = np.nan
    figure = comparison_figure({"a": VOLUME, "b": unfinished}, GRID)
    low, high = shown(figure)[1]
    assert np.isfinite([low, high]).all()
    assert np.isfinite(shown(comparison_figure({"b": unfinished}, GRID))[1]).all()


def test_it_says_what_cannot_be_drawn():
    with pytest.raises(InputError, match="nothing to compare"):
        comparison_figure({}, GRID)
    with pytest.raises(InputError, match="'a' has shape"):
        comparison_figure({"a": VOLUME[1:]}, GRID)
    with pytest.raises(InputError, match="outside"):
        comparison_figure({"a": VOLUME}, GRID, region=Box((20, 0, 0), (30, 5, 5)))
    with pytest.raises(InputError, match="not inside the region"):
        comparison_figure({"a": VOLUME}, GRID, position=(0, 0, 0), region=Box((2, 2, 2), (9, 9, 9)))
    with pytest.raises(InputError, match="draw a line"):
        profile_figure({})


@pytest.mark.parametrize("kind", ["slices", "profile"])
def test_files_can_be_opened_again_and_nothing_else_is_left(tmp_path, kind):
    figure = (
        comparison_figure({"one": VOLUME, "two": VOLUME}, GRID)
        if kind == "slices"
        else profile_figure({"one": (np.arange(5.0), np.arange(5.0)), "two": (np.arange(5.0), np.ones(5))})
    )
    save_comparison(figure, tmp_path / "picture.png")
    save_comparison(figure, tmp_path / "picture.svg")
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300
    assert ElementTree.parse(tmp_path / "picture.svg").getroot().tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["picture.png", "picture.svg"]
    with pytest.raises(OutputError, match="exists already"):
        save_comparison(figure, tmp_path / "picture.png", overwrite=False)
    with pytest.raises(OutputError, match="neither a PNG nor an SVG"):
        save_comparison(figure, tmp_path / "picture.doc")


def test_the_scale_bar_counts_voxels_where_their_size_is_not_known():
    for grid, words in ((GRID, "µm"), (Grid(GRID.shape, GRID.voxel_size_um, known=(True, True, False)), "voxels")):
        figure = comparison_figure({"a": VOLUME}, grid)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert [text.split()[-1] for text in texts if text[0].isdigit()] == [words]
