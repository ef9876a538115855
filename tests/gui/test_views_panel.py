"""The Views & PSFs panel, used as a person uses it, without a window of napari."""

import time

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QPushButton, QWidget
from scipy.ndimage import gaussian_filter1d
from views_person import choose_in_dialog, in_front_of_the_views, known

from microscope_files import CziPlane, czi_xml, write_czi
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.roles_dialog import RolesDialog
from napari_mvfusion.io.psf_files import open_psf, prepare_psf
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import EBMD, Average
from napari_mvfusion.psf import fwhm
from napari_mvfusion.simulation import light_sheet_psf, sample
from napari_mvfusion.system.words import sentence


@pytest.fixture
def person(model, qtbot, plugin):
    return in_front_of_the_views(model, qtbot)


@pytest.fixture
def two(model, person, small_views, show_views):
    """The layers of two views, in the panel."""
    layers = show_views(model, small_views)
    person.settle()
    return layers


def test_without_views_it_says_what_to_do_first(person):
    label = person.see("empty", QLabel)
    assert label.isVisible()
    assert label.text().startswith("No views yet. Drop their folder here")
    assert not person.see("match").isEnabled()
    assert not person.see("orientation").isEnabled()
    assert person.see("orientation").toolTip() == "<qt>Needs two or more views, each with a PSF</qt>"


def test_a_row_a_view_with_its_psf_as_it_is_used(model, person, small_views, two):
    for layer in two:
        layer.scale = (0.5, 0.25, 0.25)
    person.settle()
    assert [row.name for row in person.rows()] == ["nuclei view 0", "nuclei view 180"]
    for row, view in zip(person.rows(), small_views.views.views, strict=True):
        assert row.ticked
        assert row.problems == []
        shape, widths = view.psf.shape, fwhm(view.psf)
        for number in (*shape, f"{widths[0]:.2f}", f"{widths[0] * 0.5:.2f}", f"{widths[1] * 0.25:.2f}"):
            assert f"{number}</td>" in row.numbers
        yx, zx, zy = row.cuts
        assert (yx.axes, zx.axes, zy.axes) == ("yx", "zx", "zy")
        assert zx.picture.shape == (shape[0], shape[2])
        assert zx.size_um == (shape[0] * 0.5, shape[2] * 0.25)
        middle = view.psf[:, shape[1] // 2, :]
        np.testing.assert_allclose(zx.picture, 255 * np.sqrt(middle / view.psf.max()), atol=0.51)
    expected = "2 views are fused on the grid of nuclei view 0:\n32 × 32 × 128 voxels of 0.5 × 0.25 × 0.25 µm (z, y, x)"
    assert person.see("summary", QLabel).text() == expected


def test_what_is_entered_stands_in_the_notes_and_reaches_the_views(model, person, two):
    row = person.rows()[0]
    row.enter("angle", "45")
    row.enter("weight", "2.5")
    person.rows()[1].tick()
    assert known(two[0])["angle"] == 45
    assert known(two[0])["weight"] == 2.5
    assert [known(layer)["included"] for layer in two] == [True, False]
    assert open_layers([two[0]]).views.views[0].weight == 2.5
    row.enter("weight", "0")
    assert known(two[0])["weight"] > 0
    assert person.see("summary", QLabel).text().startswith("1 of 2 views is fused")
    person.rows()[0].tick()
    assert person.see("summary", QLabel).text() == "No view is ticked: tick the views to fuse."


def test_what_others_write_into_the_notes_is_shown(person, two):
    annotate(two[0], included=False, angle=12.0)
    annotate(two[1], weight=3.0, psf=None)
    person.settle()
    first, second = person.rows()
    assert not first.ticked
    assert second.problems == ["No PSF is known for this view: it can be averaged, but not deconvolved."]
    assert second.numbers == ""


def test_layers_are_followed(model, person, small_views, two, show_views, rng):
    two[1].name = "from below"
    model.add_image(rng.random((8, 8, 8)), name="something else")
    model.add_image(rng.random((8, 8)), name="flat")
    person.settle()
    assert [(row.name, row.ticked) for row in person.rows()] == [
        ("nuclei view 0", True),
        ("from below", True),
        ("something else", False),
    ]
    model.layers.move(1, 0)
    person.settle()
    assert [row.name for row in person.rows()][:2] == ["from below", "nuclei view 0"]
    model.layers.remove(two[0])
    person.settle()
    assert [row.name for row in person.rows()] == ["from below", "something else"]
    model.layers.clear()
    person.settle()
    assert person.rows() == []
    assert person.see("empty", QLabel).isVisible()


def test_a_raw_psf_from_a_file_is_made_ready_as_on_the_command_line_and_its_row_says_so(person, two, tmp_path):
    good = known(two[0])["psf"]
    raw = np.pad(good, ((1, 2), (3, 3), (3, 3))) * 250 + 0.05
    tifffile.imwrite(tmp_path / "raw.tif", raw.astype(np.float32))
    choose_in_dialog(tmp_path / "raw.tif")
    person.rows()[0].choose("Choose file")
    person.settle()
    expected = open_psf(tmp_path / "raw.tif", None, clean=True)
    np.testing.assert_array_equal(known(two[0])["psf"], expected.psf)
    assert person.rows()[0].problems == []
    assert row_source(person) == f"PSF: raw.tif; {'; '.join(expected.notes)}"
    assert "background 0.05 subtracted" in row_source(person)
    assert person.messages("done") == [f"'nuclei view 0': raw.tif is the PSF now ({'; '.join(expected.notes)})."]
    assert open_layers(two).views.views[0].psf_notes == expected.notes, "the run says it too"
    assert known(two[0])["inputs"] is None
    person.rows()[0].choose("Undo")
    person.settle()
    assert known(two[0])["psf"] is good


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda psf: psf[1:], "cropped"),
        (lambda psf: psf * 7, "sum brought from 7 to 1"),
        (lambda psf: np.pad(psf, ((20, 0), (0, 0), (0, 0))), "centre moved to the middle"),
    ],
)
def test_a_psf_that_a_script_gives_is_made_ready_too(person, two, spoil, words):
    raw = spoil(known(two[0])["psf"]).astype(np.float32)
    annotate(two[0], psf=raw)
    person.settle()
    assert person.rows()[0].problems == []
    assert words in row_source(person)
    np.testing.assert_array_equal(known(two[0])["psf"], prepare_psf(raw).psf)
    before = known(two[0])["psf"]
    two[1].name = "something else to look at"
    person.settle()
    assert known(two[0])["psf"] is before, "once is enough"


@pytest.mark.parametrize(
    ("spoil", "words", "button"),
    [
        (lambda psf: np.where(psf == psf[0, 0, 0], np.nan, psf), "NaN or infinite", "Set to 0"),
        (
            lambda psf: gaussian_filter1d(np.pad(psf, ((0, 0), (40, 40), (0, 0))), 18, 1),
            "of its light lies beyond",
            "Crop",
        ),
    ],
)
def test_what_cannot_be_used_has_its_own_button(person, two, spoil, words, button):
    annotate(two[0], psf=spoil(known(two[0])["psf"]).astype(np.float32))
    person.settle()
    row = person.rows()[0]
    assert row.kinds() == ["error"]
    assert words in row.problems[0]
    row.fix(button)
    person.settle()
    assert "error" not in person.rows()[0].kinds()
    psf = known(two[0])["psf"]
    assert all(side % 2 for side in psf.shape)
    assert np.isfinite(psf).all()


def test_a_file_that_is_refused_is_shown_in_the_words_of_the_command_line(person, two, tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((7, 7, 7), np.float32))
    choose_in_dialog(tmp_path / "dark.tif")
    person.rows()[0].choose("Choose file")
    person.settle()
    refused = open_psf(tmp_path / "dark.tif", None, clean=True).flaw
    assert person.rows()[0].problems == [sentence(f"{refused}.")]
    assert person.rows()[0].kinds() == ["error"]
    views = open_layers(two).views
    with pytest.raises(InputError, match="has no positive sum") as error:
        EBMD().check(views)
    assert str(error.value) == refused
    assert Average().check(views) == []


def test_two_psfs_that_cannot_be_used_are_mended_at_once(person, two):
    assert not person.see("fix_all").isVisible()
    for layer in two:
        psf = known(layer)["psf"].copy()
        psf[0, 0, 0] = np.nan
        annotate(layer, psf=psf)
    person.settle()
    person.press("fix_all")
    person.settle()
    assert [float(known(layer)["psf"].sum()) for layer in two] == pytest.approx([1, 1], abs=1e-5)
    assert not person.see("fix_all").isVisible()


def test_a_psf_of_other_voxels_is_brought_to_those_of_the_views_and_its_row_says_so(person, two, tmp_path):
    for layer in two:
        layer.scale = (0.2, 0.2, 0.2)
    person.settle()
    fine = light_sheet_psf(0)
    metadata = {"spacing": 0.1, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "fine.tif", fine, imagej=True, resolution=(10, 10), metadata=metadata)
    choose_in_dialog(tmp_path / "fine.tif")
    person.rows()[0].choose("Choose file")
    person.settle()
    assert fwhm(known(two[0])["psf"]) == pytest.approx(np.divide(fwhm(fine), 2), rel=0.15)
    assert "resampled from voxels of 0.1 x 0.1 x 0.1 to 0.2 x 0.2 x 0.2 um" in row_source(person)
    assert "resampled" in person.messages("done")[0]


def row_source(person):
    """The quiet line of the first row, which tells where its PSF came from."""
    return person.rows()[0].row.findChild(QLabel, "source").toolTip()


def test_psfs_of_a_folder_find_their_views(person, two, tmp_path):
    for angle in (0, 180):
        tifffile.imwrite(tmp_path / f"PSF-view{angle}.tif", light_sheet_psf(angle, axial_fwhm=5 + angle / 90))
    tifffile.imwrite(tmp_path / "psf_45.tif", light_sheet_psf())
    tifffile.imwrite(tmp_path / "overview.tif", np.zeros((3, 3, 3), np.uint8))
    choose_in_dialog(tmp_path)
    person.see("match", QPushButton).menu().actions()[0].trigger()
    person.settle()
    for angle, layer in zip((0, 180), two, strict=True):
        given = light_sheet_psf(angle, axial_fwhm=5 + angle / 90)
        np.testing.assert_array_equal(known(layer)["psf"], prepare_psf(given).psf)
        assert known(layer)["psf_source"] == f"PSF-view{angle}.tif"
    assert person.messages("warning") == ["psf_45.tif fits no view."]
    (done,) = person.messages("done")
    assert "nuclei view 180: PSF-view180.tif" in done


@pytest.mark.parametrize("sizes", ["same", "different"])
def test_one_broken_file_of_several_is_named_and_the_others_are_opened(person, model, tmp_path, sizes):
    files = [tmp_path / f"Angle{angle}.tif" for angle in (0, 90, 180)]
    for number, file in enumerate(files):
        tifffile.imwrite(file, np.ones((8, 9, 10 + number * (sizes == "different")), np.uint16))
    files[1].write_bytes(files[1].read_bytes()[:900])
    person.drop(*files)
    assert [layer.name for layer in model.layers] == ["Angle0", "Angle180"]
    assert [known(layer)["angle"] for layer in model.layers] == [0, 180]
    (message,) = person.messages("error")
    assert str(files[1]) in message
    assert "copy or export it again" in message


def test_files_that_are_all_broken_are_all_named(person, model, tmp_path):
    files = [tmp_path / f"Angle{angle}.tif" for angle in (0, 90)]
    for file in files:
        file.write_bytes(b"II*")
    person.drop(*files)
    assert not model.layers
    (message,) = person.messages("error")
    assert all(str(file) in message for file in files)


def test_dropped_psfs_go_to_the_views_and_a_broken_one_is_named(person, two, tmp_path):
    tifffile.imwrite(tmp_path / "psf_0.tif", light_sheet_psf())
    (tmp_path / "psf_180.tif").write_bytes(b"II*\0 no tiff")
    (tmp_path / "notes.txt").write_text("lunch at noon")
    before = known(two[1])["psf"]
    person.drop(tmp_path / "psf_0.tif", tmp_path / "psf_180.tif", tmp_path / "notes.txt")
    np.testing.assert_array_equal(known(two[0])["psf"], prepare_psf(light_sheet_psf()).psf)
    assert known(two[1])["psf"] is before
    assert any("psf_180.tif" in text for text in person.messages("error"))
    assert "notes.txt is neither a folder, a project nor a file with a volume." in person.messages("error")


def test_a_dropped_folder_of_psfs_goes_to_the_views(model, person, two, tmp_path):
    for angle in (0, 180):
        tifffile.imwrite(tmp_path / f"{angle}_psf.tif", light_sheet_psf(angle))
    person.drop(tmp_path)
    np.testing.assert_array_equal(known(two[1])["psf"], prepare_psf(light_sheet_psf(180)).psf)
    assert len(model.layers) == 2


def test_dropped_files_that_hold_several_views_bring_all_of_them(model, person, tmp_path, rng):
    """A set of files that stands for views with their angles, and a file with several images."""
    volume = rng.poisson(90, (4, 12, 16)).astype(np.uint16)
    xml = czi_xml({"X": 0.5, "Y": 0.5, "Z": 2.0}, angles=(0, 90))
    files = [tmp_path / "fish.czi", tmp_path / "fish(1).czi"]
    for part, file in enumerate(files):
        planes = [CziPlane({"V": part, "Z": z}, plane + part) for z, plane in enumerate(volume)]
        write_czi(file, planes, "" if part else xml, part=part)
    person.drop(*files)
    # Its parts state different places of the stage, which may count or not.
    (dialog,) = (dialog for dialog in person.panel.window().findChildren(RolesDialog) if dialog.isVisible())
    dialog.accept()
    person.settle()
    assert [layer.name for layer in model.layers] == ["fish view 0", "fish view 90"]
    assert [known(layer)["angle"] for layer in model.layers] == [0, 90]
    np.testing.assert_array_equal(model.layers[1].data, volume + 1)
    model.layers.clear()
    write_czi(files[1], planes[:3], part=1)
    person.drop(files[0])
    assert [layer.data.shape for layer in model.layers] == [(4, 12, 16), (3, 12, 16)], "each on its own grid"
    model.layers.clear()
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as tiff:
        for values in (volume, volume + 5):
            tiff.write(values, metadata={"axes": "ZYX"})
    person.drop(tmp_path / "two.ome.tif")
    assert [layer.name for layer in model.layers] == ["two 0", "two 1"]
    np.testing.assert_array_equal(model.layers[1].data, volume + 5)


def test_what_is_being_typed_stays_while_others_change_the_layers(person, two):
    field = person.rows()[0].row.findChild(QDoubleSpinBox, "angle")
    field.setFocus()
    field.selectAll()
    person.bot.keyClicks(field, "12")
    two[0].name = "renamed meanwhile"
    person.settle()
    assert field.text() == "12"
    person.bot.keyClick(field, Qt.Key.Key_Return)
    assert known(two[0])["angle"] == 12


def test_looking_again_takes_no_time_that_is_felt(model, person, two, show_views, small_views):
    for number in range(3):
        show_views(model, small_views, f"sample {number}")
    person.settle()
    start = time.thread_time()
    person.panel._check()
    assert time.thread_time() - start < 0.05


def test_a_dropped_folder_brings_views_and_psfs(model, person, views_folder):
    person.drop(views_folder)
    assert [(row.name, row.ticked) for row in person.rows()] == [
        ("a view 0", True),
        ("a view 180", True),
        ("b view 0", False),
        ("b view 180", False),
    ]
    assert person.rows()[0].cuts
    assert person.rows()[0].problems == []
    empty = views_folder.parent / "empty"
    empty.mkdir()
    person.drop(empty)
    assert any("holds no views" in text for text in person.messages("error"))


def test_single_files_become_views_with_their_angles(model, person, small_views, tmp_path):
    for angle in (0, 90):
        write_tiff(tmp_path / f"fish_view_{angle}.tif", small_views.truth, Grid(small_views.truth.shape, (2, 1, 1)))
    choose_in_dialog(tmp_path / "fish_view_0.tif", tmp_path / "fish_view_90.tif")
    person.press("add_files")
    person.settle()
    assert [row.name for row in person.rows()] == ["fish_view_0", "fish_view_90"]
    assert [known(layer)["angle"] for layer in model.layers] == [0, 90]
    np.testing.assert_allclose(model.layers[0].scale, (2, 1, 1))
    tifffile.imwrite(tmp_path / "psf_90.tif", light_sheet_psf(90))
    person.drop(tmp_path / "psf_90.tif")
    assert [known(layer).get("psf") is None for layer in model.layers] == [True, False]


@pytest.mark.parametrize("entrance", ["files", "folder"])
def test_time_lapse_files_are_added_one_a_view_and_fuse_time_point_by_time_point(
    model, person, small_views, tmp_path, entrance
):
    movies = {}
    for view in small_views.views.views:
        movies[view.angle] = np.stack([view.data, view.data[::-1], view.data[:, ::-1]]).astype(np.uint16)
        name = f"fish_view_{view.angle:g}.ome.tif"
        metadata = {"axes": "TZYX", "TimeIncrement": 2.5} | {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"}
        tifffile.imwrite(tmp_path / name, movies[view.angle], ome=True, metadata=metadata)
    person.drop(*(tmp_path.glob("*.tif") if entrance == "files" else [tmp_path]))
    person.bot.waitUntil(lambda: len(model.layers) == 2)
    person.settle()
    assert person.messages("error") == []
    for layer in model.layers:
        np.testing.assert_array_equal(np.asarray(layer.data), movies[known(layer)["angle"]])
        assert tuple(layer.scale) == (2.5, 0.5, 0.5, 0.5)
        assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer", "micrometer"]
        assert tuple(layer.axis_labels) == ("t", "z", "y", "x")
    assert all(row.ticked for row in person.rows())
    opened = open_layers(list(model.layers))
    assert (opened.leading, opened.inputs) == ((3,), None)
    for index in opened.indices:
        for view in opened.at(index).views:
            np.testing.assert_array_equal(np.asarray(view.data), movies[view.angle][index])


def test_files_of_different_shape_are_opened_each_on_its_grid(model, person, small_views, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", small_views.truth)
    tifffile.imwrite(tmp_path / "b.tif", small_views.truth[::2])
    person.drop(tmp_path / "a.tif", tmp_path / "b.tif")
    for row in person.rows():
        if not row.ticked:
            row.tick()
    person.settle()
    (problem, *_) = person.row("b").problems
    assert "16 × 32 × 128 voxels" in problem
    person.row("b").fix("Stretch")
    person.settle()
    assert person.row("b").problems[-1] == (
        "This view has another grid (16 × 32 × 128 voxels of 2 × 1 × 1 µm). It is resampled while it is fused."
    )
    np.testing.assert_allclose(model.layers["b"].scale, (2, 1, 1))
    np.testing.assert_allclose(model.layers["b"].translate, (0.5, 0, 0))
    person.row("b").fix("Make a copy")
    person.settle()
    copy = model.layers["b resampled"]
    assert isinstance(copy.data, da.Array)
    both = open_layers([model.layers["a"], model.layers["b"]]).views
    np.testing.assert_array_equal(np.asarray(copy.data), both.read(both.grid.box)[1])
    assert known(copy)["included"]
    assert not known(model.layers["b"])["included"]
    assert not any("grid" in problem for problem in person.row("b resampled").problems)
    views = open_layers([model.layers["a"], copy]).views
    np.testing.assert_array_equal(views.coverage(views.grid.box)[1], both.coverage(both.grid.box)[1])


def test_voxels_that_are_no_numbers_are_left_to_the_other_views(person, two):
    bad = two[0].data.copy()
    bad[3, 4, 5:7] = np.nan
    two[0].data = bad
    person.settle()
    assert person.rows()[0].problems == ["2 voxels are NaN or infinite, the first at (z, y, x) = (3, 4, 5)."]
    person.rows()[0].fix("Leave out")
    person.settle()
    assert person.rows()[0].problems == []
    views = open_layers(two).views
    block, cover = views.read(views.grid.box), views.coverage(views.grid.box)
    assert np.isfinite(block).all()
    assert (cover[0, 3, 4, 5:7] == 0).all()
    assert cover.sum() == cover.size - 2


def test_hot_pixels_are_removed_by_a_button_and_the_layer_stays_as_it_is(person, two):
    pixels = np.random.default_rng(0).poisson(100, two[0].data.shape).astype(np.uint16)
    pixels[3, 4, 5] = 60000
    two[0].data = pixels
    person.settle()
    assert "1 hot pixel." in person.rows()[0].problems
    person.rows()[0].fix("Remove")
    person.settle()
    assert known(two[0])["remove_hot"] is True
    assert two[0].data is pixels
    views = open_layers(two).views
    assert views.read(views.grid.box)[0].max() < 200
    person.rows()[0].fix("Undo")
    person.settle()
    assert known(two[0])["remove_hot"] is False


def test_negative_values_offer_a_camera_offset_that_can_be_undone(person, two):
    two[0].data = two[0].data - two[0].data.min() - 2.5
    person.settle()
    assert person.rows()[0].problems == ["Values go down to -2.5; light cannot be below 0."]
    person.rows()[0].fix("Set offset")
    person.settle()
    assert known(two[0])["offset"] == -2.5
    assert person.rows()[0].problems == ["A camera offset of -2.5 is subtracted."]
    views = open_layers(two).views
    assert views.read(views.grid.box)[0].min() == 0
    person.rows()[0].fix("Undo")
    person.settle()
    assert known(two[0])["offset"] == 0


def test_psfs_are_taken_turned_mirrored_and_removed_by_the_menu(person, two):
    psf = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)
    annotate(two[0], psf=psf)
    annotate(two[1], angle=90.0, psf=None)
    person.settle()
    row = person.rows()[1]
    row.choose("Take from another view > nuclei view 0")
    person.settle()
    assert known(two[1])["psf"] is psf
    across = "It looks along y by its angle of 90 degrees, but its PSF is long along z: check its angle"
    assert any(text.startswith(across) for text in row.problems)
    row.choose("Turn to this view's angle (90°)")
    person.settle()
    turned = light_sheet_psf(90, axial_fwhm=6, lateral_fwhm=2)
    np.testing.assert_allclose(known(two[1])["psf"], turned, atol=1e-6)
    assert not any("is long along" in text for text in row.problems)
    assert known(two[1])["psf_source"] == "PSF of nuclei view 0, turned by 90°"
    row.choose("Mirror")
    person.settle()
    np.testing.assert_allclose(known(two[1])["psf"], turned[::-1, ::-1, ::-1], atol=1e-6)
    row.choose("Remove")
    person.settle()
    assert known(two[1])["psf"] is None
    assert row.entries().keys() >= {"Turn from another view > nuclei view 0, by +90°"}
    assert "Mirror" not in row.entries()
    row.choose("Turn from another view > nuclei view 0, by +90°")
    person.settle()
    np.testing.assert_allclose(known(two[1])["psf"], turned, atol=1e-6)


def test_a_psf_is_saved_as_it_is_used(person, two, tmp_path):
    for layer in two:
        layer.scale = (0.5, 0.25, 0.25)
    person.settle()
    choose_in_dialog(tmp_path / "mine")
    person.rows()[0].choose("Save as TIFF")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mine.tif"), known(two[0])["psf"])
    assert person.messages("done") == [f"The PSF of nuclei view 0 was saved as {tmp_path / 'mine.tif'}."]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_psf_in_its_views_own_frame_is_turned_as_the_layer_is(model, person):
    made = sample("nuclei", 32, angles=(0, 90), registered=False)
    own = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)
    # As another plugin shows them.
    affines = (np.eye(4) if view.affine is None else view.affine for view in made.views.views)
    first, second = (
        model.add_image(view.data, name=f"nuclei view {view.name}", affine=affine, units="um")
        for view, affine in zip(made.views.views, affines, strict=True)
    )
    annotate(first, included=True, psf=own)
    annotate(second, included=True, psf=own)
    person.settle()
    row = person.rows()[1]
    assert row.problems[-1] == "This view is turned or mirrored. It is resampled while it is fused."
    assert not person.rows()[0].entries()["Lies in this view's own frame"].isEnabled()
    row.choose("Lies in this view's own frame")
    person.settle()
    turned = light_sheet_psf(90, axial_fwhm=6, lateral_fwhm=2)
    np.testing.assert_allclose(known(second)["psf"], turned, atol=1e-6)
    assert row.entries()["Lies in this view's own frame"].isChecked()
    zx = person.rows()[1].cuts[1].picture
    assert zx.shape == (turned.shape[0], turned.shape[2])
    row.choose("Undo")
    person.settle()
    assert known(second)["psf"] is own
    # Another panel gives the view a PSF: it is used as it is.
    row.choose("Lies in this view's own frame")
    person.settle()
    annotate(second, psf=turned)
    person.settle()
    assert known(second)["psf"] is turned
    assert not row.entries()["Lies in this view's own frame"].isChecked()
    annotate(second, psf=own)
    row.choose("Lies in this view's own frame")
    person.settle()
    # The layer is moved: the PSF follows.
    second.affine = first.affine
    second.scale = first.scale
    person.settle()
    np.testing.assert_allclose(known(second)["psf"], own, atol=1e-6)
    row.choose("Lies in this view's own frame")
    person.settle()
    assert known(second)["psf_own"] is None
    assert known(second)["psf"] is own


def test_a_mirrored_psf_is_found_and_flipped(model, person, two_view_psfs):
    psfs = [prepare_psf(psf).psf for psf in two_view_psfs.values()]
    made = sample("embryo", 96, angles=(0, 180), psfs=psfs, snr=200, attenuation=0)
    wrong = made.views.with_psfs([psfs[0], psfs[1][::-1, ::-1, ::-1]])
    layers = [model.add_image(data, **look) for data, look, _ in view_layers(wrong, sample="embryo")]
    person.settle()
    person.press("orientation")
    assert person.see("orientation", QPushButton).text() == "Checking…"
    person.settle()
    assert "mirrored" in person.rows()[1].problems[0]
    assert not any("seems to be mirrored" in text for text in person.rows()[0].problems)
    person.rows()[1].fix("Flip")
    person.settle()
    np.testing.assert_array_equal(known(layers[1])["psf"], psfs[1])
    assert not any("mirrored" in text for text in person.rows()[1].problems)


def test_series_are_looked_at_too(model, person, rng):
    movie = rng.random((2, 6, 7, 8)).astype(np.float32)
    movie[1, 2, 3, 4] = np.inf
    model.add_image(movie, name="movie")
    person.settle()
    person.rows()[0].tick()
    person.settle()
    (first, *_) = person.rows()[0].problems
    assert first == "1 voxel is NaN or infinite, the first at (…, z, y, x) = (1, 2, 3, 4)."
    person.rows()[0].fix("Leave out")
    person.settle()
    views = open_layers([model.layers[0]]).views
    assert views.coverage(views.grid.box)[0, 2, 3, 4] == 0


def test_a_layer_that_goes_while_it_is_mended_does_no_harm(model, person, two):
    psf = known(two[0])["psf"]
    annotate(two[0], psf=np.where(psf == psf.min(), np.nan, psf))
    person.settle()
    person.rows()[0].fix("Set to 0")
    model.layers.remove(two[0])
    person.settle()
    assert person.messages("error") == []
    assert [row.name for row in person.rows()] == ["nuclei view 180"]


def test_different_samples_on_one_grid_do_not_mix(model, person, small_views, two, show_views):
    grid = Grid(small_views.views.grid.shape)
    more = RegisteredViews(small_views.views.views, grid)
    for data, look, _ in view_layers(more, sample="other"):
        model.add_image(data, **look)
    person.settle()
    assert [row.ticked for row in person.rows()] == [True, True, False, False]


def test_what_is_left_unticked_says_why_until_somebody_decides(model, person, small_views, two, rng):
    again, other = (view_layers(small_views.views, sample=sample)[0] for sample in ("nuclei", "fish"))
    for data, look, _ in (again, other):
        model.add_image(data, **look)
    model.add_image(rng.random((8, 8, 8)), name="plain")
    person.settle()
    said = {row.name: row.problems for row in person.rows() if not row.ticked}
    assert list(said.values()) == [
        [f"Not ticked, as '{two[0].name}' is the same view: tick one of them."],
        ["Not ticked, as it was opened apart from the views of nuclei: tick it to fuse it too."],
        ["Not ticked, as nothing tells whether it is a view: tick it to fuse it."],
    ]
    row = person.row("plain")
    row.tick()
    row.tick()
    person.settle()
    assert not row.ticked
    assert row.problems == []


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_view_that_no_angle_about_x_describes_says_where_it_looks(model, person, rng):
    # napari shows nothing that is turned by a right angle.
    turns = {"along x": 85, "oblique": 45, "unknown": 0}
    for name, degrees in turns.items():
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        about_y = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
        model.add_image(rng.random((8, 8, 8)), name=name, affine=about_y, units="um")
    person.settle()
    for name in turns:
        row = person.row(name)
        row.tick()
        person.settle()
        assert row.row.findChild(QWidget, "angle").text() == name
        assert ("looks " + name in row.row.findChild(QWidget, "angle").toolTip()) == (name != "unknown")
    person.row("along x").enter("angle", "90")
    assert known(model.layers["along x"])["angle"] == 90


def test_chunks_that_the_files_leave_out_are_said_in_the_row(model, person, tmp_path, rng):
    pixels = rng.integers(1, 900, (16, 16, 16)).astype(np.uint16)
    for angle, first in ((0, 0), (90, 1)):
        # zarr writes no chunk that holds 0 alone.
        pixels[:8, :8, :8] = first
        group = zarr.open_group(tmp_path / f"fish_view_{angle}.zarr", mode="w", zarr_format=2)
        group.create_array("0", data=pixels, chunks=(8, 8, 8))
        scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        datasets = [{"path": "0", "coordinateTransformations": [scale]}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    person.drop(tmp_path)
    person.settle()
    said = [[text for text in row.problems if "not in the files" in text] for row in person.rows()]
    assert said == [["Chunks that are not in the files count as 0: 1 of 8 of view '0'."], []]
