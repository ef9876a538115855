"""Write checkpoints as torch 1.3 wrote them: the opcodes of their pickles, then the numbers of each storage."""

import struct
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage", "i4": "IntStorage"}


@dataclass(frozen=True)
class Raw:
    """Opcodes that are put into a pickle as they are."""

    opcodes: bytes


@dataclass(frozen=True)
class Spec:
    """An `argparse.Namespace`."""

    values: dict


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor, perhaps with a storage of its own making."""

    values: np.ndarray
    key: str
    parameter: bool = False
    place: str = "torch"
    view: tuple | None = None  # key of the view, its start, its count; then `size` and `stride` count from there
    size: tuple | None = None
    stride: tuple | None = None
    offset: int = 0
    total: int | None = None


def text(value):
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


def encode(value):
    """The opcodes that push a value."""
    match value:
        case Raw():
            return value.opcodes
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case np.generic():
            return _numpy_scalar(value)
        case int():
            return integer(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return text(value)
        case OrderedDict():
            items = b"".join(encode(key) + encode(item) for key, item in value.items())
            # torch hangs the versions of the modules on it.
            metadata = b"}" + text("_metadata") + b"}s"
            return named("collections", "OrderedDict") + b")R" + b"(" + items + b"u" + metadata + b"b"
        case dict():
            return b"}(" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case Spec():
            return named("argparse", "Namespace") + b")\x81" + encode(value.values) + b"b"
        case Tensor():
            return _tensor(value)
    raise TypeError(type(value))


def _numpy_scalar(value):
    dtype = named("numpy", "dtype") + text(value.dtype.str[1:]) + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text("<") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    data = named("_codecs", "encode") + text(value.tobytes().decode("latin1")) + text("latin1") + b"\x86R"
    return named("numpy.core.multiarray", "scalar") + dtype + data + b"\x86R"


def _tensor(tensor):
    values = np.ascontiguousarray(tensor.values)
    kind = named(tensor.place, KINDS[values.dtype.str[1:]])
    total = values.size if tensor.total is None else tensor.total
    device = text("cpu" if tensor.place == "torch" else "cuda:0")
    view = b"N" if tensor.view is None else encode(tensor.view)
    storage = b"(" + text("storage") + kind + text(tensor.key) + device + integer(total) + view + b"tQ"
    size = values.shape if tensor.size is None else tensor.size
    stride = tuple(n // values.itemsize for n in values.strides) if tensor.stride is None else tensor.stride
    built = named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + integer(tensor.offset)
    built += encode(size) + encode(stride) + b"\x89" + named("collections", "OrderedDict") + b")Rt" + b"R"
    if tensor.parameter:
        hooks = named("collections", "OrderedDict") + b")R"
        built = named("torch._utils", "_rebuild_parameter") + b"(" + built + b"\x88" + hooks + b"tR"
    return built


def pickled(value):
    return b"\x80\x02" + encode(value) + b"."


def tensors_in(value):
    match value:
        case Tensor():
            yield value
        case dict():
            for item in value.values():
                yield from tensors_in(item)
        case list() | tuple():
            for item in value:
                yield from tensors_in(item)


def old_file(content, *, little_endian=True, heads=None):
    """A file in the format before zip: bytes."""
    system = {
        "protocol_version": 1001,
        "little_endian": little_endian,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    storages = {tensor.key: np.ascontiguousarray(tensor.values) for tensor in tensors_in(content)}
    parts = [pickled(MAGIC), pickled(1001), pickled(system), pickled(content), pickled(sorted(storages))]
    for key in sorted(storages):
        count = (heads or {}).get(key, storages[key].size)
        parts.append(count.to_bytes(8, "little" if little_endian else "big"))
        parts.append(storages[key].tobytes())
    return b"".join(parts)
