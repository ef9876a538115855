"""Projects of BigDataViewer and BigStitcher as tests need them: XML, and pixels in every kind of storage."""

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

IDENTITY = np.eye(3, 4)


def scaled(*xyz):
    """A calibration: a transform that only scales (x, y, z)."""
    return np.hstack([np.diag(xyz).astype(float), np.zeros((3, 1))])


@dataclass
class Setup:
    """A setup as the XML describes it; sizes and voxels in (x, y, z), as there."""

    size: tuple = (8, 7, 6)
    voxel: tuple = (1.0, 1.0, 1.0)
    unit: str = "um"
    parts: dict = field(default_factory=lambda: {"angle": 0, "channel": 0})


def xml_of(
    loader,
    setups,
    transforms,
    *,
    timepoints=(0,),
    names=None,
    missing=(),
    boxes=None,
    psfs=None,
    adjustments=None,
    head="",
):
    """The text of a project.

    Parameters
    ----------
    loader : text of the ImageLoader element
    setups : number to `Setup`
    transforms : (time point, setup) to a list of 3 x 4 matrices in (x, y, z), in the order of the file
    names : kind to number to name, of angles and so on
    """
    listed = "".join(
        f"<ViewSetup><id>{n}</id><name></name><size>{' '.join(map(str, s.size))}</size>"
        f"<voxelSize><unit>{s.unit}</unit><size>{' '.join(map(str, s.voxel))}</size></voxelSize>"
        f"<attributes>{''.join(f'<{k}>{v}</{k}>' for k, v in s.parts.items())}</attributes></ViewSetup>"
        for n, s in setups.items()
    )
    parts = "".join(
        f'<Attributes name="{kind}">'
        + "".join(f"<{kind.title()}><id>{n}</id><name>{name}</name></{kind.title()}>" for n, name in named.items())
        + "</Attributes>"
        for kind, named in (names or {}).items()
    )
    registrations = "".join(
        f'<ViewRegistration timepoint="{t}" setup="{s}">'
        + "".join(
            f'<ViewTransform type="affine"><affine>{" ".join(map(repr, map(float, np.ravel(m))))}</affine></ViewTransform>'
            for m in chain
        )
        + "</ViewRegistration>"
        for (t, s), chain in transforms.items()
    )
    found = "".join(
        f'<BoundingBoxDefinition name="{name}"><min>{" ".join(map(str, low))}</min><max>{" ".join(map(str, high))}</max>'
        "</BoundingBoxDefinition>"
        for name, (low, high) in (boxes or {}).items()
    )
    spreads = "".join(
        f'<BoundingBoxDefinition timepoint="{t}" setup="{s}"><File>{file}</File></BoundingBoxDefinition>'
        for (t, s), file in (psfs or {}).items()
    )
    brightness = "".join(
        f'<IntensityAdjustments timepoint="{t}" setup="{s}"><model>{scale} {offset}</model></IntensityAdjustments>'
        for (t, s), (scale, offset) in (adjustments or {}).items()
    )
    times = "".join(f"<Timepoint><id>{t}</id></Timepoint>" for t in timepoints)
    absent = "".join(f'<MissingView timepoint="{t}" setup="{s}"/>' for t, s in missing)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<SpimData version="0.2"><BasePath type="relative">.</BasePath>'
        f"<SequenceDescription>{loader}<ViewSetups>{listed}{parts}</ViewSetups>"
        f'<Timepoints type="list">{times}</Timepoints><MissingViews>{absent}</MissingViews></SequenceDescription>'
        f"<ViewRegistrations>{registrations}</ViewRegistrations><BoundingBoxes>{found}</BoundingBoxes>"
        f"<PointSpreadFunctions>{spreads}</PointSpreadFunctions>"
        f"<IntensityAdjustments>{brightness}</IntensityAdjustments></SpimData>"
    )


def write_n5(folder: Path, pixels, block=(4, 4, 4), *, compression=None, pack=None, skip_zeros=False, whole=False):
    """Write a dataset of N5, (z, y, x), block by block, as its specification says.

    Parameters
    ----------
    block : (z, y, x)
    compression : what its attributes say of it, raw when None
    pack : bytes to packed bytes
    skip_zeros : write no block of zeros
    whole : write the blocks at the far faces as large as the others
    """
    folder.mkdir(parents=True)
    attributes = {
        "dimensions": list(pixels.shape[::-1]),
        "blockSize": list(block[::-1]),
        "dataType": str(pixels.dtype),
        "compression": compression or {"type": "raw"},
    }
    (folder / "attributes.json").write_text(json.dumps(attributes))
    for place in np.ndindex(*(-(-n // b) for n, b in zip(pixels.shape, block, strict=True))):
        corner = [p * b for p, b in zip(place, block, strict=True)]
        piece = pixels[tuple(slice(c, c + b) for c, b in zip(corner, block, strict=True))]
        if skip_zeros and not piece.any():
            continue
        if whole:
            piece = np.pad(piece, [(0, b - n) for b, n in zip(block, piece.shape, strict=True)], constant_values=77)
        header = struct.pack(">HH3I", 0, 3, *piece.shape[::-1])
        raw = np.ascontiguousarray(piece).astype(piece.dtype.newbyteorder(">")).tobytes()
        file = folder.joinpath(*map(str, place[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(header + (raw if pack is None else pack(raw)))


def gzip_n5():
    """Settings of `write_n5` for gzip."""
    return {"compression": {"type": "gzip", "level": 1}, "pack": lambda raw: _gzip(raw)}


def _gzip(raw):
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(raw) + packer.flush()


def write_n5_view(root: Path, setup, timepoint, levels, factors, **how):
    """Write a view with its levels into an N5 container of BigDataViewer; factors in (x, y, z)."""
    for number, pixels in enumerate(levels):
        write_n5(root / f"setup{setup}" / f"timepoint{timepoint}" / f"s{number}", pixels, **how)
    attributes = {"downsamplingFactors": factors, "dataType": str(levels[0].dtype)}
    (root / f"setup{setup}" / "attributes.json").write_text(json.dumps(attributes))
