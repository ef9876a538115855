"""No command writes where it reads: an input stays as it is, by whatever name the output reaches it."""

import hashlib
import os

import numpy as np
import pytest
import tifffile
import zarr

from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import make_method

SHAPE = (24, 22, 20)
GRID = Grid(SHAPE)


def made():
    rng = np.random.default_rng(2)
    psf = np.zeros((5, 5, 5), np.float32)
    psf[1:4, 2, 2] = [0.25, 0.5, 0.25]
    return RegisteredViews(
        [View(rng.random(SHAPE, np.float32), f"{a}", angle=float(a), psf=psf) for a in (0, 90)], GRID
    )


@pytest.fixture
def folder(tmp_path):
    """TIFF views with PSFs, and the same as OME-Zarr."""
    place = tmp_path / "in"
    place.mkdir()
    views = made()
    for view in views.views:
        write_tiff(place / f"s_view_{view.name}.tif", view.data, GRID)
        write_tiff(place / f"psf_{view.name}.tif", view.psf, Grid((5, 5, 5)))
    write_views_zarr(place / "views.zarr", views)
    return place


def state(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def link(path, target):
    path.symlink_to(target)
    return path


def hard(path, target):
    path.hardlink_to(target)
    return path


OUTPUTS = {
    "a view": lambda d: d / "s_view_0.tif",
    "by another path": lambda d: d / ".." / d.name / "s_view_0.tif",
    "by a link": lambda d: link(d / "link.tif", d / "s_view_0.tif"),
    "by a hard link": lambda d: hard(d / "other.tif", d / "s_view_90.tif"),
    "by a folder that is linked": lambda d: link(d.parent / "there", d) / "s_view_0.tif",
    "a psf": lambda d: d / "psf_90.tif",
}


@pytest.mark.parametrize("by", ["folder", "files", "recipe"])
@pytest.mark.parametrize("out", OUTPUTS.values(), ids=OUTPUTS)
def test_fuse_never_replaces_what_it_reads(tmp_path, folder, out, by):
    path = out(folder)
    views = [folder / "s_view_0.tif", folder / "s_view_90.tif"]
    psfs = ["--psf", folder / "psf_0.tif", "--psf", folder / "psf_90.tif"]
    source = [folder] if by == "folder" else [*views, *psfs]
    if by == "recipe":
        run("fuse", *source, "--method", "average", "-o", tmp_path / "made.tif")
        source = ["--recipe", tmp_path / "made.tif.recipe.json"]
    before = state(tmp_path)
    method = [] if by == "recipe" else ["--method", "average"]
    done = run("fuse", *source, *method, "-o", path, "--overwrite", code=3)
    assert "which is never replaced: choose another output" in " ".join(done.stderr.split())
    assert state(tmp_path) == before


def test_fuse_writes_beside_its_views_and_over_its_own_results(folder):
    before = state(folder)
    for _ in range(2):
        run("fuse", folder, "--method", "average", "-o", folder / "fused.tif", "--overwrite")
    after = state(folder)
    assert {name: after[name] for name in before} == before


def test_a_volume_in_a_folder_is_neither_replaced_nor_written_into(folder):
    before = state(folder)
    whole = folder / "views.zarr"
    for out in (whole, whole / "fused.zarr", whole / "psf" / "fused.tif"):
        run("fuse", whole, "--method", "average", "-o", out, "--overwrite", code=3)
    assert state(folder) == before


def test_an_output_that_holds_its_input_is_refused(tmp_path):
    """Replacing the output, or removing the unfinished run beside it, would remove what is in there."""
    for outer in ("o.zarr", "o.zarr.partial"):
        inner = tmp_path / outer / "in"
        inner.mkdir(parents=True)
        for view in made().views:
            write_tiff(inner / f"s_view_{view.name}.tif", view.data, GRID)
        run("fuse", inner, "--method", "average", "-o", tmp_path / "o.zarr", "--overwrite", code=3)
        assert len(list(inner.iterdir())) == 2


def test_arrays_of_files_are_known_too(tmp_path):
    write_zarr(tmp_path / "a.zarr", made().views[0].data, GRID)
    np.save(tmp_path / "b.npy", made().views[1].data)
    views = RegisteredViews(
        [
            View(zarr.open_array(tmp_path / "a.zarr" / "0", mode="r"), "a"),
            View(np.load(tmp_path / "b.npy", mmap_mode="r"), "b"),
        ],
        GRID,
    )
    with pytest.raises(OutputError, match="never replaced"):
        fuse(views, make_method("average"), out=tmp_path / "a.zarr", overwrite=True)
    with pytest.raises(OutputError, match="never replaced"):
        refuse_overlap([tmp_path / "b.npy"], [view.data.filename for view in views.views[1:]])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_a_format_has_opened_lazily_is_known_too(tmp_path, compression):
    """Also where a script makes views of volumes, and no view says which file it is of."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.h5"]
    for path, view in zip(paths, (*made().views, made().views[0]), strict=True):
        if path.suffix == ".h5":
            write_volume(path, np.asarray(view.data), GRID)
        else:
            tifffile.imwrite(path, np.asarray(view.data, np.float32), compression=compression)
    views = RegisteredViews([View(open_volume(path)[0], path.stem) for path in paths], GRID)
    before = [path.read_bytes() for path in paths]
    for path in paths:
        with pytest.raises(OutputError, match="never replaced"):
            fuse(views, make_method("average"), out=path, overwrite=True)
    assert [path.read_bytes() for path in paths] == before


def test_other_commands_never_replace_what_they_read(tmp_path, folder):
    before = state(tmp_path)
    view = folder / "s_view_0.tif"
    run("psf", "measure", view, view, "--overwrite", code=3)
    run("psf", "measure", view, link(tmp_path / "psf.tif", view), "--overwrite", code=3)
    (tmp_path / "psf.tif").unlink()
    assert state(tmp_path) == before


def test_case_that_the_system_does_not_tell_apart(tmp_path):
    (tmp_path / "view.tif").write_text("raw")
    if not (tmp_path / "VIEW.tif").exists():
        os.link(tmp_path / "view.tif", tmp_path / "VIEW.tif")  # what such a system would show
    with pytest.raises(OutputError, match="never replaced"):
        refuse_overlap([tmp_path / "VIEW.tif"], [tmp_path / "view.tif"])


def test_the_views_themselves_can_be_opened_as_before(folder):
    assert len(open_views(folder)) == 2
