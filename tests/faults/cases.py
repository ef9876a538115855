"""Kinds of malformed input, each a maker of one case from a seed: good files, one of them damaged, and a command for it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from faults.damaged_models import damaged_checkpoints, damaged_safetensors
from faults.malformed import mutated_bytes, mutated_json, mutated_text
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from old_checkpoints import content
from old_torch import old_file
from small_models import SMALL, save
from test_texts import CONFIGURATION
from tiff_parts import GREY, ome_xml, write_part

SHAPE = (6, 14, 16)
OUT = "out.zarr"


@dataclass(frozen=True)
class Case:
    """A command, and the names of which one must stand in its error: its files, or what of the line is wrong."""

    arguments: list[str]
    names: tuple[str, ...] = ()


Maker = Callable[[Path, random.Random], Case]


def pixels(rng: random.Random) -> np.ndarray:
    """A view."""
    return np.random.default_rng(rng.randrange(100)).integers(1, 60000, SHAPE).astype(np.uint16)


def psf_pixels() -> np.ndarray:
    """A PSF."""
    z, y, x = np.meshgrid(np.arange(-2, 3), *[np.arange(-3, 4)] * 2, indexing="ij")
    return (1000 * np.exp(-(z**2 / 4 + y**2 / 2 + x**2 / 2))).astype(np.uint16)


def write_folder(folder: Path, rng: random.Random, ending: str = ".tif", **how: object) -> list[Path]:
    """A folder of two views and their PSFs."""
    folder.mkdir()
    paths = []
    for angle in (0, 90):
        paths.append(folder / f"view_{angle}{ending}")
        tifffile.imwrite(paths[-1], pixels(rng), **GREY, **how)
        tifffile.imwrite(folder / f"psf_{angle}.tif", psf_pixels(), **GREY)
    return paths


def _fused(folder: Path, rng: random.Random, *more: str) -> list[str]:
    method = rng.choice(["average", "cbif", "ebmd"])
    fast = ["--iterations", "1"] if method == "ebmd" else []
    return ["fuse", str(folder), "-o", OUT, "-q", "--method", method, *fast, *more]


_KINDS_OF_TIFF = {
    ".tif": {},
    ".tiff": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2.0, "unit": "um"}},
    ".ome.tif": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5}},
    ".TIF": {"compression": "zlib", "predictor": True},
}


def damaged_tiff(place: Path, rng: random.Random) -> Case:
    """A view whose bytes, most often those of its header and tags, are damaged."""
    ending, how = rng.choice(list(_KINDS_OF_TIFF.items()))
    path = rng.choice(write_folder(place / "views", rng, ending, **how))
    good = path.read_bytes()
    # Tags stand at the beginning or, where planes are compressed, after them.
    if rng.random() < 0.3:
        damaged = good[:8] + mutated_bytes(good[8:], rng, within=600)
    elif rng.random() < 0.5:
        head = max(0, len(good) - 800)
        damaged = good[:head] + mutated_bytes(good[head:], rng)
    else:
        damaged = mutated_bytes(good, rng, within=rng.choice([16, 400, len(good)]))
    path.write_bytes(damaged)
    if rng.random() < 0.3:
        return Case(["info", str(place / "views")], (path.name, "views"))
    return Case(_fused(place / "views", rng), (path.name, "views", "view '"))


def damaged_description(place: Path, rng: random.Random) -> Case:
    """A TIFF whose OME-XML or ImageJ text is damaged, alone or one of a set."""
    (place / "views").mkdir()
    names = ["view_0.ome.tif", "view_90.ome.tif"]
    spread = rng.random() < 0.3
    xml = ome_xml([[(name, 0, SHAPE[0])] for name in names])
    if spread:
        xml = ome_xml([[("view_0.ome.tif", 0, 3), ("view_90.ome.tif", 3, 3)]])
    imagej = "ImageJ=1.54f\nimages=6\nslices=6\nunit=um\nspacing=2.0\nloop=false\nhyperstack=true\nmode=grayscale\n"
    text = rng.choice([xml, xml, imagej])
    for name in names:
        own = mutated_text(text, rng) if rng.random() < 0.7 else text.encode()
        own = own.replace(b"urn:uuid:{}", f"urn:uuid:{name}".encode())[:60000]
        tifffile.imwrite(place / "views" / name, pixels(rng), description=own, metadata=None, **GREY)
    if spread and rng.random() < 0.5:
        write_part(place / "views" / names[0], pixels(rng)[:3], xml)
    return Case(_fused(place / "views", rng), ("view_", "views"))


_ODD_PSFS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda p: p * 0,
    lambda p: p * 0 + 7,
    lambda p: p[2],
    lambda p: p[2:3],
    lambda p: p[:, :1, :1],
    lambda p: p[:4, :6, :5],
    lambda p: -p.astype(np.int32),
    lambda p: p.astype(np.float32) * np.nan,
    lambda p: np.where(p == p.max(), np.inf, p).astype(np.float32),
    lambda p: p.astype(np.float64) * 1e300,
    lambda p: p.astype(np.float32) * 1e-38,
    lambda p: np.where(p == p.max(), 0, p).astype(np.uint16),
    lambda p: np.concatenate([p, p], 2),
    lambda p: np.pad(p, 40),
    lambda p: np.pad(p, ((200, 200), (0, 0), (0, 0))),
    lambda p: p > 500,
    lambda p: p.astype(np.int64) * 2**50,
    lambda p: np.random.default_rng(0).poisson(3, (9, 9, 9)).astype(np.uint16),
    lambda p: np.stack([p, p]),
    lambda p: p[:0],
)


def odd_psf(place: Path, rng: random.Random) -> Case:
    """A PSF that is damaged, or none by its values or shape."""
    write_folder(place / "views", rng)
    path = place / "views" / rng.choice(["psf_0.tif", "psf_90.tif"])
    if rng.random() < 0.5:
        values = rng.choice(_ODD_PSFS)(psf_pixels())
        if values.size:
            tifffile.imwrite(path, values, **GREY)
        else:
            path.write_bytes(b"")
    else:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng, within=rng.choice([16, 400, 2000])))
    if rng.random() < 0.3:
        return Case(["psf", "info", str(path)], (path.name,))
    if rng.random() < 0.2:
        return Case(["psf", "measure", str(path), "out.tif"], (path.name,))
    arguments = ["fuse", str(place / "views"), "-o", OUT, "-q", "--method", "ebmd", "--iterations", "1"]
    return Case(arguments, (path.name, "views", "PSF", "view '"))


def damaged_zarr(place: Path, rng: random.Random) -> Case:
    """A zarr whose metadata or chunks are damaged."""
    views = [View(pixels(rng), name, psf=psf_pixels().astype(np.float32), angle=float(name)) for name in ("0", "90")]
    path = place / "views.zarr"
    write_views_zarr(path, RegisteredViews(views, Grid(SHAPE)))
    file = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    if rng.random() < 0.6:
        file = path / rng.choice(["zarr.json", "0/zarr.json"])
    if file.name == "zarr.json" and rng.random() < 0.7:
        file.write_text(json.dumps(mutated_json(json.loads(file.read_text()), rng)))
    elif file.name == "zarr.json":
        file.write_bytes(mutated_text(file.read_text(), rng))
    else:
        file.write_bytes(mutated_bytes(file.read_bytes(), rng))
    return Case(["info", str(path)] if rng.random() < 0.2 else _fused(path, rng), ("views.zarr", "view '"))


def damaged_config(place: Path, rng: random.Random) -> Case:
    """A configuration of a training; without data, so that one that can be used ends too."""
    path = place / "training.yaml"
    path.write_bytes(mutated_text(CONFIGURATION, rng))
    return Case(["train", "-o", "mine", "--mode", "self", "--config", str(path), "-q"], ("training.yaml", "views"))


_ODD_TEXTS = (
    "",
    " ",
    "[",
    "{a: 1",
    "2024-13-45",
    "9" * 5000,
    "nan",
    "-inf",
    "1e400",
    "-1",
    "0",
    "1e-320",
    "1.5.2G",
    "0x10",
    "１２",
    "&a [*a]",
    "[" * 3000,
    "a=b=c",
    "=",
    "=1",
    "\x1b[31m",
    "\n",
    "[bold]",
    "../../..",
    "null",
    "true",
    "1,2",
    "1,2,3,4",
    "-0,0,0",
    "é" * 300,
    "n" * 5000,
    "%s",
    "--",
    "-o",
    "1e9",
    "1e9,1e9,1e9",
    "cuda:99",
    "mps",
)
_FUSE_OPTIONS = (
    *(
        "--method",
        "--iterations",
        "--lambda",
        "--kernel",
        "--osem",
        "--model",
        "--set",
        "--tag",
        "--views",
        "--psf-folder",
    ),
    *(
        "--voxel-size",
        "--offset",
        "--gain",
        "--weight",
        "--no-data",
        "--mask",
        "--device",
        "--tile",
        "--memory",
        "--psf",
    ),
)
_NAMES = ("iterations", "tile", "sigma1", "weights", "lambda", "stop_at_change", "kernel", "x", "name", "0", "90")


def odd_option(place: Path, rng: random.Random) -> Case:
    """An option of fusing with a value that it does not expect."""
    write_folder(place / "views", rng)
    option, value = rng.choice(_FUSE_OPTIONS), rng.choice(_ODD_TEXTS)
    if option in ("--set", "--gain", "--weight", "--mask") and rng.random() < 0.8:
        value = f"{rng.choice(_NAMES)}={value}"
    return Case(_fused(place / "views", rng, f"{option}={value}"))


def odd_option_elsewhere(place: Path, rng: random.Random) -> Case:
    """An option of another command with a value that it does not expect."""
    (path, _) = write_folder(place / "views", rng)
    value = rng.choice(_ODD_TEXTS)
    train = ["train", "-o", "mine", "--mode", "self", "-q"]
    commands = [
        [
            "evaluate",
            str(path),
            f"{rng.choice(['--truth', '--views', '--psf-folder', '--offset', '--device'])}={value}",
        ],
        ["psf", "measure", str(path), "out.tif", f"--size={value}"],
        ["simulate", "out", f"{rng.choice(['--size', '--angles', '--psfs', '--snr', '--voxel-size'])}={value}"],
        ["models", "info", value],
        ["models", "import", str(path), f"--name={value}"],
        ["info", str(path), f"--no-data={value}"],
        [*train, f"--set={rng.choice(['tile', 'batch', 'scenes', 'a.b'])}={value}"],
        [*train, f"-o{value}"],
        [*train, f"{rng.choice(['--views', '--angles', '--rate', '--minutes'])}={value}"],
    ]
    return Case(rng.choice(commands))


def damaged_recipe(place: Path, rng: random.Random) -> Case:
    """A recipe that was a good one."""
    write_folder(place / "views", rng)
    path = place / "run.recipe.json"
    recipe = {
        "format": "mvfusion-recipe",
        "version": 1,
        "inputs": {"source": str(place / "views"), "offset": 1.0, "weights": {"0": 2.0}},
        "grid": {"shape": list(SHAPE), "voxel_size_um": None, "origin_um": [0, 0, 0]},
        "views": [
            {"name": name, "angle": angle, "source": f"view_{name}.tif", "sha256": None, "weight": 1.0, "offset": 0.0}
            for name, angle in (("0", 0.0), ("90", 90.0))
        ],
        "method": {"name": "ebmd", "parameters": {"iterations": 1}},
        "run": {"device": "cpu", "threads": 1, "tile": list(SHAPE)},
        "software": {"python": "3.11"},
    }
    if rng.random() < 0.7:
        path.write_text(json.dumps(mutated_json(recipe, rng)))
    else:
        path.write_bytes(mutated_text(json.dumps(recipe, indent=1), rng))
    # What the recipe says of views and methods is named by its own name.
    return Case(["fuse", "--recipe", str(path), "-o", OUT, "-q"])


def damaged_model(place: Path, rng: random.Random) -> Case:
    """A model whose weights, header or card are damaged."""
    save(place, "net", SMALL)
    path = place / "net.safetensors"
    (damaged,) = damaged_safetensors(path, "card", 1, seed=rng.randrange(2**31))
    path.write_bytes(damaged)
    if rng.random() < 0.5:
        return Case(["models", "info", str(path)], ("net",))
    write_folder(place / "views", rng)
    arguments = ["fuse", str(place / "views"), "-o", OUT, "-q", "--method", "generator", "--model", str(path)]
    return Case(arguments, ("net",))


def damaged_checkpoint(place: Path, rng: random.Random) -> Case:
    """A published checkpoint to import."""
    path = place / "paper.ckpt"
    (damaged,) = damaged_checkpoints(old_file(content()), 1, seed=rng.randrange(2**31))
    path.write_bytes(damaged)
    return Case(["models", "import", str(path), "--name", "mine"], ("paper.ckpt",))


_ODD_NAMES = (
    "a b",
    "[raw]",
    "é" * 100,
    "n" * 255,
    "n" * 300,
    "n" * 5000,
    "a\nb",
    "\x1b[31m",
    "a::b",
    "-o",
    "~",
    "%(x)s",
    "視野",
    "a'b\"c",
    "..",
    ".",
    "",
    "a\udcffb",
)


def odd_name(place: Path, rng: random.Random) -> Case:
    """Inputs and outputs of odd names, missing, or of a kind that is no file."""
    name = rng.choice(_ODD_NAMES)
    views = place / "views"
    write_folder(views, rng)
    given = place / name if name else place
    kind = rng.randrange(7)
    try:
        if kind == 0 and name not in ("", ".", ".."):
            shutil.copytree(views, given)
        elif kind == 1:
            os.mkfifo(given)
        elif kind == 2:
            given.symlink_to(given)
        elif kind == 3:
            given.write_bytes(b"")
        elif kind == 4:
            given.symlink_to(place / "gone")
    except OSError:
        pass
    if kind == 5:
        ending = rng.choice([".zarr", ".tif", "", ".png", "/x.zarr"])
        return Case(["fuse", str(views), "-q", "--method", "average", f"--out={given}{ending}"])
    command = rng.choice(
        [["info"], ["fuse", "-q", "--method", "average", "-o", OUT], ["psf", "info"], ["clean", "--yes"]]
    )
    return Case([*command, "--", str(given)])


_BDV = """<?xml version="1.0" encoding="UTF-8"?>
<SpimData version="0.2"><BasePath type="relative">.</BasePath><SequenceDescription>
<ImageLoader format="bdv.hdf5"><hdf5 type="relative">dataset.h5</hdf5></ImageLoader>
<ViewSetups><ViewSetup><id>0</id><name>0</name><size>16 14 6</size><voxelSize><unit>um</unit><size>1 1 2</size>
</voxelSize><attributes><angle>0</angle></attributes></ViewSetup></ViewSetups>
<Timepoints type="pattern"><integerpattern>0</integerpattern></Timepoints></SequenceDescription>
<ViewRegistrations><ViewRegistration timepoint="0" setup="0"><ViewTransform type="affine">
<affine>1 0 0 0 0 1 0 0 0 0 1 0</affine></ViewTransform></ViewRegistration></ViewRegistrations></SpimData>
"""


def bdv_xml(place: Path, rng: random.Random) -> Case:
    """A BigStitcher project, whole or damaged, where views are expected."""
    path = place / "dataset.xml"
    path.write_bytes(mutated_text(_BDV, rng) if rng.random() < 0.9 else _BDV.encode())
    if rng.random() < 0.3:
        (place / "dataset.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    return Case([*rng.choice([["info"], ["fuse", "-q", "-o", OUT], ["psf", "info"]]), str(path)], ("dataset.xml",))


KINDS: dict[str, tuple[Maker, int]] = {
    "TIFF files, damaged": (damaged_tiff, 400),
    "TIFF descriptions (OME-XML, ImageJ), damaged": (damaged_description, 160),
    "PSFs, damaged or odd": (odd_psf, 220),
    "OME-Zarrs, metadata or chunks damaged": (damaged_zarr, 260),
    "training configurations, damaged": (damaged_config, 200),
    "options of fuse, odd values": (odd_option, 200),
    "options of other commands, odd values": (odd_option_elsewhere, 160),
    "recipes, damaged": (damaged_recipe, 200),
    "models and cards, damaged": (damaged_model, 120),
    "published checkpoints, damaged": (damaged_checkpoint, 60),
    "names and paths, odd": (odd_name, 120),
    "BigStitcher projects as input": (bdv_xml, 40),
}
