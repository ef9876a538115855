"""Results that are added to a zarr group that holds other images, which stay as they are and list the new one."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import zarr

from command_line import run
from faults.killing import KILLED, in_child
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import open_stored, write_volume
from napari_mvfusion.methods import Average

# What zarr says of files that are none of its own, as those of a run, and of metadata that are collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Object at:UserWarning"),
    pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning"),
]
SHAPE = (6, 8, 10)
GRID = Grid(SHAPE, (2.0, 0.5, 0.5))
HEAD = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
IMAGE = (
    '<Image ID="Image:{0}" Name="raw {0}"><Pixels ID="Pixels:{0}" DimensionOrder="XYZCT" Type="float" SizeX="10" '
    'SizeY="8" SizeZ="6" SizeC="1" SizeT="1"><Channel ID="Channel:{0}:0" SamplesPerPixel="1"/><MetadataOnly/></Pixels>'
    "</Image>"
)


def views():
    rng = np.random.default_rng(3)
    return RegisteredViews([View(rng.random(SHAPE, np.float32) + 1, name) for name in "ab"], GRID)


def container(path, *, listed=True, version=3):
    """Two images, as bioformats2raw keeps them, or in a plain group."""
    group = zarr.create_group(path, zarr_format=version)
    for name in "01":
        # An image gets its name of a single digit by no command of ours.
        pixels = np.full(SHAPE, float(name), np.float32) + np.arange(10, dtype=np.float32)
        write_volume(path.with_name("one.zarr"), pixels, GRID)
        path.with_name("one.zarr").rename(path / name)
    if listed:
        kind = {"bioformats2raw.layout": 3}
        group.attrs.update({"ome": {"version": "0.5", **kind}} if version == 3 else kind)
        series = {"series": ["0", "1"]}
        group.create_group("OME").attrs.update({"ome": {"version": "0.5", **series}} if version == 3 else series)
        (path / "OME" / "METADATA.ome.xml").write_text(f"{HEAD}{IMAGE.format(0)}{IMAGE.format(1)}</OME>")
    return path


def digests(path):
    """Of all files, but for those of the image that is added and of the list."""
    kept = [each for each in path.rglob("*") if each.is_file() and each.relative_to(path).parts[0] in "01"]
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in kept}


def series(path):
    return json.loads((path / "OME" / "zarr.json").read_text())["attributes"]["ome"]["series"]


def test_a_result_is_added_to_a_container_that_lists_it(tmp_path):
    path = container(tmp_path / "c.zarr")
    before = digests(path)
    command = ("fuse", path / "0", path / "1", "--method", "average", "-o", path / "fused")
    run(*command)
    assert digests(path) == before
    assert series(path) == ["0", "1", "fused"]
    np.testing.assert_allclose(np.asarray(zarr.open_group(path)["fused"]["0"])[0, 0], np.arange(10) + 0.5)
    fused = open_stored(path / "fused")
    assert (fused.shape, fused.size_um) == (SHAPE, GRID.voxel_size_um)
    ome_types = pytest.importorskip("ome_types")
    described = ome_types.from_xml((path / "OME" / "METADATA.ome.xml").read_text(), validate=True)
    assert [image.name for image in described.images] == ["raw 0", "raw 1", "fused"]
    pixels = described.images[2].pixels
    assert (pixels.size_z, pixels.size_y, pixels.size_x) == SHAPE
    assert (pixels.physical_size_z, pixels.physical_size_x) == (2.0, 0.5)
    # Nothing is replaced but this image, and that when it is asked for.
    assert "exists already" in run(*command, code=3).stderr
    run(*command, "--overwrite")
    assert series(path) == ["0", "1", "fused"]
    assert (path / "OME" / "METADATA.ome.xml").read_text().count('Name="fused"') == 1
    assert digests(path) == before


def test_what_would_be_lost_is_not_replaced(tmp_path):
    path = container(tmp_path / "c.zarr")
    before = digests(path)
    for out, said in ((path, "holds more than one image"), (path / "OME", "is no image, and is not replaced by one")):
        with pytest.raises(OutputError, match=said):
            fuse(views(), Average(), out=out, overwrite=True)
    assert digests(path) == before
    assert series(path) == ["0", "1"]


def test_a_plain_group_takes_an_image_and_finds_it_where_its_metadata_are_collected(tmp_path):
    path = container(tmp_path / "c.zarr", listed=False)
    zarr.consolidate_metadata(path)
    fuse(views(), Average(), out=path / "fused")
    found = zarr.open_consolidated(path)["fused/0"]
    np.testing.assert_array_equal(np.asarray(found), np.asarray(open_stored(path / "fused").volume()))
    write_volume(path / "saved", np.ones(SHAPE, np.float32), GRID)
    assert "saved" in dict(zarr.open_consolidated(path).members())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"ome": {"version": "0.5", "plate": {"wells": []}}}, "is a plate, in which no image has a name of its own"),
        ({"ome": {"version": "0.6", "scene": {}}}, "is a scene, in which"),
        ({"ome": {"version": "0.5", "multiscales": []}}, "is an image, in which"),
    ],
)
def test_what_takes_no_image_says_so(tmp_path, kind, said):
    zarr.create_group(tmp_path / "c.zarr").attrs.update(kind)
    with pytest.raises(OutputError, match=said):
        fuse(views(), Average(), out=tmp_path / "c.zarr" / "fused")
    assert [each.name for each in (tmp_path / "c.zarr").iterdir()] == ["zarr.json"]


def test_a_list_of_version_04_is_left_alone(tmp_path):
    path = container(tmp_path / "c.zarr", version=2)
    with pytest.raises(OutputError, match=r"lists its images in OME-Zarr 0\.4"):
        fuse(views(), Average(), out=path / "fused")
    assert not (path / "fused.partial").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_whatever_ends_a_run_the_container_is_whole_and_the_run_goes_on(tmp_path):
    path = container(tmp_path / "c.zarr")
    before, kept = digests(path), tmp_path / "kept"
    shutil.copytree(path, kept)

    def work(**how):
        *_, done = fuse_events(views(), Average(), out=path / "fused", device="cpu", **how)
        assert done.fused is not None

    code, steps, *_ = in_child(work, folder=path, since="recipe.json")
    assert code == 0
    # Every other step, the first and the last: the same steps without a container are all tried elsewhere.
    for at in {*range(1, steps + 1, 2), steps}:
        shutil.rmtree(path)
        shutil.copytree(kept, path)
        assert in_child(work, folder=path, at=at, since="recipe.json").code == KILLED
        # The images that were there are found, and one that is listed is there.
        assert {"0", "1"} <= set(series(path)) <= {name for name, _ in zarr.open_group(path).groups()}
        work(resume=True)
        assert series(path) == ["0", "1", "fused"]
        assert (path / "OME" / "METADATA.ome.xml").read_text().count('Name="fused"') == 1
        assert {each.name for each in path.iterdir()} == {"0", "1", "OME", "fused", "fused.recipe.json", "zarr.json"}
        assert digests(path) == before
