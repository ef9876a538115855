"""Sets of OME-TIFF files that a companion or one of them describes, and what Micro-Manager writes."""

import json
import shutil
import struct

import numpy as np
import pytest
import tifffile

from microscope_files import CziPlane, write_czi, write_ims
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored, write_volume
from napari_mvfusion.io.guessing import files_without_scheme
from napari_mvfusion.io.opening import open_views, open_volume
from tiff_parts import GREY, SHAPE, ome_xml, write_part

NAMESPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


@pytest.fixture
def volume(rng):
    return rng.integers(1, 60000, SHAPE).astype(np.uint16)


def write_binary_only(path, pixels, described_by, **how):
    """A file of a set as Bio-Formats and Micro-Manager write those that something else describes."""
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME {NAMESPACE} UUID="urn:uuid:{path.name}">'
        f'<BinaryOnly MetadataFile="{described_by}" UUID="urn:uuid:all"/></OME>'
    )
    tifffile.imwrite(path, pixels, description=xml.encode(), metadata=None, **GREY, **how)


@pytest.fixture
def companion(tmp_path, volume):
    """A volume in two files and another one in a third, described by fish.companion.ome."""
    xml = ome_xml([[("a.ome.tif", 0, 2), ("b.ome.tif", 2, 4)], [("c.ome.tif", 0, 6)]])
    path = tmp_path / "fish.companion.ome"
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{xml.replace("urn:uuid:{}", "urn:uuid:all")}\n')
    write_binary_only(tmp_path / "a.ome.tif", volume[:2], path.name, compression="zlib")
    write_binary_only(tmp_path / "b.ome.tif", volume[2:], path.name)
    write_binary_only(tmp_path / "c.ome.tif", volume + 1, path.name)
    return path


def test_a_companion_and_each_file_that_it_describes_open_the_same_volume(companion, volume):
    for name in ("fish.companion.ome:0", "a.ome.tif", "b.ome.tif"):
        data, grid = open_volume(companion.parent / name)
        np.testing.assert_array_equal(data[:], volume)
        np.testing.assert_array_equal(data[1:4, 3, ::2], volume[1:4, 3, ::2])
        assert grid.voxel_size_um == (1.0, 0.5, 0.5)
        assert not open_stored(companion.parent / name).notes, "nothing is left out"
    for name in ("fish.companion.ome:1", "c.ome.tif"):
        data, grid = open_volume(companion.parent / name)
        np.testing.assert_array_equal(data[:], volume + 1)
        assert grid.voxel_size_um == (2.0, 0.5, 0.5)
    with pytest.raises(InputError, match=r"fish\.companion\.ome holds several images: name one of them"):
        open_volume(companion)
    views = open_views({"0": f"{companion}:0", "90": f"{companion}:1"}, voxel_size_um=(1, 1, 1))
    np.testing.assert_array_equal(views.views[1].data[:], volume + 1)


def spoil(companion, how):
    text = companion.read_text()
    if how == "lacking":
        (companion.parent / "b.ome.tif").unlink()
    elif how == "none":
        for file in companion.parent.glob("*.tif"):
            file.unlink()
    else:
        old, new = how
        companion.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("lacking", r"is truncated: planes are missing, or other files of its set \(b\.ome\.tif\)"),
        ("none", r"describes files that are not there \(a\.ome\.tif, b\.ome\.tif, c\.ome\.tif\): copy them beside it"),
        (
            ('"b.ome.tif"', '"../b.ome.tif"'),
            r"names a file outside of its folder \(\.\./b\.ome\.tif\), which is refused",
        ),
        (('"a.ome.tif"', '"/etc/passwd"'), r"names a file outside of its folder \(/etc/passwd\), which is refused"),
        (
            ("<OME ", '<!DOCTYPE OME [<!ENTITY a "aaa">]><OME '),
            r"fish\.companion\.ome has a description with XML entities",
        ),
        (('SizeX="16"', 'SizeX="99999999999"'), r"says that it has .* planes"),
        (("</OME>", ""), r"fish\.companion\.ome cannot be read as OME-XML"),
    ],
)
def test_a_spoilt_set_names_the_culprit(companion, how, words):
    spoil(companion, how)
    names = ["fish.companion.ome:0"] if how == "none" else ["fish.companion.ome:0", "a.ome.tif"]
    for name in names:
        with pytest.raises(InputError, match=words) as caught:
            open_volume(companion.parent / name)
        assert "\n" not in str(caught.value)


def test_files_without_their_companion_open_as_far_as_is_known_and_say_so(companion, volume):
    companion.unlink()
    stored = open_stored(companion.parent / "b.ome.tif")
    np.testing.assert_array_equal(stored.volume()[:], volume[2:])
    assert stored.voxel_size_um == (None, None, None)
    assert "is described by fish.companion.ome, which is not there" in stored.notes[0]
    write_binary_only(companion.parent / "d.ome.tif", volume[0], companion.name)
    with pytest.raises(InputError, match=r"d\.ome\.tif is described by fish\.companion\.ome, .*; copy it beside"):
        open_volume(companion.parent / "d.ome.tif")


def test_a_folder_of_one_set_opens_whole(tmp_path, volume, monkeypatch):
    """As exporters write a file a channel, plane or time point, whatever these are called."""
    folder = tmp_path / "fish"
    folder.mkdir()
    xml = ome_xml([[("p_w.ome.tif", 0, 2), ("p_0.ome.tif", 2, 4)]])
    write_part(folder / "p_w.ome.tif", volume[:2], xml)
    write_part(folder / "p_0.ome.tif", volume[2:], xml)
    views = open_views(folder, no_data="none")
    assert views.names == ("fish",)
    assert f"the 2 files of {folder} are one image, which p_0.ome.tif stands for" in views.remarks[0]
    np.testing.assert_array_equal(views.views[0].data[:], volume)
    assert files_without_scheme(folder) == [folder / "p_0.ome.tif"]
    monkeypatch.chdir(folder)
    assert open_views(".", no_data="none").names == ("fish",)


def test_a_set_an_angle_is_a_view_an_angle(tmp_path, volume):
    for angle in (0, 90):
        names = [f"Angle{angle}_0.ome.tif", f"Angle{angle}_1.ome.tif"]
        xml = ome_xml([[(names[0], 0, 3), (names[1], 3, 3)]])
        for name, planes in zip(names, (volume[:3], volume[3:]), strict=True):
            write_part(tmp_path / name, planes + angle, xml)
    views = open_views(tmp_path, no_data="none")
    assert views.names == ("0", "90")
    for view in views.views:
        np.testing.assert_array_equal(view.data[:], volume + int(view.name))
    assert "4 files are 2 images" in views.remarks[0]


def bio_formats_tiff(path, pixels, counts):
    """A plain TIFF as Bio-Formats writes it: with the counts of all files, and an end that leads to another plane."""
    images = counts["channels"] * counts["slices"] * counts["frames"]
    said = f"ImageJ=\nhyperstack=true\nimages={images}\n" + "\n".join(f"{name}={n}" for name, n in counts.items())
    how = {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER", "software": "OME Bio-Formats 7.3.1"}
    tifffile.imwrite(path, pixels, description=said, metadata=None, **GREY, **how)
    with tifffile.TiffFile(path) as file:
        last = file.pages[-1]
        end = last.offset + 2 + 12 * len(last.tags)
    written = bytearray(path.read_bytes())
    written[end : end + 4] = struct.pack("<I", len(written))
    path.write_bytes(written)


def test_a_stack_of_bio_formats_that_counts_those_of_all_files_is_whole(tmp_path, volume):
    """Its tags say pixels a centimetre, which ImageJ takes where it says no unit itself."""
    path = tmp_path / "fish_T0_C1.tif"
    bio_formats_tiff(path, volume, {"channels": 2, "slices": 6, "frames": 3})
    stored = open_stored(path)
    np.testing.assert_array_equal(stored.volume()[:], volume)
    assert stored.voxel_size_um == (None, 0.5, 0.25)
    assert not stored.notes
    bio_formats_tiff(path, volume[:1], {"channels": 2, "slices": 6, "frames": 3})
    with pytest.raises(InputError, match=r"holds 1 of 36 planes that Bio-Formats wrote into several files: name their"):
        open_stored(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"is truncated"):
        open_stored(path)


def test_planes_of_which_no_order_is_stated_are_said_to_be_so(tmp_path, volume):
    """Bio-Formats keeps the order of the source in plain TIFF files, and reads that of ImageJ itself."""
    path = tmp_path / "fish.tif"
    bio_formats_tiff(path, volume, {"channels": 2, "slices": 3, "frames": 1})
    (said,) = open_stored(path).notes
    assert "does not say in which order its planes are" in said
    bio_formats_tiff(path, volume, {"channels": 1, "slices": 6, "frames": 1})
    assert not open_stored(path).notes


def test_planes_that_should_lie_in_files_that_are_not_there(tmp_path, volume):
    """All of them are here, as after a rename without a word of it in the file; or only some."""
    path = tmp_path / "new.ome.tif"
    xml = ome_xml([[("old.ome.tif", 0, 6)]]).replace("urn:uuid:{}", "urn:uuid:all")
    tifffile.imwrite(path, volume, description=xml.encode(), metadata=None, **GREY)
    (said,) = open_views([path], no_data="none").remarks
    assert f"{path} says that its planes lie in old.ome.tif, not there: its own are taken" in said
    np.testing.assert_array_equal(open_volume(path)[0][:], volume)
    tifffile.imwrite(path, volume[:2], description=xml.encode(), metadata=None, **GREY)
    with pytest.raises(InputError, match=r"describes 6 planes and holds 2; others lie in old\.ome\.tif, not there"):
        open_volume(path)


def test_a_file_that_another_tiff_describes_opens_with_it(tmp_path, volume):
    """As Micro-Manager writes those behind the first."""
    xml = ome_xml([[("s_MMStack.ome.tif", 0, 2), ("s_MMStack_1.ome.tif", 2, 4)]])
    write_part(tmp_path / "s_MMStack.ome.tif", volume[:2], xml)
    write_binary_only(tmp_path / "s_MMStack_1.ome.tif", volume[2:], "s_MMStack.ome.tif")
    for name in ("s_MMStack.ome.tif", "s_MMStack_1.ome.tif"):
        np.testing.assert_array_equal(open_volume(tmp_path / name)[0][:], volume)
    write_binary_only(tmp_path / "x.ome.tif", volume, "../s_MMStack.ome.tif")
    with pytest.raises(InputError, match=r"x\.ome\.tif names a file outside of its folder"):
        open_volume(tmp_path / "x.ome.tif")


def mm_stack(path, planes, xml, summary, order):
    """A stack of Micro-Manager: its header and index, planes in the order in which they were recorded."""
    count, height, width = planes.shape
    said = json.dumps(summary).encode()
    start = 40 + len(said)
    start += start % 2
    step = 162 + height * width * 2
    first_index = start + count * step
    entries = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (277, 3, 1), (278, 3, height)]
    text, of_plane = xml.encode() + b"\0", b'{"Camera": "Demo"}\0'
    file = bytearray(struct.pack("<2sHI", b"II", 42, start))
    file += struct.pack("<8I", 54773648, first_index, 0, 0, 0, 0, 2355492, len(said)) + said
    file += bytes(start - len(file))
    texts = first_index + 8 + 20 * count
    for number, plane in enumerate(planes):
        here = start + number * step
        tags = [*entries, (273, 4, here + 162), (279, 4, height * width * 2)]
        tags += [(270, 2, texts), (51123, 2, texts + len(text))] if number == 0 else [(51123, 2, texts + len(text))]
        ifd = struct.pack("<H", len(tags))
        for code, kind, value in sorted(tags):
            amount = {270: len(text), 51123: len(of_plane)}.get(code, 1)
            ifd += struct.pack("<HHII", code, kind, amount, value)
        ifd += struct.pack("<I", 0 if number == count - 1 else here + step)
        file += ifd + bytes(162 - len(ifd)) + plane.tobytes()
    file += struct.pack("<2I", 3453623, count)
    for number, (c, z, t) in enumerate(order):
        file += struct.pack("<5I", c, z, t, 0, start + number * step)
    path.write_bytes(bytes(file) + text + of_plane)


def test_a_micro_manager_stack_has_its_planes_in_order_and_the_size_in_its_summary(tmp_path, rng):
    """Channels were recorded before planes, and the OME-XML states no step."""
    volume = rng.integers(0, 60000, (3, 2, 12, 10)).astype(np.uint16)
    data = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{2 * z + c}" PlaneCount="1"/>'
        for z in range(3)
        for c in range(2)
    )
    xml = (
        f'<OME {NAMESPACE}><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="10" '
        f'SizeY="12" SizeZ="3" SizeC="2" SizeT="1" PhysicalSizeX="0.0" PhysicalSizeY="0.0">{data}</Pixels></Image></OME>'
    )
    summary = {"MicroManagerVersion": "2.0", "Frames": 1, "Slices": 3, "Channels": 2, "Positions": 1}
    summary |= {"SlicesFirst": False, "TimeFirst": False, "z-step_um": -1.5, "PixelSize_um": 0.25}
    path = tmp_path / "fish_MMStack_Pos0.ome.tif"
    mm_stack(path, volume.reshape(6, 12, 10), xml, summary, [(c, z, 0) for z in range(3) for c in range(2)])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].kind == "mmstack", "it is one to others"
    stored = open_stored(path)
    assert stored.voxel_size_um == (1.5, 0.25, 0.25)
    for c in range(2):
        np.testing.assert_array_equal(stored.volume(channel=c)[:], volume[:, c])


def test_a_folder_of_micro_manager_is_read_by_its_names_with_the_size_of_its_metadata(tmp_path, rng):
    volume = rng.integers(0, 60000, (2, 2, 3, 12, 10)).astype(np.uint16)
    for (t, c, z), name in {
        (t, c, z): f"img_{t:09}_{name}_{z:03}.tif"
        for t in range(2)
        for c, name in enumerate(("Cy5", "DAPI"))
        for z in range(3)
    }.items():
        tifffile.imwrite(tmp_path / name, volume[t, c, z])
    said = {"Summary": {"PixelSize_um": 0.325, "z-step_um": 2.0}, "FrameKey-0-0-0": {}}
    (tmp_path / "metadata.txt").write_text(json.dumps(said))
    pattern = "img_{timepoint}_{channel}_{z}.tif"
    for how in ({"pattern": pattern}, {}):
        views = open_views(tmp_path, timepoint=1, channel=0, **how)
        np.testing.assert_array_equal(views.views[0].data[:], volume[1, 0])
        assert views.grid.stated_size_um == (2.0, 0.325, 0.325)
    newer = {"Summary": {"z-step_um": 2.0}, "Metadata-Default/img.tif": {"PixelSizeUm": 0.5}}
    (tmp_path / "metadata.txt").write_text(json.dumps(newer))
    assert open_views(tmp_path, timepoint=1, channel=0, pattern=pattern).grid.stated_size_um == (2.0, 0.5, 0.5)
    for text in ('{"Summary": {"PixelSize_um": 0.3', "[]", '{"Summary": {"PixelSize_um": 0, "z-step_um": "x"}}'):
        (tmp_path / "metadata.txt").write_text(text)
        assert open_views(tmp_path, timepoint=1, channel=0, pattern=pattern).grid.known == (False,) * 3


def write_planes(folder, volume, name="img_{:09}_Default_{:03}.tif", *, timepoints=1):
    folder.mkdir()
    for t in range(timepoints):
        for z, plane in enumerate(volume):
            tifffile.imwrite(folder / name.format(t, z), plane + t)
    return folder


def test_folders_of_planes_are_views_of_a_list_and_by_name_and_time_points_are_chosen_in_each(tmp_path, rng):
    volumes = rng.integers(1, 60000, (2, 3, 12, 10)).astype(np.uint16)
    folders = [write_planes(tmp_path / f"Pos{n}", volumes[n], timepoints=2) for n in range(2)]
    said = {"Summary": {"PixelSize_um": 0.325, "z-step_um": 2.0}}
    (folders[0] / "metadata.txt").write_text(json.dumps(said))
    for source, names in ((folders, ("Pos0", "Pos1")), ({"0": folders[0], "90": folders[1]}, ("0", "90"))):
        views = open_views(source, timepoint=1)
        assert views.names == names
        for view, volume in zip(views.views, volumes, strict=True):
            np.testing.assert_array_equal(view.data[:], volume + 1)
        assert views.grid.stated_size_um == (2.0, 0.325, 0.325)
        assert any(
            f"{folders[1]} is taken for the volume img_000000001_Default_{{z}}.tif" in note for note in views.notes
        )
    with pytest.raises(InputError, match=r"choose one with --timepoint 0, 1"):
        open_views(folders)


def test_a_folder_of_several_views_is_not_one_of_a_list(tmp_path, volume):
    (tmp_path / "both").mkdir()
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / "both" / f"fish_view_{angle}.tif", volume, **GREY)
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, volume, **GREY)
    with pytest.raises(
        InputError, match=r"both holds 2 views, and is named as one: name its files, as .*view_0\.tif or"
    ):
        open_views([tmp_path / "both", other])


def test_what_opens_alone_is_a_view_of_a_list_and_by_name(tmp_path, companion, volume):
    write_volume(tmp_path / "v.h5", volume, Grid(SHAPE))
    write_volume(tmp_path / "v.zarr", volume, Grid(SHAPE))
    shutil.make_archive(str(tmp_path / "w.zarr"), "zip", tmp_path, "v.zarr")
    planes = write_planes(tmp_path / "planes", volume, "z{1:03}.tif")
    kinds = [
        f"{companion}:0",
        tmp_path / "v.h5:" / "volume",
        tmp_path / "v.zarr",
        tmp_path / "w.zarr.zip",
        planes,
        write_planes(tmp_path / "named", volume, "z{1:03}.tif") / "z{z}.tif",
        write_ims(tmp_path / "v.ims", [volume[None, None]], high=SHAPE),
        write_czi(tmp_path / "v.czi", [CziPlane({"V": 0, "Z": z}, plane) for z, plane in enumerate(volume)]),
    ]
    for source in (kinds, {str(number): kind for number, kind in enumerate(kinds)}):
        for view, kind in zip(
            open_views(source, voxel_size_um=(1, 1, 1), grid="same", no_data="none").views, kinds, strict=True
        ):
            np.testing.assert_array_equal(np.asarray(view.data[:]), volume, err_msg=str(kind))
