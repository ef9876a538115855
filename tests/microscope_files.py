"""Files as the software of microscopes writes them, by the public descriptions of their formats."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import imagecodecs
import numpy as np

TripleOfFloats = tuple[float, float, float]


def letters(text: str) -> np.ndarray:
    """Text as Imaris keeps it, a letter an entry."""
    return np.frombuffer(text.encode(), "S1")


def write_ims(
    path: Path,
    levels: Sequence[np.ndarray],
    *,
    low: TripleOfFloats = (0.0, 0.0, 0.0),
    high: TripleOfFloats = (1.0, 1.0, 1.0),
    chunk: tuple[int, int, int] = (4, 16, 16),
    image: int = 0,
    unit: str | None = "um",
    channels: Sequence[str] = (),
    times: Sequence[str] = (),
) -> Path:
    """Write an Imaris file, or another image into one: levels are (t, c, z, y, x), the extent is (z, y, x)."""
    number = str(image or "")
    with h5py.File(path, "a") as file:
        file.attrs["ImarisVersion"] = letters("5.5.0")
        for level, volumes in enumerate(levels):
            for t, c in np.ndindex(*volumes.shape[:2]):
                group = file.create_group(f"DataSet{number}/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                values = volumes[t, c]
                padded = [-(-n // part) * part for n, part in zip(values.shape, chunk, strict=True)]
                data = group.create_dataset("Data", padded, values.dtype, chunks=chunk, compression="gzip")
                data[tuple(slice(n) for n in values.shape)] = values
                for axis, n in zip("ZYX", values.shape, strict=True):
                    group.attrs[f"ImageSize{axis}"] = letters(str(n))
        said = file.create_group(f"DataSetInfo{number}")
        described = said.create_group("Image")
        for axis, (start, stop) in enumerate(zip(low[::-1], high[::-1], strict=True)):
            described.attrs[f"ExtMin{axis}"] = letters(f"{start}\0")
            described.attrs[f"ExtMax{axis}"] = letters(f"{stop}")
        if unit is not None:
            described.attrs["Unit"] = letters(unit)
        for index, name in enumerate(channels):
            said.create_group(f"Channel {index}").attrs["Name"] = letters(name)
        clock = said.create_group("TimeInfo")
        for index, time in enumerate(times):
            clock.attrs[f"TimePoint{index + 1}"] = letters(time)
    return path


@dataclass
class CziPlane:
    """A plane of a CZI file: where it belongs, as {"V": 1, "Z": 3}, and how it is kept."""

    at: Mapping[str, int]
    pixels: np.ndarray
    compression: int = 0
    shown: tuple[int, int] | None = None
    place: int = field(default=0, init=False)

    @property
    def pixel_type(self) -> int:
        """Number of the format for the type of the pixels; three samples are a colour."""
        if self.pixels.ndim == 3:
            return 3
        return {"uint8": 0, "uint16": 1, "float32": 2, "int32": 12}[self.pixels.dtype.name]

    def entry(self, part: int) -> bytes:
        """As the directory has it; `shown` is the size of what the pixels are a coarse copy of."""
        rows, columns = self.pixels.shape[:2]
        height, width = self.shown or (rows, columns)
        parts = [("X", self.at.get("X", 0), width, columns), ("Y", self.at.get("Y", 0), height, rows)]
        parts += [(letter, start, 1, 1) for letter, start in self.at.items() if letter not in "XY"]
        head = struct.pack("<2siqiiB5xi", b"DV", self.pixel_type, self.place, part, self.compression, 0, len(parts))
        return head + b"".join(struct.pack("<4siifi", name.encode(), *rest[:2], 0.0, rest[2]) for name, *rest in parts)

    def stored(self) -> bytes:
        """The pixels as they are kept."""
        plain = self.pixels.tobytes()
        if self.compression == 2:
            return imagecodecs.lzw_encode(plain)
        if self.compression == 4:
            return imagecodecs.jpegxr_encode(self.pixels, level=1.0)
        if self.compression == 5:
            return imagecodecs.zstd_encode(plain)
        if self.compression == 6:
            apart = np.frombuffer(plain, np.uint8).reshape(-1, 2).T.tobytes()
            return b"\x03\x01\x01" + imagecodecs.zstd_encode(apart)
        return plain


def write_czi(
    path: Path, planes: Sequence[CziPlane], xml: str = "", *, part: int = 0, set_id: bytes = b"s" * 16
) -> Path:
    """Write a CZI file: its header, planes, directory and metadata, each a segment."""
    content = bytearray(32 + 512)

    def segment(name: str, data: bytes) -> int:
        place = len(content)
        content.extend(struct.pack("<16sqq", name.encode(), len(data), len(data)) + data)
        return place

    for plane in planes:
        plane.place = len(content)
        described, stored = b"<METADATA />", plane.stored()
        head = struct.pack("<iiq", len(described), 0, len(stored)) + plane.entry(part).ljust(240, b"\0")
        segment("ZISRAWSUBBLOCK", head + described + stored)
    entries = b"".join(plane.entry(part) for plane in planes)
    directory = segment("ZISRAWDIRECTORY", struct.pack("<i", len(planes)) + bytes(124) + entries)
    text = xml.encode()
    metadata = segment("ZISRAWMETADATA", struct.pack("<ii", len(text), 0) + bytes(248) + text) if xml else 0
    header = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, set_id, set_id, part, directory, metadata, 0, 0)
    content[: 32 + len(header)] = struct.pack("<16sqq", b"ZISRAWFILE", 512, 512) + header
    path.write_bytes(bytes(content))
    return path


def czi_xml(
    size_um: Mapping[str, float], channels: Sequence[str] = (), angles: Sequence[float] = (), step: float | None = None
) -> str:
    """The metadata of a CZI file: voxel sizes by axis, channels, the angles of its views, and seconds between times."""
    distances = "".join(f'<Distance Id="{axis}"><Value>{n * 1e-6!r}</Value></Distance>' for axis, n in size_um.items())
    names = "".join(f'<Channel Id="Channel:{n}" Name="{name}" />' for n, name in enumerate(channels))
    planes = "".join(f'<View V="{n}"><Interval><Start>0</Start></Interval></View>' for n in range(len(angles)))
    views = "".join(
        f'<View V="{n}"><PositionX>{n}</PositionX><PositionY>2</PositionY><PositionZ>3</PositionZ>'
        f"<Rotations><Offset>{angle}</Offset></Rotations></View>"
        for n, angle in enumerate(angles)
    )
    times = "" if step is None else f"<T><Positions><Interval><Increment>{step}</Increment></Interval></Positions></T>"
    turned = f"<V><AxisOfRotation>0 1 0</AxisOfRotation><Views>{views}</Views></V>" if angles else ""
    return (
        f"<ImageDocument><Metadata><Information><Image><Dimensions><Channels>{names}</Channels>{times}"
        f"<Z><MultiView>{planes}</MultiView></Z>{turned}</Dimensions></Image></Information>"
        f"<Scaling><Items>{distances}</Items></Scaling></Metadata></ImageDocument>"
    )


@dataclass
class LifSeries:
    """A series of a LIF file: pixels in the order that they are kept in, and what each of their axes is: "tczyx"."""

    name: str
    pixels: np.ndarray
    axes: str
    spacing: Mapping[str, float]
    channels: Sequence[str] = ("",)
    unit: str = "m"
    more: str = ""

    def element(self, number: int) -> str:
        """What the file says of it."""
        steps = dict(zip(self.axes, self.pixels.strides, strict=True))
        counts = dict(zip(self.axes, self.pixels.shape, strict=True))
        bits = 8 * self.pixels.itemsize
        kind = int(self.pixels.dtype.kind == "f")
        channels = "".join(
            f'<ChannelDescription DataType="{kind}" ChannelTag="0" Resolution="{bits}" NameOfMeasuredQuantity="" Min="0" '
            f'Max="1" Unit="" LUTName="{name}" IsLUTInverted="0" BytesInc="{n * steps.get("c", 0)}" BitInc="0" />'
            for n, name in enumerate(self.channels)
        )
        numbers = {"x": 1, "y": 2, "z": 3, "t": 4, "l": 5, "m": 10}
        dimensions = "".join(
            f'<DimensionDescription DimID="{numbers[axis]}" NumberOfElements="{counts[axis]}" Origin="0" '
            f'Length="{(counts[axis] - 1) * self.spacing.get(axis, 0)!r}" Unit="{"s" if axis == "t" else self.unit}" '
            f'BitInc="0" BytesInc="{steps[axis]}" />'
            for axis in self.axes
            if axis != "c"
        )
        return (
            f'<Element Name="{self.name}"><Data><Image><ImageDescription><Channels>{channels}</Channels><Dimensions>'
            f"{dimensions}</Dimensions></ImageDescription>{self.more}</Image></Data>"
            f'<Memory Size="{self.pixels.nbytes}" MemoryBlockID="MemBlock_{number}" /></Element>'
        )


def write_lif(path: Path, series: Sequence[LifSeries], *, before: str = "") -> Path:
    """Write a LIF file of version 2: its description in UTF-16, and a block of pixels for each series."""
    elements = "".join(each.element(number) for number, each in enumerate(series))
    xml = (
        f'{before}<LMSDataContainerHeader Version="2"><Element Name="project"><Data /><Memory Size="0" '
        f'MemoryBlockID="MemBlock_x" /><Children>{elements}</Children></Element></LMSDataContainerHeader>'
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
    for number, each in enumerate(series):
        name = f"MemBlock_{number}"
        head = struct.pack("<BQBI", 0x2A, each.pixels.nbytes, 0x2A, len(name)) + name.encode("utf-16-le")
        content += struct.pack("<II", 0x70, len(head)) + head + each.pixels.tobytes()
    path.write_bytes(content)
    return path


def lite_variant(values: Mapping[str, object]) -> bytes:
    """Values by name as ND2 files keep what describes them: a type, the name in UTF-16, and the value."""
    content = b""
    for name, value in values.items():
        letters = (name + "\0").encode("utf-16-le")

        def head(number: int, letters: bytes = letters) -> bytes:
            return struct.pack("<BB", number, len(letters) // 2) + letters

        match value:
            case bool():
                content += head(1) + struct.pack("<?", value)
            case int():
                content += head(3) + struct.pack("<I", value)
            case float():
                content += head(6) + struct.pack("<d", value)
            case str():
                content += head(8) + (value + "\0").encode("utf-16-le")
            case Mapping():
                inner = lite_variant(value)
                length = len(head(11)) + 12 + len(inner)
                content += head(11) + struct.pack("<IQ", len(value), length) + inner + bytes(8 * len(value))
            case _:
                raise TypeError(name)
    return content


def nd2_loops(sizes: Mapping[str, int], step_um: float, period_ms: float) -> dict[str, object]:
    """The loops of an ND2 file: "T", "P" and "Z" in the order of nesting, the outer one first."""
    inner: dict[str, object] = {}
    for axis, count in reversed(list(sizes.items())):
        points = {
            f"i{n:010}": {"dPosX": 10.0 * n, "dPosY": 5.0, "dPosZ": 1.0, "dPosName": f"p{n}"} for n in range(count)
        }
        kind, loop = {
            "T": (1, {"uiCount": count, "dStart": 0.0, "dPeriod": period_ms, "dDuration": period_ms * count}),
            "P": (2, {"bUseZ": True, "Points": points}),
            "Z": (4, {"uiCount": count, "dZStep": step_um, "dZLow": 0.0, "dZHigh": step_um * (count - 1)}),
        }[axis]
        inner = {"eType": kind, "uLoopPars": loop} | ({"ppNextLevelEx": {"i0000000000": inner}} if inner else {})
    return inner


def write_nd2(
    path: Path,
    frames: Sequence[np.ndarray | None],
    sizes: Mapping[str, int],
    *,
    channels: Sequence[str] = ("GFP",),
    size_um: float | None = 0.25,
    step_um: float = 2.0,
    period_ms: float = 7500.0,
    compressed: bool = False,
    padding: int = 0,
    extra: Mapping[bytes, bytes] | None = None,
) -> Path:
    """Write an ND2 file of version 3: frames are (y, x, channel), None for one that was not recorded."""
    first = next(frame for frame in frames if frame is not None)
    height, width, count = first.shape
    row = width * count * first.itemsize + padding
    attributes = {
        "uiWidth": width, "uiWidthBytes": row, "uiHeight": height, "uiComp": count, "uiBpcInMemory": 8 * first.itemsize,
        "uiBpcSignificant": 8 * first.itemsize, "uiSequenceCount": len(frames), "eCompression": 0 if compressed else 2,
    }  # fmt: skip
    planes = {
        f"a{n}": {"sDescription": name, "uiCompCount": 1, "uiSampleIndex": n, "pFluorescentProbe": {"m_sName": name}}
        for n, name in enumerate(channels)
    }
    picture = {
        "bCalibrated": size_um is not None,
        "dCalibration": size_um or 0.0,
        "sPicturePlanes": {"uiCount": len(channels), "sPlaneNew": planes},
    }
    content = bytearray(struct.pack("<IIQ32s64s", 0x0ABECEDA, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0"))
    listed = b""

    def chunk(name: bytes, data: bytes, name_bytes: int = 4072) -> None:
        nonlocal listed
        listed += name + struct.pack("<QQ", len(content), len(data))
        content.extend(struct.pack("<IIQ", 0x0ABECEDA, name_bytes, len(data)) + name.ljust(name_bytes, b"\0") + data)

    chunk(b"ImageAttributesLV!", lite_variant({"SLxImageAttributes": attributes}))
    chunk(b"ImageMetadataSeqLV|0!", lite_variant({"SLxPictureMetadata": picture}))
    if sizes:
        chunk(b"ImageMetadataLV!", lite_variant({"SLxExperiment": nd2_loops(sizes, step_um, period_ms)}))
    for name, data in (extra or {}).items():
        chunk(name, data)
    for number, frame in enumerate(frames):
        if frame is not None:
            rows = b"".join(line.tobytes() + bytes(padding) for line in frame)
            chunk(f"ImageDataSeq|{number}!".encode(), bytes(8) + (zlib.compress(rows) if compressed else rows))
    place = len(content)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    data = listed + end + struct.pack("<QQ", place, 0)
    content += struct.pack("<IIQ", 0x0ABECEDA, 32, len(data)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + data
    content += end + struct.pack("<Q", place)
    path.write_bytes(bytes(content))
    return path
