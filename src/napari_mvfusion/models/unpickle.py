"""Pickles of old checkpoints, read without running them.

A pickle is a program for a small stack machine that may call anything. `pickletools` of Python takes it apart, and the
machine here knows the few steps that checkpoints consist of. It holds names of functions instead of functions, and it
makes plain values, or one of the stand-ins of `standins`; a pickle that asks for more is refused. No step takes memory
that the file does not have.
"""

from __future__ import annotations

import pickletools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from napari_mvfusion.errors import InputError
from napari_mvfusion.models import standins
from napari_mvfusion.models.standins import Namespace, NumpyType, Refused, Storage

_LONGEST_LINE = 512
_MOST_STEPS = 1_000_000
_MOST_ARGUMENTS = 8
_MARK = object()


_CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": standins.ordered_dict,
    "torch._utils._rebuild_tensor_v2": standins.tensor,
    "torch._utils._rebuild_parameter": standins.parameter,
    "torch.Size": standins.size,
    "numpy.dtype": standins.numpy_type,
    "numpy.core.multiarray.scalar": standins.scalar,
    "numpy._core.multiarray.scalar": standins.scalar,
    "_codecs.encode": standins.encoded,
}


@dataclass(frozen=True)
class Pickled:
    """A pickle that was read.

    Attributes
    ----------
    value : plain values, with `Storage`, `TensorRef` and `Namespace` among them
    storages : all storages that it refers to, whole, by key
    """

    value: Any
    storages: Mapping[str, Storage]


@dataclass(frozen=True)
class _Name:
    """Stands for what a pickle names: it cannot be called."""

    name: str


def read_pickle(file: IO[bytes], source: str, *, length: int) -> Pickled:
    """Read one pickle, and leave the file at its end.

    Parameters
    ----------
    file : stands at the beginning of the pickle
    source : the file's name, for messages
    length : bytes that may be read

    Raises
    ------
    InputError
        If the pickle is damaged, or asks for anything that weights do not need.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            # Texts as steps write them that are refused anyway may hold odd escapes.
            warnings.simplefilter("ignore", DeprecationWarning)
            # It looks at steps, and runs none.
            for number, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], _Bounded(file, length)))):
                if number >= _MOST_STEPS:
                    raise Refused(f"it takes more than {_MOST_STEPS} steps to read")
                machine.step(opcode.name, argument)
        (result,) = machine.stack
    except Refused as error:
        raise InputError(f"{source} is refused: {error}; get the file from its authors") from error
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(f"{source} is damaged or cut off ({error}): get the file again") from error
    return Pickled(result, machine.storages)


class _Bounded:
    """A file of which at most so many bytes are read, whatever a length in it says."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self._left = left

    def read(self, count: int) -> bytes:
        data = self._file.read(min(count, self._left))
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        data = self._file.readline(min(_LONGEST_LINE, self._left))
        self._left -= len(data)
        return data


class _Machine:
    """The stack, the memo, and the steps that are known."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, Storage] = {}
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "STOP":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE":
                # Halves of letters could not be written to a card, nor shown.
                stack.append(argument.encode("utf-8", "replace").decode("utf-8"))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                if len(stack) < count:
                    raise ValueError("its stack is too short")
                stack[-count:] = [tuple(stack[-count:])]
            case "MARK":
                stack.append(_MARK)
            case "TUPLE":
                stack.append(tuple(self._from_mark()))
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._from_mark())
            case "SETITEM":
                value = stack.pop()
                self._set([stack.pop(), value])
            case "SETITEMS":
                self._set(self._from_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise ValueError("it refers to a value that it does not hold")
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(self._named(argument.replace(" ", ".", 1)))
            case "BINPERSID":
                stack.append(self._storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(self._call(stack.pop(), arguments))
            case "NEWOBJ":
                arguments = stack.pop()
                stack.append(self._new(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                self._build(stack[-1], state)
            case _:
                raise Refused(f"it holds the step {name}, which no checkpoint of this kind has")

    def _from_mark(self) -> list[Any]:
        position = next((i for i in reversed(range(len(self.stack))) if self.stack[i] is _MARK), None)
        if position is None:
            raise ValueError("a mark is missing")
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("something is appended to what is no list")
        self.stack[-1].extend(values)

    def _set(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("an item is set in what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # The hash of nested tuples can take for ever.
            if not isinstance(key, str | int | float | None):
                raise ValueError(f"a {type(key).__name__} is no key")
            target[key] = value

    def _named(self, name: str) -> _Name:
        if name not in _CALLS and name not in standins.STORAGES and name != "argparse.Namespace":
            raise Refused(f"it asks to run {name!r}, which weights never need")
        return _Name(name)

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Name) or function.name not in _CALLS or not isinstance(arguments, tuple):
            called = function.name if isinstance(function, _Name) else type(function).__name__
            raise Refused(f"it calls {called!r}")
        # Many calls with one long tuple would take for ever.
        if len(arguments) > _MOST_ARGUMENTS:
            raise Refused(f"it calls {function.name!r} with {len(arguments)} arguments")
        return _CALLS[function.name](*arguments)

    def _new(self, kind: Any, arguments: Any) -> Namespace:
        if kind != _Name("argparse.Namespace") or arguments != ():
            raise Refused("it makes an object that weights never need")
        return Namespace()

    def _build(self, target: Any, state: Any) -> None:
        if isinstance(target, Namespace) and isinstance(state, dict):
            target.values = state
        elif (
            isinstance(target, NumpyType)
            and isinstance(state, tuple)
            and len(state) > 1
            and state[1] in ("<", ">", "|")
        ):
            target.order = state[1]
        elif not isinstance(target, OrderedDict):
            # Version numbers of modules, which torch hangs on the dictionary, are of no use here.
            raise Refused(f"it changes the inside of a {type(target).__name__}")

    def _storage(self, identity: Any) -> Storage:
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ValueError("a storage is not described as one")
        _, kind, key, _, total, *view = identity
        whole = standins.storage(kind.name if isinstance(kind, _Name) else None, key, total)
        if self.storages.setdefault(key, whole) != whole:
            raise ValueError("a storage is described in two ways")
        return standins.part(whole, *view)
