"""Projects that are damaged, hostile, obsolete or large: one line that names the culprit, and nothing unasked."""

import builtins
import io
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bdv_projects import IDENTITY, Setup, gzip_n5, scaled, write_n5, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.loaders import LOADERS
from napari_mvfusion.io.bdv.project_file import read_project
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.opening import open_views

N5 = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
SHAPE = (6, 7, 8)
PIXELS = np.arange(6 * 7 * 8, dtype=np.uint16).reshape(SHAPE)


@pytest.fixture
def project(tmp_path):
    """Writes a project of one view in N5, changed as asked for, and gives its path."""
    write_n5_view(tmp_path / "d.n5", 0, 0, [PIXELS], [[1, 1, 1]])

    def write(loader=N5, setups=None, transforms=None, *, replace=(), **how):
        listed = {0: Setup()} if setups is None else setups
        text = xml_of(loader, listed, {(0, 0): [IDENTITY]} if transforms is None else transforms, **how)
        for old, new in replace:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "dataset.xml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path, **choice):
    """The one line that a project is refused with."""
    with pytest.raises(InputError) as raised:
        open_views(path, no_data="none", **choice)
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{n} "{"&a" + (str(n - 1) if n else "") + ";"}{"&a" + (str(n - 1) if n else "") + ";"}">'
    for n in range(40)
)


@pytest.mark.parametrize(
    "head",
    [
        BOMB + "]>",
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE SpimData SYSTEM "http://example.com/x.dtd">',
    ],
    ids=["bomb", "file", "network"],
)
def test_document_types_are_refused_before_anything_is_expanded(project, head):
    path = project(head=head)
    tracemalloc.start()
    assert "defines a document type" in refused(path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("<SpimData", "is damaged: it is no XML"),
        ("<OME/>", "is no BDV project: its root is <OME>"),
        ('<SpimData version="1.0"/>', r"is an obsolete project \(version 1.0\)"),
        ('<SpimData version="0.2"/>', "<SequenceDescription> is missing"),
        ('<?xml version="1.0" encoding="klingon"?><SpimData/>', "is no XML|cannot be read"),
        ("<a>" * 100_000, "is damaged: it is no XML"),
    ],
)
def test_files_that_are_no_project_are_said_to_be_none(tmp_path, text, words):
    (tmp_path / "d.xml").write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        read_project(tmp_path / "d.xml")
    assert str(tmp_path / "d.xml") in str(raised.value)


def test_backups_and_single_volumes_are_told_apart_from_projects(project, tmp_path):
    path = project()
    path.rename(tmp_path / "dataset.xml~1")
    assert "is a backup of a project" in refused(tmp_path / "dataset.xml~1")
    two = project(setups={0: Setup(), 1: Setup(parts={"angle": 1})}, transforms={})
    with pytest.raises(InputError, match="is a project of 2 views, where one volume is needed"):
        open_stored(two)
    np.testing.assert_array_equal(open_stored(project()).volume()[:], PIXELS)
    # XML files beside views are none of them.
    tifffile.imwrite(tmp_path / "a_view_0.tif", np.ones(SHAPE, np.uint8))
    assert open_views(tmp_path).names == ("0",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<id>0</id>", "<id>zero</id>", "the id of a ViewSetup is 'zero'"),
        ("<id>0</id>", "<id>-1</id>", "the id of a ViewSetup is '-1', which is below 0"),
        ("<id>0</id>", "<id>99999999999</id>", "is '99999999999', which is larger than a number can be there"),
        ("<id>0</id>", "<id>1.5</id>", "is '1.5', which is not a whole number"),
        ("<size>8 7 6</size>", "<size>8 7</size>", "the size of setup 0 is '8 7', where 3 finite numbers are needed"),
        ("<size>8 7 6</size>", "<size>8 7 -6</size>", "the size of setup 0 is 8 7 -6, which cannot be"),
        ("<size>8 7 6</size>", "<size>8 7 1e30</size>", "which cannot be"),
        ("<size>1.0 1.0 1.0</size>", "<size>1 1 0</size>", "the voxel size of setup 0 is 1 1 0"),
        ("<size>1.0 1.0 1.0</size>", "<size>1 1 nan</size>", "where 3 finite numbers are needed"),
        ('setup="0"', 'setup="x"', "the setup of a view is 'x'"),
        ('type="affine"', 'type="generic"', "a transform of the type 'generic'"),
        ('type="list"', 'type="spiral"', "lists its time points in an unknown way"),
        ('format="bdv.n5"', 'class="viewer.hdf5.Hdf5ImageLoader"', "is an obsolete project"),
        ("d.n5</n5>", "gone.n5</n5>", r"gone\.n5 does not exist"),
        ("<n5 type", "<n6 type", "names no N5 container"),
    ],
)
def test_what_cannot_be_is_named(project, old, new, words):
    path = project(replace=[(old, new), ("</n5>", "</n6>")] if old == "<n5 type" else [(old, new)])
    said = refused(path)
    assert re.search(words, said), said
    assert "dataset.xml" in said


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("1 0 0 0 0 1 0 0 0 0 1", "where 12 finite numbers are needed"),
        ("1 0 0 0 0 1 0 0 0 0 inf 0", "where 12 finite numbers are needed"),
        ("1 0 0 0 0 1 0 0 0 0 0 0", "squeezes the view flat"),
        ("1 2 3 0 2 4 6 0 0 0 1 0", "squeezes the view flat"),
        ("1 0 0 1e300 0 1 0 0 0 0 1 0", "out of all reach"),
        ("1e12 0 0 0 0 1e12 0 0 0 0 1e12 0", "out of all reach"),
    ],
)
def test_affines_that_can_be_no_place_are_refused(project, numbers, words):
    path = project(replace=[("1.0 0.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 0.0 1.0 0.0", numbers)])
    said = refused(path)
    assert words in said
    assert "setup 0 at time point 0" in said


@pytest.mark.parametrize("bad", [(1, 1, 1e-12), (1, 1e6, 1), (1e-9, 1e-9, 1e-9)], ids=["flat", "long", "tiny"])
@pytest.mark.parametrize("usual", [1, 2.5], ids=["bdv", "of a size"])
def test_an_axis_that_no_unit_explains_is_named_and_no_unit_asked_for(project, bad, usual):
    setups = {0: Setup(), 1: Setup(parts={"angle": 1}), 2: Setup(parts={"angle": 2})}
    places = {(0, n): [scaled(usual, usual, usual)] for n in setups} | {(0, 1): [scaled(*np.multiply(bad, usual))]}
    said = refused(project(setups=setups, transforms=places))
    assert "the registration of setup 1 at time point 0 scales its " in said
    assert f"by {next(n for n in bad if n != 1):.3g} beside the other axes and views" in said
    assert "world" not in said


def test_a_project_that_registers_nothing_says_that(project):
    path = project(transforms={})
    said = refused(path)
    assert "registers no view, so what one unit of its world is" in said
    assert "--world-unit" in said
    assert open_views(path, world_unit_um=2.0, no_data="none").grid.voxel_size_um == (2, 2, 2)


def test_views_far_apart_are_refused_before_their_volume_is_made(project, tmp_path):
    write_n5_view(tmp_path / "d.n5", 1, 0, [PIXELS], [[1, 1, 1]])
    far = np.hstack([np.eye(3), [[5e7], [5e7], [0]]])
    said = refused(
        project(setups={0: Setup(), 1: Setup(parts={"angle": 1})}, transforms={(0, 0): [IDENTITY], (0, 1): [far]})
    )
    assert "the fused volume would have" in said
    assert "view '1'" in said


def test_what_is_there_twice_is_refused(project):
    path = project()
    text = path.read_text()
    setup = text[text.index("<ViewSetup>") : text.index("</ViewSetup>") + len("</ViewSetup>")]
    path.write_text(text.replace(setup, setup + setup))
    assert "two setups with the id 0" in refused(path)
    start, end = text.index("<ViewRegistration "), text.index("</ViewRegistration>") + len("</ViewRegistration>")
    path.write_text(text[:end] + text[start:end] + text[end:])
    assert "registers setup 0 at time point 0 twice" in refused(path)


@pytest.mark.parametrize("unit", ["parsec", "furlong", "m"])
def test_a_unit_that_no_microscope_has_is_named_with_its_file_and_view(project, unit):
    path = project(setups={0: Setup(unit=unit, voxel=(2, 2, 2))}, transforms={(0, 0): [scaled(2, 2, 2)]})
    said = refused(path)
    assert f"{path} states the voxels of setup 0 (" in said
    assert f"as 2 x 2 x 2 {unit} (z, y, x), which no microscope has: correct the unit there" in said
    assert "--world-unit UM" in said
    assert open_views(path, world_unit_um=0.5, no_data="none").grid.voxel_size_um == (1, 1, 1)


def test_a_word_in_place_of_a_unit_is_shown(project):
    remarks = open_views(project(setups={0: Setup(unit="bananas")}), no_data="none").remarks
    assert any(
        "dataset.xml measures its voxels in 'bananas', no unit of length that is known" in one for one in remarks
    )
    remarks = open_views(project(setups={0: Setup(unit="pixel")}), no_data="none").remarks
    assert any("the project states no length" in one for one in remarks)


def test_setups_in_different_units_are_asked_about(project):
    setups = {0: Setup(voxel=(1, 1, 1), unit="um"), 1: Setup(voxel=(0.001, 0.001, 0.001), unit="mm")}
    path = project(setups=setups, missing=[(0, 1)])
    said = refused(path)
    assert "setup 0 is measured in 'um' and setup 1 in 'mm'" in said
    assert "--world-unit" in said
    assert open_views(path, world_unit_um=2.0, no_data="none").grid.voxel_size_um == (2, 2, 2)
    # One unit by two names is one.
    same = project(setups={0: Setup(unit="um"), 1: Setup(unit="micron")}, missing=[(0, 1)])
    assert open_views(same, no_data="none").grid.size_known


REFUSED = (
    "split.viewerimgloader", "spimreconstruction.wrapped.flatfield.default", "spimreconstruction.lightsheetz1",
    "spimreconstruction.micromanager", "spimreconstruction.simview", "spimreconstruction.dhm", "bigstitcher.smartspim",
    "bdv.remote", "bdv.n5.s3", "bdv.n5.cloud", "ims", "catmaid", "my.own.loader",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pixels_that_are_not_read_are_refused_by_name(project, name):
    said = refused(project(replace=[('format="bdv.n5"', f'format="{name}"')]))
    assert name in said
    assert "re-save it as N5, HDF5 or OME-Zarr" in said


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_that_names_nothing_says_so(project, name):
    said = refused(project(loader=f'<ImageLoader format="{name}"></ImageLoader>'))
    assert "dataset.xml" in said


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ('<n5 type="relative">../other/d.n5</n5>', "outside of its own folder"),
        ('<n5 type="relative">sub/../../other/d.n5</n5>', "outside of its own folder"),
        ('<n5 type="absolute">{other}/d.n5</n5>', "outside of its own folder"),
        ("<n5>file:{other}/d.n5</n5>", "outside of its own folder"),
        ('<n5 type="relative">link.n5</n5>', "link.n5, which is a link to {other}/d.n5, outside of its own folder"),
        ('<n5 type="relative">linked\\d.n5</n5>', "which is a link to {other}/d.n5, outside of its own folder"),
        ('<n5 type="absolute">s3://bucket/d.n5</n5>', "keeps its pixels on the network"),
        ('<n5 type="absolute">https://example.com/d.n5</n5>', "keeps its pixels on the network"),
        ('<n5 type="absolute">C:\\data\\d.n5</n5>', "a path of Windows"),
        ('<n5 type="relative"></n5>', "a path in it is empty"),
    ],
)
def test_paths_that_leave_a_project_are_not_followed_unasked(tmp_path, path, words):
    (tmp_path / "p").mkdir()
    write_n5_view(tmp_path / "other" / "d.n5", 0, 0, [PIXELS + 5], [[1, 1, 1]])
    (tmp_path / "p" / "link.n5").symlink_to(tmp_path / "other" / "d.n5")
    (tmp_path / "p" / "linked").symlink_to(tmp_path / "other")
    loader = f'<ImageLoader format="bdv.n5">{path.format(other=tmp_path / "other")}</ImageLoader>'
    project = tmp_path / "p" / "dataset.xml"
    project.write_text(xml_of(loader, {0: Setup()}, {(0, 0): [IDENTITY]}))
    said = refused(project)
    assert words.format(other=os.path.realpath(tmp_path / "other")) in said
    assert "dataset.xml" in said
    if words == "outside of its own folder":
        assert "--outside" in said
        views = open_views(project, outside=True, no_data="none")
        assert np.asarray(views.views[0].data[0, 0, 0:1])[0] == 5
        run("fuse", project, "--outside", "--method", "average", "-q", "-o", tmp_path / "o.zarr")


def test_paths_and_links_within_a_project_are_followed(project, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "d.n5").rename(tmp_path / "sub" / "d.n5")
    (tmp_path / "link.n5").symlink_to(tmp_path / "sub" / "d.n5")
    for path in ("link.n5", "sub\\d.n5", "sub/../sub/d.n5"):
        views = open_views(project(replace=[("d.n5", path)]), no_data="none")
        assert np.asarray(views.views[0].data[:]).max() == PIXELS.max()
    based = project(replace=[('relative">.</BasePath>', 'relative">sub</BasePath>')])
    assert np.asarray(open_views(based, no_data="none").views[0].data[:]).max() == PIXELS.max()


def test_links_in_a_circle_and_blocks_that_lead_out_end_in_words(project, tmp_path):
    (tmp_path / "a.n5").symlink_to(tmp_path / "b.n5")
    (tmp_path / "b.n5").symlink_to(tmp_path / "a.n5")
    assert "a.n5" in refused(project(replace=[("d.n5", "a.n5")]))
    block = tmp_path / "d.n5" / "setup0" / "timepoint0" / "s0" / "0" / "0" / "0"
    block.rename(tmp_path.parent / "elsewhere")
    block.symlink_to(tmp_path.parent / "elsewhere")
    views = open_views(project(), no_data="none")
    with pytest.raises(InputError, match=r"is a link to .*elsewhere, out of its dataset"):
        views.read(views.grid.box)
    (tmp_path.parent / "elsewhere").unlink()


UNREADABLE = {
    "a link to nothing": (lambda file: file.symlink_to("objects/xx"), r"is a link to objects/xx, which does not exist"),
    "a link to itself": (lambda file: file.symlink_to(file), "is a link that leads back to itself"),
    "a folder": (Path.mkdir, "is a folder, where a file is needed"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_block_that_is_there_and_cannot_be_read_is_no_block_of_zeros(project, tmp_path, name):
    make, words = UNREADABLE[name]
    block = tmp_path / "d.n5" / "setup0" / "timepoint0" / "s0" / "0" / "0" / "0"
    block.unlink()
    views = open_views(project(), no_data="none")
    assert (views.views[0].data[:4, :4, :4] == 0).all()  # nothing of this name: as where a block is all zeros
    make(block)
    with pytest.raises(InputError, match=f"{re.escape(str(block))} {words}"):
        views.views[0].data[:4, :4, :4]


def test_a_folder_of_blocks_that_leads_nowhere_is_no_folder_of_zeros(project, tmp_path):
    folder = tmp_path / "d.n5" / "setup0" / "timepoint0" / "s0" / "0"
    folder.rename(tmp_path / "gone")
    folder.symlink_to("../nowhere")
    views = open_views(project(), no_data="none")
    with pytest.raises(InputError, match=r"lies behind .*, which is a link to \.\./nowhere, which does not exist"):
        views.views[0].data[:4, :4, :4]


def test_a_psf_that_cannot_be_used_is_a_flaw_and_the_view_is_still_averaged(project, tmp_path):
    flaws = {}
    (tmp_path / "psf").mkdir()
    tifffile.imwrite(tmp_path / "psf" / "zeros.tif", np.zeros((5, 5, 5), np.float32))
    write_n5(tmp_path / "psf.n5" / "cut", np.ones((5, 5, 5), np.float32), (5, 5, 5), **gzip_n5())
    block = tmp_path / "psf.n5" / "cut" / "0" / "0" / "0"
    block.write_bytes(block.read_bytes()[:30])
    for name in ("zeros.tif", "gone.tif", "gone", "cut", "../../etc/passwd", "../secret.tif"):
        views = open_views(project(psfs={(0, 0): name}), no_data="none")
        assert views.views[0].psf is None
        flaws[name] = views.views[0].psf_flaw
        assert "the PSF of view 'setup 0'" in flaws[name] or "the PSF of view '0'" in flaws[name]
    assert "zeros.tif" in flaws["zeros.tif"]
    assert "does not exist" in flaws["gone.tif"]
    assert "no dataset of an N5 container" in flaws["gone"]
    assert "damaged block" in flaws["cut"] or "cut off" in flaws["cut"]
    assert "outside of its own folder" in flaws["../../etc/passwd"]
    path = project(psfs={(0, 0): "gone.tif"})
    run("fuse", path, "--method", "average", "-q", "-o", tmp_path / "o.zarr")
    failed = run("fuse", path, "--method", "ebmd", "-q", "-o", tmp_path / "e.zarr", code=2)
    assert "gone.tif" in failed.stderr


def test_info_ends_with_2_where_a_project_cannot_be_used(project, tmp_path):
    assert "gone.n5" in run("info", project(replace=[("d.n5", "gone.n5")]), code=2).stderr
    (tmp_path / "x.xml").write_text("<OME/>")
    assert "is no BDV project" in run("info", tmp_path / "x.xml", code=2).stderr
    run("info", project())


def test_a_project_of_ten_thousand_views_opens_without_a_look_at_what_is_not_chosen(tmp_path, monkeypatch):
    times, setups = 2500, 4
    write_n5_view(tmp_path / "d.n5", 0, 7, [PIXELS], [[1, 1, 1]])
    for setup in range(setups):
        write_n5(tmp_path / "d.n5" / f"setup{setup}" / "timepoint1234" / "s0", PIXELS)
    listed = {n: Setup(voxel=(0.5, 0.5, 2), parts={"angle": n}) for n in range(setups)}
    chain = [np.hstack([np.eye(3), [[0.1], [0], [0]]]), IDENTITY, scaled(1, 1, 4)]
    places = {(t, n): chain for t in range(times) for n in range(setups)}
    path = tmp_path / "dataset.xml"
    path.write_text(xml_of(N5, listed, places, timepoints=range(times)))
    opened = []

    def counted(known):
        return lambda file, *given, **how: (opened.append(Path(os.fspath(file))), known(file, *given, **how))[1]

    monkeypatch.setattr(io, "open", counted(io.open))
    monkeypatch.setattr(builtins, "open", counted(builtins.open))
    views = open_views(path, timepoint=1234, no_data="none")
    assert len(views) == setups
    inside = [file for file in opened if file.is_relative_to(tmp_path / "d.n5")]
    # Attributes of the setups and datasets that are opened, no block, and nothing of other time points.
    assert {file.name for file in inside} == {"attributes.json"}
    assert len(inside) <= 3 * setups
    opened.clear()
    views.read(views.grid.box)
    assert {file.name for file in opened} != {"attributes.json"}


def spoil_pixels(folder):
    block = folder / "d.n5/setup0/timepoint0/s0/0/0/0"
    block.write_bytes(block.read_bytes()[:20])


SPOILT = {
    "bomb": ({"head": BOMB + "]>"}, None, "defines a document type"),
    "path": ({"loader": N5.replace("d.n5", "../d.n5")}, None, "outside of its own folder"),
    "loader": ({"loader": '<ImageLoader format="bdv.other"/>'}, None, "'bdv.other'"),
    "size": ({"setups": {0: Setup(size=(9, 7, 6))}}, None, "has 6 x 7 x 9 pixels"),
    "affine": ({"transforms": {(0, 0): [scaled(1, 0, 1)]}}, None, "squeezes the view flat"),
    "units": ({"setups": {0: Setup(), 1: Setup(unit="nm", parts={"angle": 1})}}, None, "'nm'"),
    "block": ({}, spoil_pixels, "0/0/0 is cut off"),
    "no pixels": ({}, lambda folder: (folder / "d.n5").rename(folder / "e.n5"), "d.n5 does not exist"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_the_command_line_refuses_in_one_line_and_nothing_is_lost(project, tmp_path, kind):
    how, damage, words = SPOILT[kind]
    path = project(**how)
    if damage is not None:
        damage(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    commands = [["fuse", path, "-o", tmp_path / "fused.zarr", "--method", "average", "--device", "cpu"]]
    # A block is looked at when it is read.
    commands += [["info", path]] if kind != "block" else []
    for command in commands:
        said = run(*command, code=2).stderr
        errors = [line for line in said.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert words in said.replace("\n", " ")
        assert "Traceback" not in said
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert {file: content for file, content in after.items() if "fused.zarr" not in str(file)} == before
    assert not (tmp_path / "fused.zarr").exists()
