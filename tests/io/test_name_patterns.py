"""Names as people give them: patterns with fields, what is proposed for them, and the views that follow."""

import itertools
import json
import re

import h5py
import numpy as np
import pytest
import tifffile

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io import name_pattern
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.guessing import files_without_scheme
from napari_mvfusion.io.name_guess import guess_pattern
from napari_mvfusion.io.name_pattern import NamePattern
from napari_mvfusion.io.name_table import choose_files, read_names
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_truth, open_views
from napari_mvfusion.io.proposals import pattern_for, propose
from napari_mvfusion.io.roles import guess_roles
from napari_mvfusion.io.volume_choice import NotChosenError, VolumeChoice
from napari_mvfusion.simulation import light_sheet_psf

SHAPE = (5, 12, 12)
ENDINGS = (".tif", ".tiff", ".h5", ".zarr")


def read(pattern, name):
    return NamePattern(pattern, ENDINGS).match(name)


def fill(folder, *names):
    """Volumes that are told apart by their value: the number of the name."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if "psf" in name.lower():
            tifffile.imwrite(folder / name, light_sheet_psf(float(number), shape=(5, 5, 5)))
        else:
            tifffile.imwrite(folder / name, np.full(SHAPE, number + 1, np.uint16))
    return folder


def values(views):
    return {view.name: int(view.data[0, 0, 0]) for view in views.views}


PEOPLE = {
    "spim_TL{timepoint}_Angle{angle}.tif": [f"spim_TL{t}_Angle{a}.tif" for t in (0, 1) for a in (0, 45, 270)],
    "Angle {angle} - bead PSF.tif | Angle {angle}.tif": [
        f"Angle {a}{what}.tif" for a in (0, 90) for what in ("", " - bead PSF")
    ],
    "t{timepoint}_c{channel}_a{angle}.tif": ["t0003_c1_a270.tif", "t0003_c1_a90.tif"],
    "Ch{channel}_Ill{illumination}_Ang{angle}_TP{timepoint}.tif": ["Ch1_Ill0_Ang45_TP3.tif", "Ch1_Ill1_Ang45_TP3.tif"],
    "SPC{tag}_TM{timepoint}_ANG{angle}_CM{view}_CHN{channel}_PH0.stack.tif": [
        "SPC00_TM00001_ANG000_CM0_CHN00_PH0.stack.tif",
        "SPC00_TM00001_ANG000_CM1_CHN00_PH0.stack.tif",
    ],
    "img_view{view}.tif": ["img_view1.tif", "img_view2.tif"],
    "z{z}.tif": ["z0001.tif", "z0002.tif", "z0003.tif"],
    "fish_{angle}deg.ome.tif": ["fish_45deg.ome.tif", "fish_135deg.ome.tif"],
    "{channel}_TP{timepoint}_{angle}°.h5": ["GFP_TP0_-90°.h5", "mCherry_TP0_22.5°.h5", "GFP_TP1_-90°.h5"],
    "psf_{angle}.tif | {tag}_view_{angle}.tif": ["a_view_0.tif", "b_view_90.tif", "psf_0.tif", "psf_90.tif"],
    "{view}.tif": ["left.tif", "right.tif", "left.tif"],
    "embryo {angle}.tif": ["embryo 0.tif", "embryo 60.tif", "embryo 240.tif"],
    "angle_{angle}/TL{timepoint}.tif": [f"angle_{a}/TL{t}.tif" for a in (0, 90) for t in (0, 1)],
    "TL{timepoint}/{channel}/Angle {angle}.tif": [
        f"TL{t}/{c}/Angle {a}.tif" for t in (0, 1) for c in ("GFP", "RFP") for a in (0, 90)
    ],
    "z*/angle_{angle}.tif": ["z1/angle_0.tif", "z2/angle_90.tif"],
}


@pytest.mark.parametrize(("pattern", "names"), PEOPLE.items(), ids=PEOPLE)
def test_a_pattern_is_proposed_that_every_name_fits(pattern, names):
    assert guess_pattern(names) == pattern
    assert all(read(pattern, name) is not None for name in names)


def every(text, **values):
    """Names made of a text with a place for each value, over all combinations of these."""
    return [text.format(**dict(zip(values, each, strict=True))) for each in itertools.product(*values.values())]


# How programs of microscopes call files, as documentation and scripts in public repositories have them. Endings that are not
# read (.stack, .klb, .lsm) are .tif here, and sides that are one and the same are written once.
MICROSCOPES = {
    # OpenSPIM and multiview-reconstruction (StackListLOCI.java): "spim_TL1_Channel1_Illum1_Angle0.tif".
    "spim_TL{timepoint}_Channel{channel}_Illum{illumination}_Angle{angle}.tif": (
        every("spim_TL{t}_Channel{c}_Illum{i}_Angle{a}.tif", t=(1, 2), c=(1, 2), i=(1, 2), a=(0, 315)),
        {"timepoint": 1, "channel": "1", "illumination": "1", "angle": 0},
        ("0 illumination 1", "0 illumination 2", "315 illumination 1", "315 illumination 2"),
    ),
    # The same: "data_TP01_Angle000.lsm".
    "data_TP{timepoint}_Angle{angle}.tif": (
        every("data_TP{t:02}_Angle{a:03}.tif", t=(1, 2), a=(0, 180)),
        {"timepoint": 1, "angle": 0},
        ("0", "180"),
    ),
    # OpenSPIM counts its angles (SPIMAcquisition, test of OME-TIFF): "spim_TL01_Angle0.ome.tiff".
    "spim_TL{timepoint}_Angle{view}.ome.tiff": (
        every("spim_TL{t:02}_Angle{a}.ome.tiff", t=(1, 2), a=(0, 1, 2)),
        {"timepoint": 1, "view": "0"},
        ("0", "1", "2"),
    ),
    # SiMView as it records (readers of the Keller lab and of Reto Fiolka's): "SPC00_TM00000_ANG000_CM0_CHN01_PH0.stack".
    "SPC{tag}_TM{timepoint}_ANG{angle}_CM{view}_CHN{channel}_PH0.stack.tif": (
        every("SPC00_TM{t:05}_ANG000_CM{m}_CHN{c:02}_PH0.stack.tif", t=(0, 1), m=(0, 1), c=(0, 1)),
        {"timepoint": 0, "angle": 0, "view": "0", "channel": "0"},
        ("0 0", "0 1"),
    ),
    # SiMView after its correction, four cameras of two channels: "SPM00_TM000000_CM02_CHN00.klb".
    "SPM00_TM{timepoint}_CM{view}_CHN{channel}.tif": (
        every("SPM00_TM{t:06}_{m}.tif", t=(0, 1), m=("CM00_CHN01", "CM01_CHN01", "CM02_CHN00", "CM03_CHN00")),
        {"timepoint": 0, "view": "00", "channel": "1"},
        ("02", "03"),
    ),
    # SiMView, fused of two cameras: "SPM00_TM000082_CM00_CM01_CHN00.fusedStack.corrected.klb".
    "SPM00_TM{timepoint}_CM00_CM01_CHN{channel}.fusedStack.tif": (
        every("SPM00_TM{t:06}_CM00_CM01_CHN{c:02}.fusedStack.tif", t=(82, 83), c=(0, 1)),
        {"timepoint": 82, "channel": "0", "view": ""},
        ("SPM00_TM000082_CM00_CM01_CHN00.fusedStack",),
    ),
    # ASI diSPIM, exported for MIPAV (plugin of Micro-Manager): folder SPIMA, "name_SPIMA-0.tif".
    "SPIM{view}/cell_SPIM*-{timepoint}.tif": (
        [f"SPIM{side}/cell_SPIM{side}-{t}.tif" for side in "AB" for t in range(3)],
        {"timepoint": 0, "view": "A"},
        ("A", "B"),
    ),
    # diSPIM, registered (scripts of diSPIMFusion): "SPIMA_reg_0.tif".
    "SPIM{view}_reg_{timepoint}.tif": (
        every("SPIM{side}_reg_{t}.tif", side="AB", t=range(3)),
        {"timepoint": 0, "view": "A"},
        ("A", "B"),
    ),
    # MuVi-SPIM (scripts of EMBL): "Stack_2_Channel_0/Cam_Right_00001.h5".
    "Stack_{tile}_Channel_{channel}/Cam_{view}_{timepoint}.h5": (
        every("Stack_{s}_Channel_{c}/Cam_{side}_{t:05}.h5", s=(0, 1), c=(0, 1), side=("Left", "Right"), t=(0, 1)),
        {"timepoint": 0, "channel": "0", "view": "Left", "tile": "0"},
        ("Left tile 0", "Left tile 1", "Right tile 0", "Right tile 1"),
    ),
    # Luxendo (scripts that read its projects): "stack_0-x00-y00_channel_0_obj_left/Cam_Left_00000.lux.h5".
    "stack_0-{tile}_channel_{channel}_obj_{view}/Cam_*_{timepoint}.lux.h5": (
        [
            f"stack_0-x{x:02}-y00_channel_{c}_obj_{side}/Cam_{side}_{t:05}.lux.h5"
            for x in (0, 1)
            for c in (0, 1)
            for side in ("left", "right")
            for t in (0, 1)
        ],
        {"timepoint": 0, "channel": "0", "view": "left", "tile": "x00-y00"},
        ("left tile x00-y00", "left tile x01-y00", "right tile x00-y00", "right tile x01-y00"),
    ),
    # Lattice light sheet (documentation of the Advanced Imaging Center): "scan_CamA_ch0_CAM1_stack0001_488nm_...".
    "scan_Cam{view}_ch{channel}_CAM1_stack{timepoint}_*nm_*msec_*msecAbs_000x_000y_000z_0000t.tif": (
        [
            f"scan_Cam{side}_ch{c}_CAM1_stack{t:04}_{w}nm_{t:07}msec_{4732481 + t:010}msecAbs_000x_000y_000z_0000t.tif"
            for side, c, w in (("A", 0, 488), ("B", 1, 560))
            for t in (0, 1)
        ],
        {"timepoint": 0, "channel": "0", "view": "A"},
        ("A",),
    ),
    # The same of one camera (PetaKit5D): "ex01_CamA_ch0_stack0000_488nm_0000000msec_0002711380msecAbs.tif".
    "ex01_CamA_ch{channel}_stack{timepoint}_*nm_*msec_*msecAbs.tif": (
        [
            f"ex01_CamA_ch{c}_stack{t:04}_{w}nm_{t * 2520:07}msec_{2711380 + t * 2520:010}msecAbs.tif"
            for c, w in ((0, 488), (1, 560))
            for t in (0, 1)
        ],
        {"timepoint": 0, "channel": "0", "view": ""},
        ("ex01_CamA_ch0_stack0000_488nm_0000000msec_0002711380msecAbs",),
    ),
    # mesoSPIM (its metadata files): "KC34_overview_Mag2x_Tile0_Ch488_Sh0_Rot0.btf".
    "KC34_overview_Mag2x_Tile{tile}_Ch{channel}_Sh{illumination}_Rot{angle}.tiff": (
        every("KC34_overview_Mag2x_Tile0_Ch{c}_Sh{s}_Rot{a}.tiff", c=(488, 561), s=(0, 1), a=(0, 90)),
        {"channel": "488", "illumination": "0", "angle": 0, "tile": "0"},
        ("0 illumination 0", "0 illumination 1", "90 illumination 0", "90 illumination 1"),
    ),
    # Microscopes of UT Southwestern (software navigate): "1_CH00_000000.tif".
    "1_CH{channel}_{timepoint}.tif": (
        every("1_CH{c:02}_{t:06}.tif", c=(0, 1), t=(0, 1, 2)),
        {"timepoint": 0, "channel": "0", "view": ""},
        ("1_CH00_000000",),
    ),
    # Micro-Manager, a file a plane: "img_channel000_position000_time000000000_z000.tif".
    "img_channel{channel}_position{tile}_time{timepoint}_z{z}.tif": (
        every("img_channel{c:03}_position{p:03}_time{t:09}_z{z:03}.tif", c=(0, 1), p=(0, 1), t=(0, 1), z=(0, 1)),
        {"timepoint": 0, "channel": "0", "tile": "0", "z": 0},
        ("tile 0", "tile 1"),
    ),
    # Micro-Manager, stacks: "cell_1_MMStack_Pos0.ome.tif".
    "cell_1_MMStack_Pos{tile}.ome.tif": (
        every("cell_1_MMStack_Pos{p}.ome.tif", p=(0, 1, 2)),
        {"tile": "0"},
        ("tile 0", "tile 1", "tile 2"),
    ),
    # exaSPIM (open data of the Allen Institute): "tile_x_0001_y_0000_z_0000_ch_488.zarr".
    "tile_{tile}_ch_{channel}.zarr": (
        every("tile_x_{x:04}_y_{y:04}_z_0000_ch_{c}.zarr", x=(0, 1), y=(0, 1), c=(488, 561)),
        {"channel": "488", "tile": "x_0000_y_0000_z_0000"},
        tuple(f"tile x_{x:04}_y_{y:04}_z_0000" for x in (0, 1) for y in (0, 1)),
    ),
    # LaVision UltraMicroscope, a file a plane (ClearMap): "16-17-27_0_8X-s3-20HF_UltraII_C00_xyz-Table Z1000.ome.tif".
    "16-17-27_0_8X-s3-20HF_UltraII_C{channel}_xyz-Table Z{z}.ome.tif": (
        every("16-17-27_0_8X-s3-20HF_UltraII_C{c:02}_xyz-Table Z{z:04}.ome.tif", c=(0, 1), z=(0, 1)),
        {"channel": "0", "z": 0},
        ("16-17-27_0_8X-s3-20HF_UltraII_C00_xyz-Table Z",),
    ),
    # The same in tiles (scripts from Princeton): "..._RawDataStack[00 x 00]_C00_xyz-Table Z0000_UltraII Filter0000.ome.tif".
    "10-50-16_UltraII_raw_RawDataStack[{tile}]_C{channel}_xyz-Table Z{z}_UltraII Filter0000.ome.tif": (
        every(
            "10-50-16_UltraII_raw_RawDataStack[{x:02} x {y:02}]_C00_xyz-Table Z{z:04}_UltraII Filter0000.ome.tif",
            x=(0, 1),
            y=(0, 1),
            z=(0, 1),
        ),
        {"channel": "0", "z": 0, "tile": "00 x 00"},
        tuple(f"tile {x:02} x {y:02}" for x in (0, 1) for y in (0, 1)),
    ),
    # Wavelengths of lasers without a word beside them (settings of a pipeline): "t0001_488_View1.tif".
    "t{timepoint}_{channel}_View{view}.tif": (
        every("t{t:04}_{c}_View{v}.tif", t=(1, 2), c=(488, 561), v=(1, 2)),
        {"timepoint": 1, "channel": "488", "view": "1"},
        ("1", "2"),
    ),
}


@pytest.mark.parametrize("pattern", MICROSCOPES)
def test_names_of_microscopes_are_understood(tmp_path, pattern):
    names, first, views = MICROSCOPES[pattern]
    flat = "{z}" in pattern
    for number, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 5) if flat else (2, 4, 5), number + 1, np.uint8)
        if name.endswith(".zarr"):
            write_zarr(path, pixels.astype(np.float32), Grid(pixels.shape))
        elif name.endswith(".h5"):
            with h5py.File(path, "w") as opened:
                opened["Data"], opened["Data_2_2_2"] = pixels, pixels[::2, ::2, ::2]
        else:
            axes = {} if flat else {"metadata": {"axes": "ZYX"}}
            tifffile.imwrite(path, pixels, photometric="minisblack", **axes)
    assert guess_pattern(names, planes=flat) == pattern
    assert all(read(pattern, name) is not None for name in names)
    found = read(pattern, names[0])
    assert {field: getattr(found, field) for field in first} == first
    # What the folder is opened by, or what is proposed where that is not sure.
    try:
        contents = describe(tmp_path, no_data="none")
        told = "" if contents.names is None else contents.names.pattern
        told += " ".join(problem for sample in contents.samples for problem in sample.problems)
    except InputError as error:
        told = str(error)
    assert pattern in told
    (sample,) = describe(tmp_path, pattern=pattern, no_data="none").samples
    assert tuple(view.name for view in sample.views) == views


def test_planes_are_numbered_by_what_varies_fastest():
    names = [f"img_{t:09}_{c}_{z:03}.tif" for t in (0, 1) for c in ("Cy5", "DAPI") for z in range(3)]
    assert guess_pattern(names, planes=True) == "img_{timepoint}_{channel}_{z}.tif"
    assert guess_pattern([f"a{n}b.tif" for n in "xyzuvwq"] + ["12_9 q.tif", "k--3.tif", "M.tif", "{}.tif", "9"])


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("spim_TL{timepoint}_Angle{angle}.tif", "SPIM_tl007_angle-22.5.TIF", {"timepoint": 7, "angle": -22.5}),
        ("{tag}_view_{angle}", "a_view_0_view_090.ome.tif", {"tag": "a_view_0", "angle": 90}),
        ("*Ch{channel}*_{angle}.tif", "x.Ch02 y_45.tif", {"channel": "2", "angle": 45}),
        ("{role}_{angle}", "PSF_45.h5", {"role": "psf", "angle": 45}),
        ("{angle}_*.tif", "45_bead psf.tif", {"role": "psf", "angle": 45}),
        ("view{angle}*.tif", "view45 mask.tif", {"role": "mask", "angle": 45}),
        ("mypsfs_view_{angle}.tif", "mypsfs_view_45.tif", {"role": "view", "angle": 45}),
        ("a.{angle}.tif | b.{view}.tif", "b.links.tif", {"view": "links"}),
        ("Gr\u00f6\u00dfe{angle}.tif", "Gro\u0308\u00dfe90.tif", {"angle": 90}),
        ("img_{z}.tif", "img_0012.tif", {"z": 12, "planes": "img_{z}.tif"}),
    ],
)
def test_names_are_read_by_patterns(pattern, name, expected):
    found = read(pattern, name)
    assert {field: getattr(found, field) for field in expected} == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "the pattern is empty"),
        ("a{angel}.tif", r"\{angel\} in the pattern a\{angel\}\.tif is no field: write \{angle\}"),
        ("{}.tif", "is no field: the fields are"),
        ("{angle}_{angle}.tif", r"\{angle\} stands twice"),
        ("{timepoint}{angle}.tif", r"\{timepoint\} and \{angle\} touch"),
        ("a{angle.tif", "has a '{' alone"),
        ("a}.tif", "has a '}' alone"),
        ("{angle}.tif |", "nothing on one side"),
        ("x" * 2000, "more than 1000"),
        ("*a" * 9, "more than 8 fields of any text"),
        ("../a{angle}.tif", "folders that do not lie in the one that is named"),
        ("/data/a{angle}.tif", "folders that do not lie in the one that is named"),
        ("C:\\data\\a{angle}.tif", "folders that do not lie in the one that is named"),
        ("a/b/c/d/{angle}.tif", "more than 3 folders"),
        ("z{z}/a{angle}.tif", r"\{z\} stands for a folder"),
    ],
)
def test_what_is_no_pattern_is_said_in_one_line(tmp_path, pattern, words):
    fill(tmp_path, "a0.tif")
    with pytest.raises(InputError, match=words) as caught:
        open_views(tmp_path, pattern=pattern)
    assert "\n" not in str(caught.value)


def test_time_points_and_channels_of_names_are_choices(tmp_path):
    names = [f"spim_TL{t}_{c}_Angle{a}.tif" for t in (2, 3) for c in ("GFP", "RFP") for a in (0, 45)]
    fill(tmp_path, *names, "notes of 2020.tif")
    pattern = "spim_TL{timepoint}_{channel}_Angle{angle}.tif"
    for source in ([tmp_path / name for name in names], tmp_path):
        opened = open_views(source, pattern=pattern, timepoint=3, channel=0)
        assert values(opened) == {"0": 5, "45": 6}
        assert [view.angle for view in opened.views] == [0, 45]
    assert values(open_views(tmp_path, pattern=pattern, timepoint=2, channel=1)) == {"0": 3, "45": 4}
    with pytest.raises(NotChosenError, match=r"say 2 time points: choose one with --timepoint 2, 3") as several:
        open_views(tmp_path, pattern=pattern)
    assert several.value.first == 2
    with pytest.raises(NotChosenError, match=r"say 2 channels: choose one with --channel 0 \(GFP\), 1 \(RFP\)"):
        open_views(tmp_path, pattern=pattern, timepoint=2)
    with pytest.raises(InputError, match=r"say the time points 2, 3: --timepoint 0 is not there"):
        open_views(tmp_path, pattern=pattern, timepoint=0)
    assert opened.remarks == ("notes of 2020.tif fits no pattern",)
    said = choose_files(read_names(tmp_path, pattern), VolumeChoice(3, 0)).said
    assert "time point 3 and channel 0: spim_TL3_GFP_Angle0.tif is view 0, without a PSF" in said
    assert said.endswith("notes of 2020.tif fits no pattern")
    assert "\n" not in said


def test_time_points_of_names_and_channels_of_files_are_chosen_together(tmp_path):
    for t in (0, 1):
        pixels = np.arange(2, dtype=np.uint16)[None, :, None, None] + 10 * t + np.zeros((5, 2, 12, 12), np.uint16)
        tifffile.imwrite(tmp_path / f"TL{t}_a90.tif", pixels, imagej=True, metadata={"axes": "ZCYX"})
    assert values(open_views(tmp_path, pattern="TL{timepoint}_a{angle}", timepoint=1, channel=1)) == {"90": 11}


def test_folders_whose_names_say_time_points_need_no_pattern_and_the_recipe_keeps_it(tmp_path):
    fill(tmp_path, *(f"spim_TL{t}_Angle{a}.tif" for t in (0, 1) for a in (0, 45)))
    assert values(open_views(tmp_path, timepoint=1)) == {"0": 3, "45": 4}
    inputs, _ = Inputs(source=str(tmp_path), timepoint=1).resolved()
    assert inputs.pattern == "spim_TL{timepoint}_Angle{angle}.tif"
    assert values(Inputs.model_validate(json.loads(inputs.model_dump_json())).open()) == {"0": 3, "45": 4}
    contents = describe(tmp_path, no_data="none")
    assert [view.name for view in contents.samples[0].views] == ["0", "45"]
    assert "this is the first one" in contents.samples[0].problems[0]
    assert "spim_TL0_Angle0.tif is view 0" in open_views(tmp_path, timepoint=0).remarks[0], (
        "what was found unasked is said"
    )
    assert len(contents.names.rows) == 4


ANGLES_APART = ("angle_0/TL0.tif", "angle_0/TL1.tif", "angle_90/TL0.tif", "angle_90/TL1.tif", "psf_0.tif", "psf_90.tif")


def test_folders_of_angles_are_views_and_the_recipe_keeps_the_pattern(tmp_path):
    fill(tmp_path, *ANGLES_APART)
    views = open_views(tmp_path, timepoint=1, no_data="none")
    assert values(views) == {"0": 2, "90": 4}
    assert all(view.psf is not None for view in views.views)
    assert any("angle_90/TL1.tif is view 90, its PSF psf_90.tif" in line for line in views.remarks)
    with pytest.raises(NotChosenError, match=r"the names of \S+ say 2 time points: choose one with --timepoint 0, 1"):
        open_views(tmp_path)
    inputs, _ = Inputs(source=str(tmp_path), timepoint=0, no_data="none").resolved()
    assert inputs.pattern == "angle_{angle}/TL{timepoint}.tif | psf_{angle}.tif"
    assert values(inputs.open()) == {"0": 1, "90": 3}
    rows = {name.path.relative_to(tmp_path).as_posix() for name in describe(tmp_path).names.rows}
    assert rows == set(ANGLES_APART)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Angle 0/stack.tif", "Angle 0/PSF.tif", "Angle 90/stack.tif", "Angle 90/PSF.tif"], {"0": 1, "90": 3}),
        # Each may be a specimen.
        (["fish_a/angle_0.tif", "fish_a/angle_90.tif", "fish_b/angle_0.tif", "fish_b/angle_90.tif"], None),
        (["1/stack.tif", "2/stack.tif"], None),
    ],
    ids=["angles", "specimens", "counted"],
)
def test_folders_are_views_where_they_are_called_by_angles(tmp_path, names, expected):
    fill(tmp_path, *names)
    if expected is not None:
        assert values(open_views(tmp_path, no_data="none")) == expected
    else:
        with pytest.raises(InputError, match="holds no views"):
            open_views(tmp_path)
    # Whoever is asked sees all of them.
    assert [path.relative_to(tmp_path).as_posix() for path in files_without_scheme(tmp_path)] == sorted(names)


def test_a_pattern_with_folders_looks_into_them_and_nothing_but_a_slash_is_one(tmp_path):
    names = [f"TL{t}/{c}/angle_{a}.tif" for t in (0, 1) for c in ("GFP", "RFP") for a in (0, 90)]
    fill(tmp_path, *names, "TL0/GFP/.hidden_0.tif", "TL0/deep/er/angle_0.tif")
    pattern = "TL{timepoint}\\{channel}\\angle_{angle}"
    assert values(open_views(tmp_path, pattern=pattern, timepoint=1, channel=1, no_data="none")) == {"0": 7, "90": 8}
    assert read("{view}_{angle}", "left/right_0.tif").view == "right"
    assert read("{view}/angle_{angle}", "a/b/angle_0.tif").view == "b"
    assert read("{view}/angle_{angle}", "angle_0.tif") is None
    # Files of a list are read by the end of their paths.
    files = [tmp_path / name for name in names if name.startswith("TL0/RFP")]
    assert values(open_views(files, pattern="{channel}/angle_{angle}", no_data="none")) == {"0": 3, "90": 4}
    with pytest.raises(InputError, match=r"deeper down alone, as TL0/GFP/angle_0.tif, .* would fit$"):
        open_views(tmp_path, pattern="angle_{angle}")
    twice = r"TL0/GFP/angle_0.tif and TL0/RFP/angle_0.tif in .* are both view 0 by this pattern"
    with pytest.raises(InputError, match=twice):
        open_views(tmp_path, pattern="TL{timepoint}/*/angle_{angle}", timepoint=0)


def test_volumes_that_are_folders_are_not_looked_into(tmp_path):
    for angle in (0, 90):
        (tmp_path / f"angle_{angle}").mkdir()
        write_zarr(
            tmp_path / f"angle_{angle}" / "TL0.zarr", np.full(SHAPE, angle + 1, np.uint16), Grid(SHAPE, (1, 1, 1))
        )
    views = open_views(tmp_path, no_data="none")
    assert values(views) == {"0": 1, "90": 91}
    assert [row.path.name for row in describe(tmp_path).names.rows] == ["TL0.zarr"] * 2


def test_planes_lie_in_folders_of_angles(tmp_path, rng):
    volumes = {angle: rng.integers(0, 900, SHAPE).astype(np.uint16) for angle in (0, 90)}
    for angle, volume in volumes.items():
        (tmp_path / f"angle_{angle}").mkdir()
        for number, plane in enumerate(volume):
            tifffile.imwrite(tmp_path / f"angle_{angle}" / f"img_z{number:03}.tif", plane)
    for pattern in (None, "angle_{angle}/img_z{z}"):
        views = open_views(tmp_path, pattern=pattern, no_data="none")
        assert views.names == ("0", "90")
        for view in views.views:
            np.testing.assert_array_equal(view.data[:], volumes[int(view.angle)])


def test_files_of_one_name_are_proposed_by_their_folders(tmp_path):
    fill(tmp_path, *ANGLES_APART)
    guesses = guess_roles(files_without_scheme(tmp_path))
    pattern = pattern_for(guesses)
    assert pattern == "angle_{angle}/TL{timepoint}.tif | psf_{angle}.tif"
    rows = propose(guesses, pattern).rows
    assert [row.name for row in rows] == list(ANGLES_APART)
    assert [row.angle for row in rows] == [0, 0, 90, 90, 0, 90]


def test_psfs_masks_and_truths_go_to_the_views_that_their_names_say(tmp_path):
    fill(
        tmp_path,
        *(f"Ch{c} angle {a}.tif" for c in (0, 1) for a in (0, 90)),
        "angle 360 psf.tif",
        "angle 90 psf.tif",
        "Ch1 angle 90 psf.tif",
        "angle 0 mask.tif",
        "gt.tif",
    )
    pattern = "Ch{channel} angle {angle}.tif | Ch{channel} angle {angle}*.tif | angle {angle}*.tif | gt.tif"
    files = choose_files(read_names(tmp_path, pattern), VolumeChoice(channel=1))
    assert {view.name: view.psf.name for view in files.views} == {
        "0": "angle 360 psf.tif",
        "90": "Ch1 angle 90 psf.tif",
    }
    assert {name: path.name for name, path in files.masks.items()} == {"0": "angle 0 mask.tif"}
    opened = open_views(tmp_path, pattern=pattern, channel=0)
    assert [view.psf is not None for view in opened.views] == [True, True]
    assert [view.mask is not None for view in opened.views] == [True, False]
    assert int(open_truth(tmp_path, channel=0, pattern=pattern)[0, 0, 0]) == 9


def test_illuminations_tiles_and_cameras_are_views_of_their_own(tmp_path):
    fill(tmp_path, *(f"a{a}_ill{i}_CM{m}.tif" for a in (0, 90) for i in (0, 1) for m in (0, 1)))
    opened = open_views(tmp_path, pattern="a{angle}_ill{illumination}_CM{view}.tif")
    assert opened.names[:4] == ("0 0 illumination 0", "0 0 illumination 1", "0 1 illumination 0", "0 1 illumination 1")
    assert [view.angle for view in opened.views] == [0] * 4 + [90] * 4


def test_samples_are_told_apart_by_their_tag(tmp_path):
    fill(tmp_path, *(f"{s}-angle{a}.tif" for s in ("fish", "fly") for a in (0, 90)))
    with pytest.raises(InputError, match="several samples: name one of the tags 'fish', 'fly'"):
        open_views(tmp_path, pattern="{tag}-angle{angle}")
    assert values(open_views(tmp_path, pattern="{tag}-angle{angle}", tag="fly")) == {"0": 3, "90": 4}
    assert [sample.tag for sample in describe(tmp_path, pattern="{tag}-angle{angle}", no_data="none").samples] == [
        "fish",
        "fly",
    ]
    with pytest.raises(InputError, match="no sample 'bee'"):
        open_views(tmp_path, pattern="{tag}-angle{angle}", tag="bee")


@pytest.mark.parametrize(
    ("names", "pattern", "words"),
    [
        (
            ("fish_a0.tif", "fish_a90.tif"),
            "TL{timepoint}.tif",
            r"found fish_a0\.tif and fish_a90.*fish_a\{angle\}\.tif would",
        ),
        (("fish_a0.tif", "psf0.tif"), "psf{angle}.tif", r"psf0\.tif is taken as 'psf'; write the names of the views"),
        (
            ("1_a90.tif", "2_a90.tif"),
            "*_a{angle}.tif",
            r"1_a90\.tif and 2_a90\.tif in .* are both view 90 by this pattern",
        ),
        (
            ("a0.tif", "psf1 0.tif", "psf2 0.tif"),
            "a{angle}.tif | psf* {angle}.tif",
            r"psf1 0\.tif and psf2 0\.tif in .* are both the PSF of view 0",
        ),
        ((), "a{angle}.tif", "no files that the pattern could fit"),
    ],
)
def test_what_a_pattern_leaves_open_is_said_in_one_line(tmp_path, names, pattern, words):
    fill(tmp_path, *names)
    with pytest.raises(InputError, match=words) as caught:
        open_views(tmp_path, pattern=pattern)
    assert "\n" not in str(caught.value)


def test_a_pattern_is_for_files(tmp_path):
    fill(tmp_path, "a0.tif", "a90.tif")
    with pytest.raises(InputError, match=r"cannot be applied to .*a0\.tif: leave it out"):
        open_views(tmp_path / "a0.tif", pattern="a{angle}")
    with pytest.raises(InputError, match="views are named already: leave it out"):
        open_views({"0": tmp_path / "a0.tif"}, pattern="a{angle}")
    with pytest.raises(InputError, match="nowhere"):
        open_views(tmp_path / "nowhere", pattern="a{angle}")


def test_the_table_says_what_is_odd_before_a_file_is_opened(tmp_path):
    names = [f"TL{t}_a{a}.tif" for t in (0, 1, 2) for a in (0, 90)]
    for name in (*names, "TL02_a90.tif", "TL1_a90 copy.tif", "fused.tif", "fused.tif.recipe.json", ".TL9_a0.tif"):
        (tmp_path / name).write_bytes(b"no volume")
    (tmp_path / "TL1_a0.tif").unlink()
    table = read_names(tmp_path, "TL{timepoint}_a{angle}.tif")
    assert table.timepoints == (0, 1, 2)
    said = "; ".join(table.problems())
    assert "TL1_a90 copy.tif fits no pattern" in said
    assert "fused.tif is left out, as it was fused" in said
    assert "TL02_a90.tif and TL2_a90.tif are the same by this pattern" in said
    assert "there is no file of view 0 at time point 1" in said
    assert len(table.rows) == 8


def test_what_was_fused_is_a_view_where_it_is_named(tmp_path):
    fill(tmp_path, "a0.tif", "a90.tif")
    (tmp_path / "a90.tif.recipe.json").write_text("{}")
    assert open_views(tmp_path, pattern="a{angle}").names == ("0",)
    assert open_views([tmp_path / "a0.tif", tmp_path / "a90.tif"], pattern="a{angle}").names == ("0", "90")
    guesses = guess_roles([tmp_path / "a90.tif"])
    assert not propose(guesses, pattern_for(guesses)).ask, "it opens as it is"


def test_views_of_other_formats_are_named_by_patterns_too(tmp_path):
    for angle in (0, 90):
        write_zarr(tmp_path / f"TL1_a{angle}.ome.zarr", np.full(SHAPE, angle, np.uint16), Grid(SHAPE, (1.0, 1.0, 1.0)))
    assert values(open_views(tmp_path, pattern="TL{timepoint}_a{angle}")) == {"0": 0, "90": 90}


def planes(folder, name, volume, **how):
    for number, plane in enumerate(volume, start=1):
        tifffile.imwrite(folder / name.format(z=f"{number:04d}"), plane, **how)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"imagej": True}], ids=["plain", "compressed", "ImageJ"])
def test_numbered_planes_are_a_volume(tmp_path, rng, how):
    volume = rng.integers(0, 60000, (12, 9, 8)).astype(np.uint16)
    planes(tmp_path, "img_z{z}.tif", volume, **how)
    for opened in (
        open_views(tmp_path, pattern="img_z{z}.tif"),
        open_views(tmp_path),
        open_views({"30": tmp_path / "img_z{z}.tif"}),
        open_views([tmp_path / "img_z{z}.tif"]),
    ):
        (view,) = opened.views
        np.testing.assert_array_equal(view.data[2:5, 3], volume[2:5, 3])
        np.testing.assert_array_equal(np.asarray(view.data), volume)


def test_planes_are_asked_about_where_they_are_meant(tmp_path, rng):
    """Pictures that are dropped on the canvas are left to napari."""
    planes(tmp_path, "img_{z}.tif", rng.integers(0, 9, (3, 9, 8)).astype(np.uint16))
    assert files_without_scheme(tmp_path) == []
    assert [path.name for path in files_without_scheme(tmp_path, planes=True)] == [f"img_{n:04}.tif" for n in (1, 2, 3)]


def test_planes_of_several_views_and_time_points(tmp_path, rng):
    volumes = {(t, a): rng.integers(0, 60000, (4, 9, 8)).astype(np.uint16) for t in (0, 1) for a in (0, 90)}
    for (t, a), volume in volumes.items():
        planes(tmp_path, f"t{t}_a{a}_z{{z}}.tif", volume)
    for pattern in (None, "t{timepoint}_a{angle}_z{z}.tif"):
        source = open_views(tmp_path, pattern=pattern, timepoint=1)
        assert source.names == ("0", "90")
        for view in source.views:
            np.testing.assert_array_equal(view.data[:], volumes[1, view.angle])


def spoil_plane(folder, how):
    third = folder / "z0003.tif"
    if isinstance(how, np.ndarray):
        tifffile.imwrite(third, how)
    elif how == "gone":
        third.unlink()
    elif how == "twice":
        (folder / "z3.tif").write_bytes(third.read_bytes())
    else:
        third.write_bytes(third.read_bytes()[:how])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("gone", r"z\{z\}\.tif lacks planes between 1 and 4: .* number 3"),
        ("twice", r"z0003\.tif and z3\.tif are the same"),
        (np.ones((5, 5), np.uint16), r"z0003\.tif has 5 x 5 pixels.*z0001\.tif has 9 x 8"),
        (np.ones((9, 8), np.uint8), r"z0003\.tif has 9 x 8 pixels of type uint8"),
        (np.ones((2, 9, 8), np.uint16), r"z0003\.tif is not one plane"),
        (-20, r"z0003\.tif is truncated"),
        (0, r"z0003\.tif"),
    ],
)
def test_planes_that_are_lacking_or_spoilt_are_named(tmp_path, rng, how, words):
    planes(tmp_path, "z{z}.tif", rng.integers(0, 60000, (4, 9, 8)).astype(np.uint16), photometric="minisblack")
    spoil_plane(tmp_path, how)
    with pytest.raises(InputError, match=words) as caught:
        open_views(tmp_path, pattern="z{z}.tif")
    assert "\n" not in str(caught.value)


def test_time_points_of_names_and_of_files_are_not_chosen_at_once(tmp_path):
    """The listing once looked for the first of them for ever."""
    for time in range(2):
        tifffile.imwrite(
            tmp_path / f"a0_T{time}.tif", np.zeros((3, 2, 4, 5), np.uint8), imagej=True, metadata={"axes": "TZYX"}
        )
    how = {"pattern": "a{angle}_T{timepoint}.tif", "timepoint": 1}
    with pytest.raises(
        InputError, match=r"a0_T1\.tif has 3 time points of its own, and its name says one too: write"
    ) as no:
        open_views(tmp_path, **how)
    (sample,) = describe(tmp_path, **how).samples
    assert (sample.readable, sample.problems) == (False, (str(no.value),))
    views = open_views(tmp_path, pattern="a{angle}_T0.tif", timepoint=2)
    assert views.names == ("0",)


def test_planes_that_count_those_of_all_files_are_planes(tmp_path, rng):
    """As Bio-Formats writes plain TIFF files of one plane each."""
    volume = rng.integers(0, 60000, (3, 40, 50)).astype(np.uint16)
    said = "ImageJ=\nhyperstack=true\nimages=30\nchannels=2\nslices=3\nframes=5\n"
    planes(tmp_path, "p_Z{z}.tif", volume, description=said, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(open_views(tmp_path, pattern="p_Z{z}.tif").views[0].data[:], volume)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (
            [f"embryo3_{c}nm_{a}deg_tp{t}.tif" for c in (488, 561) for a in (0, 60) for t in (1, 2)],
            "embryo3_{channel}nm_{angle}deg_tp{timepoint}.tif",
        ),
        ([f"Cam_{side}_{t:05}.tif" for side in ("Left", "Right") for t in range(2)], "Cam_{view}_{timepoint}.tif"),
        ([f"t{t:05}_s{s:02}.tif" for t in range(2) for s in range(2)], "t{timepoint}_s{view}.tif"),
        (["dorsal_GFP_reg.tif", "ventral_GFP_reg.tif"], "{view}_GFP_reg.tif"),
        (
            ["SPM00_TM000000_CM0_CHN00.tif", "SPM00_TM000000_CM1_CHN00.tif"],
            "SPM00_TM{timepoint}_CM{view}_CHN{channel}.tif",
        ),
    ],
)
def test_what_names_may_mean_is_proposed_and_opened_where_it_is_clear(tmp_path, names, pattern):
    for name in names:
        tifffile.imwrite(tmp_path / name, np.ones((2, 4, 5), np.uint8), photometric="minisblack")
    if "{angle}" in pattern:
        with pytest.raises(InputError, match=r"--timepoint 1, 2"):
            open_views(tmp_path)
        assert open_views(tmp_path, timepoint=2, channel=561, no_data="none").names == ("0", "60")
    else:
        with pytest.raises(InputError) as refused:
            open_views(tmp_path)
        assert f"--pattern '{pattern}' (pattern=), if that is it" in str(refused.value)


@pytest.mark.parametrize(
    ("names", "angles"),
    [
        (["fish_a22.5_c0.tif", "fish_a112.5_c0.tif"], ("22.5", "112.5")),
        (["emb rot -45.tif", "emb rot 45.tif"], ("-45", "45")),
        (["fish_a1.tif", "fish_a5.tif"], None),
    ],
)
def test_signs_and_fractions_tell_that_numbers_are_angles(tmp_path, names, angles):
    for name in names:
        tifffile.imwrite(tmp_path / name, np.ones((2, 4, 5), np.uint8), photometric="minisblack")
    if angles is None:
        with pytest.raises(InputError, match="if that is it"):
            open_views(tmp_path)
    else:
        assert open_views(tmp_path, no_data="none").names == angles


# What each field may be, as a regular expression says it.
EXPRESSIONS = {
    "angle": r"[+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?",
    "view": r".+?",
    "timepoint": r"[0-9]{1,9}",
    "channel": r"(?:[0-9]{1,9}|[^\W\d_].*?)",
    "z": r"[0-9]{1,9}",
    "role": r"groundtruth|truth|beads|bead|psfs|mask|view|psf|gt",
}


def test_names_are_divided_as_a_regular_expression_divides_them(rng):
    pieces = ["{angle}", "{view}", "{timepoint}", "{channel}", "{z}", "{role}", "*"]
    letters = ["a", "_", "1", "23", "-", "+", ".", "psfs", "bead", "Ä", "0"]
    fitting = 0
    for _ in range(4000):
        chosen = list(rng.permutation(pieces)[: rng.integers(1, 5)])
        between = [str(rng.choice(["_", "a", "1", ".", "__"])) for _ in chosen]
        text = between[0] * int(rng.integers(2)) + "".join(a + b for a, b in zip(chosen, between, strict=True)) + ".tif"
        values = ["".join(rng.choice(letters, rng.integers(0, 4))) for _ in chosen]
        name = between[0] * int(rng.integers(2)) + "".join(a + b for a, b in zip(values, between, strict=True)) + ".tif"
        expression = re.escape(text)
        for field, each in EXPRESSIONS.items():
            expression = expression.replace(re.escape(f"{{{field}}}"), f"(?P<{field}>{each})")
        expected = re.fullmatch(expression.replace(re.escape("*"), ".*?"), name, re.IGNORECASE | re.DOTALL)
        found = read(text, name)
        assert (found is None) == (expected is None), (text, name)
        if expected is None or found is None:
            continue
        fitting += 1
        said = expected.groupdict()
        assert found.view == said.get("view", ""), (text, name)
        assert found.angle == (float(said["angle"]) if "angle" in said else None), (text, name)
        for field in ("timepoint", "z"):
            assert getattr(found, field) == (int(said[field]) if field in said else None), (text, name)
        channel = said.get("channel", "")
        assert found.channel == (str(int(channel)) if channel.isdigit() else channel), (text, name)
    assert fitting > 200


def test_a_long_name_that_almost_fits_takes_no_more_steps_than_its_places(monkeypatch):
    tried = []
    kept = name_pattern._any_text

    def counted(name, start, least=1):
        for stop in kept(name, start, least):
            tried.append(stop)
            yield stop

    monkeypatch.setattr(name_pattern, "_any_text", counted)
    monkeypatch.setitem(name_pattern._STOPS, "view", counted)
    monkeypatch.setitem(name_pattern._STOPS, "tag", counted)
    name = "a_" * 120 + "0.tif"
    assert read("{tag}_{view}_*_*_*_*_*_*_{angle}z", name) is None
    # A regular expression would try 10^12 ways.
    assert len(tried) < 8 * len(name) ** 2
