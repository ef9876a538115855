"""Published checkpoints: they load as they are, and what is hostile or damaged does nothing but say so."""

import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from napari_mvfusion.errors import InputError
from napari_mvfusion.models import ModelCard, save_model
from napari_mvfusion.models.legacy import card_of_import, generator_from_checkpoint, read_checkpoint
from napari_mvfusion.models.paper import PaperArchitecture
from old_checkpoints import MAPS, content, of_this_torch, weights
from old_torch import Raw, Tensor, integer, named, old_file, pickled, text


def put(tmp_path, data, name="old.ckpt"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_file_of_torch_1_3_loads_as_it_was_written(tmp_path):
    expected = weights()
    path = put(tmp_path, old_file(content(expected)))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.epoch, checkpoint.global_step) == (89, 9720)
    assert checkpoint.hyperparameters == {"lr": 1e-4, "psf": ["a.tif"], "loss": "inf", "best": 0.5, "gpus": None}
    network, details = generator_from_checkpoint(path)
    assert not network.training
    assert set(network.state_dict()) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(network.state_dict()[name].numpy(), values)
    assert details.architecture == PaperArchitecture(views=4, feature_maps=MAPS)
    assert details.angles == (0, 180, 270, 90)
    assert details.ignored == ("discriminator_full.layers.0.weight",)


@pytest.mark.parametrize(("views", "angles"), [(2, (0.0, 180.0)), (3, None)])
def test_views_and_feature_maps_are_told_from_the_weights(tmp_path, views, angles):
    path = put(tmp_path, old_file(content(weights(views, 3))))
    network, details = generator_from_checkpoint(path, activation="leaky_relu")
    assert network.architecture == PaperArchitecture(views=views, feature_maps=3, activation="leaky_relu")
    assert details.angles == angles


@pytest.mark.parametrize("zipped", [False, True])
def test_both_formats_of_torch_give_what_torch_reads(tmp_path, zipped):
    path = tmp_path / "new.ckpt"
    of_this_torch(path, zipped=zipped)
    oracle = torch.load(path.with_suffix(".plain"), weights_only=True)
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.state) == list(oracle["state_dict"])
    for key, value in oracle["state_dict"].items():
        assert checkpoint.state[key].dtype == value.dtype
        assert torch.equal(checkpoint.state[key], value)
    assert checkpoint.hyperparameters == {"lr": 0.5, "views": 2}
    network, _ = generator_from_checkpoint(path)
    assert torch.equal(network.c1[0].weight, oracle["state_dict"]["generator.c1.0.weight"])


def test_views_of_storages_are_found(tmp_path):
    numbers = np.arange(10, dtype=np.float32)
    state = {
        "whole": Tensor(numbers, "5"),
        "view": Tensor(numbers, "5", view=("6", 4, 5), size=(2, 2), stride=(2, 1), offset=1),
        "empty": Tensor(np.zeros((0, 3), np.float32), "7"),
    }
    read = read_checkpoint(put(tmp_path, old_file({"state_dict": state}))).state
    assert read["view"].tolist() == [[5, 6], [7, 8]]
    assert read["whole"].tolist() == numbers.tolist()
    assert read["empty"].shape == (0, 3)


def test_a_machine_with_the_high_byte_first_wrote_the_same_numbers(tmp_path):
    expected = weights()
    network, _ = generator_from_checkpoint(put(tmp_path, old_file(content(expected), little_endian=False)))
    np.testing.assert_array_equal(network.state_dict()["c3.0.weight"].numpy(), expected["c3.0.weight"])


def test_a_zip_with_the_high_byte_first_is_turned(tmp_path):
    path = tmp_path / "new.ckpt"
    of_this_torch(path, zipped=True)
    turned = tmp_path / "big.ckpt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(turned, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            elif "/data/" in name and len(data) % 4 == 0:
                data = np.frombuffer(data, "<u4").astype(">u4").tobytes()
            target.writestr(name, data)
    expected, _ = generator_from_checkpoint(path)
    network, _ = generator_from_checkpoint(turned)
    assert torch.equal(network.c2[3].weight, expected.c2[3].weight)


def test_an_imported_generator_becomes_a_model(tmp_path):
    network, details = generator_from_checkpoint(put(tmp_path, old_file(content())))
    card = card_of_import(details, "quad", source="old.ckpt", title="Quad")
    assert (card.angles, card.normalisation, card.architecture.norm) == ((0, 180, 270, 90), "maximum", "instance")
    assert (card.least_views, card.most_views, card.training["epoch"]) == (4, 4, 89)
    save_model(tmp_path / "quad.safetensors", network, card)
    with pytest.raises(InputError, match="2 angles do not fit"):
        card_of_import(details, "quad", source="old.ckpt", angles=[0, 90])


# What does not fit.


def without(name):
    return {key: value for key, value in weights().items() if key != name}


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (without("c4.3.bias"), "c4.3.bias missing"),
        (weights() | {"c9.0.weight": np.ones(2, np.float32)}, "c9.0.weight unexpected"),
        (weights() | {"u1.0.bias": np.ones(7, np.float32)}, r"u1.0.bias is \(7,\) and not \(4,\)"),
        (without("c1.0.weight"), "no generator.c1.0.weight"),
        (weights() | {"out.0.bias": np.full(1, np.nan, np.float32)}, "NaN or infinity in out.0.bias"),
        ({"c1.0.weight": np.ones((1, 4, 3, 3, 3), np.float32)}, "feature_maps"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, generator, words):
    with pytest.raises(InputError, match=words):
        generator_from_checkpoint(put(tmp_path, old_file(content(generator))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no checkpoint of torch"),
        (b"hello world, this is text", "no checkpoint of torch"),
        (b"\x80\x02.", "damaged"),
        (pickled(1) + pickled(1001), "unknown version"),
        (old_file([1, 2]), "no 'state_dict'"),
        (old_file({"state_dict": {"a": 1}}), "'a' among its weights"),
        (old_file({"state_dict": {}}), "no generator"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path, data, words):
    with pytest.raises(InputError, match=words):
        generator_from_checkpoint(put(tmp_path, data))
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(tmp_path / "nothing.ckpt")


@pytest.mark.parametrize("kind", ["old", "zip"])
def test_a_file_that_ends_anywhere_is_damaged(tmp_path, kind):
    path = tmp_path / "whole.ckpt"
    if kind == "old":
        path.write_bytes(old_file(content(weights(2))))
    else:
        of_this_torch(path, zipped=True)
    data = path.read_bytes()
    for end in [*range(1, 40), *np.linspace(40, len(data) - 1, 60).astype(int)]:
        with pytest.raises(InputError, match=r"damaged|no checkpoint"):
            read_checkpoint(put(tmp_path, data[:end], "cut.ckpt"))


def test_random_damage_is_an_input_error_or_harmless(tmp_path, rng):
    data = bytearray(old_file(content(weights(1, 2))))
    for _ in range(150):
        hurt = bytearray(data)
        for position in rng.integers(0, 6000, size=3):
            hurt[position] = rng.integers(256)
        path = put(tmp_path, hurt, "hurt.ckpt")
        with contextlib.suppress(InputError):
            generator_from_checkpoint(path)


# What is hostile.


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def evil(marker):
    """Pickles that would make the marker, or worse, if they were run."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    argument = text(command) + b"\x85R"
    nested = pickle.dumps(Calls(os.system, command), protocol=2)
    getattr_ = named("__builtin__", "getattr")
    return {
        "os": named("os", "system") + argument,
        "posix": named("posix", "system") + argument,
        "nt": named("nt", "system") + argument,
        "subprocess": named("subprocess", "check_output") + text("touch") + b"\x85R",
        "eval": named("builtins", "eval") + text(code) + b"\x85R",
        "exec": named("__builtin__", "exec") + text(code) + b"\x85R",
        "getattr": getattr_ + b"(" + named("os", "path") + text("os") + b"tR",
        "getattr of what is allowed": getattr_ + b"(" + named("collections", "OrderedDict") + text("__init__") + b"tR",
        "dotted name": named("collections", "OrderedDict.__init__.__globals__") + b")R",
        "torch.load": named("torch", "load") + text(str(marker)) + b"\x85R",
        "pickle.loads": named("_pickle", "loads") + b"\x85R",
        "numpy": named("numpy.testing._private.utils", "runstring") + text(code) + b"\x85R",
        "ndarray of objects": named("numpy", "dtype") + text("O8") + integer(0) + integer(1) + b"\x87R",
        "encode with another codec": named("_codecs", "encode") + text("aa") + text("zip_codec") + b"\x86R",
        "encode much": named("_codecs", "encode") + text("a" * 100) + text("latin1") + b"\x86R",
        "changed function": named("torch._utils", "_rebuild_tensor_v2") + b"N}" + text("__code__") + b"Ns\x86b",
        "changed class": named("argparse", "Namespace") + b"}" + text("__setstate__") + named("os", "system") + b"sb",
        "setstate": named("argparse", "Namespace") + b")\x81" + text(command) + b"b",
        "new of a function": named("collections", "OrderedDict") + b")\x81",
        "new of another class": named("subprocess", "Popen") + text("touch") + b"\x85\x81",
        "call of a result": named("collections", "OrderedDict") + b")R)R",
        "call of a string": text("os.system") + text(command) + b"\x85R",
        "old instance": b"(" + text(command) + b"ios\nsystem\n",
        "object": b"(" + named("os", "system") + text(command) + b"o",
        "extension": b"\x82\x01",
        "stack global": text("os") + text("system") + b"\x93" + argument,
        "new with keywords": named("argparse", "Namespace") + b")}\x92",
        "persistent by name": b"Pos.system\n",
        "bytes of a pickle": b"B" + struct.pack("<I", len(nested)) + nested,
        "partial": named("functools", "partial") + b"(" + named("os", "system") + text(command) + b"tR",
        "text with an odd escape": b"S'\\s'\n",
        "module": b"(" + text("module") + named("os", "system") + text("x") + text("y") + b"tQ",
    }


@pytest.mark.parametrize("trick", sorted(evil("x")))
@pytest.mark.parametrize("where", ["first", "system", "content", "keys", "zip"])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, trick, where):
    marker = tmp_path / "marker"
    raw = Raw(evil(marker)[trick])
    if where == "zip":
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("archive/data.pkl", pickled(content(hparams=raw)))
        data = made.getvalue()
    else:
        good = [pickled(0x1950A86A20F9469CFC6C), pickled(1001), pickled({}), pickled(content()), pickled([])]
        position = {"first": 0, "system": 2, "content": 3, "keys": 4}[where]
        good[position] = pickled(content(hparams=raw) if where == "content" else raw)
        data = b"".join(good)
    with pytest.raises(InputError, match=r"refused|damaged"):
        read_checkpoint(put(tmp_path, data))
    assert not marker.exists()


def test_the_pickles_of_python_itself_are_refused(tmp_path):
    marker = tmp_path / "marker"
    for call in (Calls(os.system, f"touch {marker}"), Calls(eval, f"open({str(marker)!r}, 'w')")):
        for zipped in (False, True):
            path = tmp_path / "evil.ckpt"
            torch.save({"state_dict": {}, "hparams": call}, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(InputError, match=r"asks to run '.*(system|eval)', which weights never need"):
                read_checkpoint(path)
    assert not marker.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def lies():
    """Sizes that the file does not have, and structures that grow without end."""
    one = np.ones(4, np.float32)
    nested = b"(]q\x01" + b"](h\x01h\x01h\x01h\x01eq\x01" * 64 + b"t"
    tuples = b")" + b"q\x01h\x01\x86" * 64
    deep = b"]" * 5000 + b"a" * 4999
    many = b"((" + integer(0) * 50_000 + b"tq\x01" + (named("torch", "Size") + b"h\x01\x85R") * 10_000 + b"t"
    long = b"((" + integer(0) * 50_000 + b"tq\x01" + (named("numpy", "dtype") + b"h\x01R") * 10_000 + b"t"
    again = text("a" * 100_000) + b"q\x01(" + b"h\x01" * 11_000 + b"t\x86"
    return {
        "huge storage": {"state_dict": {"a": Tensor(one, "1", total=2**40)}},
        "negative size": {"state_dict": {"a": Tensor(one, "1", size=(-4,), stride=(1,))}},
        "negative stride": {"state_dict": {"a": Tensor(one, "1", size=(2,), stride=(-1,), offset=3)}},
        "beyond its end": {"state_dict": {"a": Tensor(one, "1", size=(4,), stride=(1,), offset=1)}},
        "long stride": {"state_dict": {"a": Tensor(one, "1", size=(2,), stride=(4,))}},
        "repeated by stride 0": {"state_dict": {"a": Tensor(one, "1", size=(2**40,), stride=(0,))}},
        "many axes": {"state_dict": {"a": Tensor(one, "1", size=(1,) * 100, stride=(1,) * 100)}},
        "empty and huge": {"state_dict": {"a": Tensor(one, "1", size=(0, *[2**47] * 4), stride=(1,) * 5)}},
        "view beyond its end": {"state_dict": {"a": Tensor(one, "1", view=("2", 2, 3), size=(3,), stride=(1,))}},
        "one key twice": {"state_dict": {"a": Tensor(one, "1"), "b": Tensor(one.astype(np.float16), "1")}},
        "memo bomb": {"state_dict": {}, "hparams": Raw(b"Nr\xff\xff\xff\xff]" + b"r\xfe\xff\xff\xffj\xff\xff\xff\x7f")},
        "laughing lists": {"state_dict": {}, "hparams": Raw(nested)},
        "deep lists": {"state_dict": {}, "hparams": Raw(deep)},
        "hash of tuples": {"state_dict": {}, "hparams": Raw(b"}" + tuples + b"Ns")},
        "long sizes again and again": {"state_dict": {}, "hparams": Raw(many)},
        "long calls again and again": {"state_dict": {}, "hparams": Raw(long)},
        "long texts again and again": {"state_dict": {}, "hparams": Raw(again)},
        "hash of tuples at the start": {
            "state_dict": {},
            "hparams": Raw(named("collections", "OrderedDict") + b"](" + tuples + b"N\x86e\x85R"),
        },
        "list in itself": {"state_dict": {}, "hparams": Raw(b"]q\x01h\x01a")},
        "huge text": {"state_dict": {}, "hparams": Raw(b"X\xff\xff\xff\xffabc")},
        "huge text of 8 bytes": {"state_dict": {}, "hparams": Raw(b"\x8d" + b"\xff" * 7 + b"\x7fabc")},
        "huge number": {"state_dict": {}, "hparams": Raw(b"\x8b\x00\x04\x00\x00" + b"\x7f" * 1024)},
        "huge frame": {"state_dict": {}, "hparams": Raw(b"\x95" + b"\xff" * 8)},
    }


@pytest.mark.parametrize("lie", sorted(lies()))
def test_lies_about_sizes_cost_nothing(tmp_path, lie):
    path = put(tmp_path, old_file(lies()[lie]))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"refused|damaged"):
            read_checkpoint(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_a_wrong_count_before_the_numbers_is_damage(tmp_path):
    path = put(tmp_path, old_file({"state_dict": {"a": Tensor(np.ones(4, np.float32), "1")}}, heads={"1": 2**60}))
    with pytest.raises(InputError, match="another size"):
        read_checkpoint(path)


def test_a_pickle_of_too_many_steps_is_refused(tmp_path):
    path = put(tmp_path, old_file({"state_dict": {}, "hparams": Raw(b"K\x01q\x01" * 600_000)}))
    with pytest.raises(InputError, match="refused"):
        read_checkpoint(path)


def test_a_compressed_zip_is_refused(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled(content()) + bytes(10**6))
    with pytest.raises(InputError, match="compressed"):
        read_checkpoint(put(tmp_path, made.getvalue()))


def test_a_zip_whose_parts_share_their_bytes_is_refused(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"state_dict": {}}))
        archive.writestr("archive/data/0", bytes(10_000))
        first = archive.infolist()[1]
        for number in range(1, 5):
            copy = zipfile.ZipInfo(f"archive/data/{number}")
            copy.header_offset, copy.CRC, copy.file_size = first.header_offset, first.CRC, first.file_size
            copy.compress_size = first.compress_size
            archive.filelist.append(copy)
    with pytest.raises(InputError, match="larger than itself"):
        read_checkpoint(put(tmp_path, made.getvalue()))


def test_texts_that_are_no_unicode_and_long_ones_end_up_on_the_card(tmp_path):
    odd = {"odd": Raw(text("\udc80")), "long": "x" * 5000, "size": (1, 2), "deep": {"a": [None, True]}}
    _, details = generator_from_checkpoint(put(tmp_path, old_file(content(hparams=odd))))
    card = card_of_import(details, "quad", source="old.ckpt")
    assert ModelCard.model_validate_json(card.to_json()) == card
    read = details.hyperparameters
    assert (len(read["long"]), read["size"], read["deep"]) == (1000, [1, 2], {"a": [None, True]})


def test_other_zips_are_no_checkpoints(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="no checkpoint of torch"):
        read_checkpoint(put(tmp_path, made.getvalue()))
