"""Images that are added to a group that holds several: which groups take one, and the lists that some keep of theirs.

The folder of an unfinished run lies in the group too, so that its result takes its place in one step. It is no zarr by
itself, so that whoever reads the group does not see it.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import zarr

from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.ome_zarr.reader import ZarrImage, attributes_of, open_image, reading
from napari_mvfusion.io.ome_zarr.stores import is_zarr
from napari_mvfusion.system.locks import locked

_LIST, _OME_XML = "OME", "METADATA.ome.xml"
_WAIT_SECONDS = 10.0
_NO_ID = re.compile(r"[^A-Za-z0-9.-]+")
_END_OF_IMAGE = re.compile(r"</(\w+:)?Image>")
_NO_CONTAINERS = {"multiscales": "an image", "plate": "a plate", "well": "a well of a plate", "scene": "a scene"}
_PIXEL_TYPES = {"float32": "float", "float64": "double", "bool": "bit"}


def takes_images(folder: Path) -> bool:
    """Whether a group takes an image under any name.

    Raises
    ------
    OutputError
        If it is a zarr, and its images have other places, or are listed in a version that is not written.
    """
    if not (folder.is_dir() and is_zarr(folder)):
        return False
    ome = attributes_of(folder)
    kind = next((words for key, words in _NO_CONTAINERS.items() if key in ome), None)
    with reading(folder) as node:
        if isinstance(node, zarr.Array):
            kind = "an array"
    if kind is not None:
        raise OutputError(
            f"{folder} is {kind}, in which no image has a name of its own: write it beside, as fused.zarr"
        )
    if (folder / _LIST / ".zattrs").is_file():
        raise OutputError(
            f"{folder} lists its images in OME-Zarr 0.4, where one of version 0.5, which is written, would not be found: "
            "write it beside, as fused.zarr"
        )
    return True


def refuse_to_lose(path: Path) -> None:
    """Refuse to write an image over what is more than one.

    Raises
    ------
    OutputError
        If there is a group that holds others, or, in a container, what is no image.
    """
    if not is_zarr(path) or "multiscales" in attributes_of(path):
        return
    above = attributes_of(path.parent)
    if is_zarr(path.parent) and not any(key in above for key in _NO_CONTAINERS):
        raise OutputError(f"{path} is no image, and is not replaced by one: choose another name")
    with reading(path) as node:
        inner = (
            [name for name, child in node.members() if isinstance(child, zarr.Group)]
            if isinstance(node, zarr.Group)
            else []
        )
    if inner:
        raise OutputError(
            f"{path} holds more than one image ({', '.join(inner[:3])}), which would be lost: name one in it, or choose "
            "another output"
        )


def list_image(path: Path) -> None:
    """Add an image to the list of the container in which it lies, where that keeps one; safe to repeat.

    Raises
    ------
    OSError
        If the list cannot be written; an `OutputError` where another run writes it for long.
    """
    _consolidate(path.parent)
    listing = path.parent / _LIST / "zarr.json"
    if not listing.is_file() or "bioformats2raw.layout" not in attributes_of(path.parent):
        return
    with locked(listing.parent, wait_seconds=_WAIT_SECONDS):
        described = json.loads(listing.read_text(encoding="utf-8"))
        series = described.get("attributes", {}).get("ome", {}).get("series")
        if not isinstance(series, list) or path.name in series:
            return
        # First the description: what is listed is described.
        described_in = listing.with_name(_OME_XML)
        if described_in.is_file():
            text = described_in.read_text(encoding="utf-8")
            _write(described_in, _with_image(text, open_image(path)))
        series.append(path.name)
        _write(listing, json.dumps(described, indent=2))


def _consolidate(folder: Path) -> None:
    """Collect the metadata of a group anew, where it holds those of all that lies in it: readers look no further."""
    described = folder / "zarr.json"
    if described.is_file() and "consolidated_metadata" in json.loads(described.read_text(encoding="utf-8")):
        with warnings.catch_warnings():
            # That this is in no specification yet, and of files that are no zarr, as recipes.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(folder)


def _write(path: Path, text: str) -> None:
    with written_aside(path, overwrite=True) as aside:
        aside.write_text(text, encoding="utf-8")


def _with_image(text: str, image: ZarrImage) -> str:
    """An OME-XML in which an image comes after the others; all else of it stays as it is."""
    number = f"mvfusion-{_NO_ID.sub('-', image.path.name)}"
    ends = list(_END_OF_IMAGE.finditer(text))
    if not ends or f'"Image:{number}"' in text:
        return text
    prefix, at = ends[-1][1] or "", ends[-1].end()
    return text[:at] + _described(image, number, prefix) + text[at:]


def _described(image: ZarrImage, number: str, prefix: str) -> str:
    """The element of an image."""
    sizes = dict(zip(image.axes, image.array.shape, strict=True))
    lengths = dict(zip("ZYX", image.placement.size_um, strict=True)) if all(image.placement.in_um) else {}
    kind = np.dtype(image.array.dtype).name
    pixels = {
        "ID": f"Pixels:{number}",
        "DimensionOrder": "XYZCT",
        "Type": _PIXEL_TYPES.get(kind, kind),
        "BigEndian": "false",
        **{f"Size{axis.upper()}": sizes.get(axis, 1) for axis in "xyzct"},
        **{f"PhysicalSize{axis}": f"{length:g}" for axis, length in lengths.items()},
    }
    channels = "".join(
        f'<{prefix}Channel ID="Channel:{number}:{channel}" SamplesPerPixel="1"/>' for channel in range(pixels["SizeC"])
    )
    stated = " ".join(f'{name}="{value}"' for name, value in pixels.items())
    return (
        f'<{prefix}Image ID="Image:{number}" Name={quoteattr(image.path.name)}>'
        f"<{prefix}Pixels {stated}>{channels}<{prefix}MetadataOnly/></{prefix}Pixels></{prefix}Image>"
    )
