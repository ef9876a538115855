"""Units of length as programs write them."""

import re

import numpy as np
import pytest
import tifffile
import zarr

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.lengths import micrometres, seconds
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume

# The units of length of OME's schema, and how many metres each is by the SI or by its definition.
OME = {
    "Ym": 1e24, "Zm": 1e21, "Em": 1e18, "Pm": 1e15, "Tm": 1e12, "Gm": 1e9, "Mm": 1e6, "km": 1e3, "hm": 1e2, "dam": 1e1,
    "m": 1.0, "dm": 1e-1, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15, "am": 1e-18,
    "zm": 1e-21, "ym": 1e-24, "Å": 1e-10, "thou": 2.54e-5, "li": 0.0254 / 12, "in": 0.0254, "ft": 0.3048, "yd": 0.9144,
    "mi": 1609.344, "ua": 149597870700.0, "ly": 9460730472580800.0, "pc": 3.0856775814913673e16, "pt": 0.0254 / 72,
}  # fmt: skip
# Those of UDUNITS that the specification of OME-Zarr lists.
OME_ZARR = {
    "angstrom": 1e-10, "attometer": 1e-18, "centimeter": 1e-2, "decimeter": 1e-1, "exameter": 1e18, "femtometer": 1e-15,
    "foot": 0.3048, "gigameter": 1e9, "hectometer": 1e2, "inch": 0.0254, "kilometer": 1e3, "megameter": 1e6, "meter": 1.0,
    "micrometer": 1e-6, "mile": 1609.344, "millimeter": 1e-3, "nanometer": 1e-9, "parsec": 3.0856775814913673e16,
    "petameter": 1e15, "picometer": 1e-12, "terameter": 1e12, "yard": 0.9144, "yoctometer": 1e-24, "yottameter": 1e24,
    "zeptometer": 1e-21, "zettameter": 1e21,
}  # fmt: skip
OTHERS = {
    "um": 1e-6, "μm": 1e-6, "Âµm": 1e-6, "\\u00B5m": 1e-6, "\\u00b5m": 1e-6, "micron": 1e-6, "microns": 1e-6,
    "micrometre": 1e-6, "Micrometer": 1e-6, "MICRON": 1e-6, "Angstrom": 1e-10, "inches": 0.0254, "nanometers": 1e-9,
    " nm ": 1e-9,
}  # fmt: skip


@pytest.mark.parametrize(("unit", "metres"), (OME | OME_ZARR | OTHERS).items())
def test_a_unit_of_length_is_as_long_as_it_is(unit, metres):
    assert micrometres(unit) == pytest.approx(metres * 1e6, rel=1e-9)


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "pixel",
        "px",
        "pixels",
        "reference frame",
        "foo",
        "second",
        "degree",
        '"',
        "um*um",
        "9**9**9",
        "m" * 99,
        "2 um",
    ],
)
def test_what_is_no_length_that_anybody_knows_is_not_known(unit):
    assert micrometres(unit) is None


def test_units_of_time_are_known_by_the_names_that_files_use_and_others_are_not():
    names = {"s": 1, "sec": 1, "second": 1, "ms": 1e-3, "µs": 1e-6, "min": 60, "Minute": 60, "h": 3600, "d": 86400}
    assert {name: seconds(name) for name in names} == pytest.approx(names)
    for unknown in ("", "frame", "foo", "pixel", "um", "s*s", "2 s"):
        assert seconds(unknown) is None


def test_a_size_that_no_microscope_has_names_its_file(tmp_path):
    path = tmp_path / "v.zarr"
    write_zarr(path, np.ones((4, 5, 6), np.float32), Grid((4, 5, 6)))
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"][0]["unit"] = "furlong"
    group.attrs["ome"] = ome
    for look in (open_volume, lambda file: open_views([file])):
        with pytest.raises(
            InputError, match=r"^\S+v\.zarr: voxels of \(2\.01168e\+08, 1, 1\).*unit, which it states as 'furlong', or"
        ):
            look(path)
    assert open_views([path], voxel_size_um=(1.0, 1.0, 1.0)).grid.voxel_size_um == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("unit", [7, "bananas"])
def test_a_word_in_place_of_a_unit_is_shown_and_what_nobody_measured_is_not(tmp_path, unit):
    path = tmp_path / "v.zarr"
    write_zarr(path, np.ones((4, 5, 6), np.float32), Grid((4, 5, 6)))
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"][2]["unit"] = unit
    group.attrs["ome"] = ome
    said = rf"v\.zarr states its voxel size along x in '{unit}', no unit of length that is known: correct it there, or"
    for notes in (open_stored(path).notes, open_views(path).remarks, open_views([path]).remarks):
        assert [note for note in notes if re.search(said, note)]
    for axis, word in zip(ome["multiscales"][0]["axes"], ("pixel", None, ""), strict=True):
        axis["unit"] = word
    group.attrs["ome"] = ome
    assert open_stored(path).notes == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"PhysicalSizeX": "-.5"}, "states '-.5' as its voxel size along x, which is no size"),
        ({"PhysicalSizeZ": "nan"}, "states 'nan' as its voxel size along z, which is no size"),
        ({"PhysicalSizeYUnit": "bananas"}, "states its voxel size along y in 'bananas', no unit of length"),
        ({"PhysicalSizeYUnit": "pixel"}, ""),
    ],
    ids=str,
)
def test_a_size_in_ome_xml_that_is_none_is_said(tmp_path, wrong, said):
    path = tmp_path / "v.ome.tif"
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"}
    tifffile.imwrite(path, np.ones((3, 4, 5), np.uint16), ome=True, metadata={"axes": "ZYX"} | sizes | wrong)
    stored = open_stored(path)
    assert stored.voxel_size_um.count(None) == 1
    assert len(stored.notes) == bool(said)
    assert all(str(path) in note and said in note for note in stored.notes)


def test_a_unit_in_ome_xml_that_no_microscope_has_is_named(tmp_path):
    path = tmp_path / "v.ome.tif"
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"} | {"PhysicalSizeZUnit": "pc"}
    tifffile.imwrite(path, np.ones((3, 4, 5), np.uint16), ome=True, metadata={"axes": "ZYX"} | sizes)
    with pytest.raises(InputError, match=r"v\.ome\.tif: voxels of .*check the unit, which it states as 'pc', or say"):
        open_views([path])
