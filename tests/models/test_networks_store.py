"""Models as files and in their folder: what is saved comes back, and what is wrong is said."""

import contextlib
import json
import os
import signal
import string
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

import warm_process
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.models import (
    ModelCard,
    PSFRecord,
    add_model,
    build,
    delete_model,
    export_model,
    find_model,
    install_model,
    list_models,
    load_model,
    model_file,
    read_card,
    rename_model,
    save_model,
    store,
    user_folder,
)
from napari_mvfusion.models.card import check_name
from napari_mvfusion.models.model_file import write
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture

PAPER = PaperArchitecture(views=2, feature_maps=2)
UNIVERSAL = UniversalArchitecture(view_maps=2, maps=3, deep_maps=4)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """The user's folder and that of the shipped models, both of this test."""
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path / "models"))
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(store, "shipped_folder", lambda: tmp_path / "shipped")


def card(architecture=PAPER, **changes):
    least, most = (2, 2) if isinstance(architecture, PaperArchitecture) else (2, 8)
    values = {"name": "mine", "architecture": architecture, "normalisation": "maximum"}
    return ModelCard(**(values | {"least_views": least, "most_views": most} | changes))


def full_card(architecture):
    psf = PSFRecord(name="psf_0.tif", sha256="0" * 64, shape=(5, 7, 9), fwhm=(2.5, 3, 4))
    more = {"title": "A title", "summary": "Ä lot", "version": "1.2", "licence": "CC0-1.0", "tile": (16, 32, 48)}
    more |= {"training": {"steps": 7, "config": {"rate": 1e-3, "from": None}}, "metrics": {"nrmse": 0.05}}
    return card(architecture, psfs=(psf,), sources=("a paper",), created="2026-01-02T03:04:05+00:00", **more)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "2 views"),
        ({"angles": (0, 90.5)}, "2 views, at 0° and 90.5°"),
        ({"architecture": UNIVERSAL, "least_views": 2, "most_views": 8}, "2 to 8 views"),
        ({"architecture": UNIVERSAL, "least_views": 1, "most_views": 1, "angles": (90,)}, "1 view, at 90°"),
    ],
)
def test_a_card_says_which_views_the_model_takes(changes, words):
    assert card(**changes).views_taken == words


def network(architecture=PAPER):
    torch.manual_seed(8)
    return build(architecture)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_model(path, network(), card())
    return path


@pytest.mark.parametrize("architecture", [PAPER, UNIVERSAL], ids=["paper", "universal"])
def test_what_is_saved_comes_back_bit_for_bit(tmp_path, architecture):
    path = tmp_path / "mine.safetensors"
    original = network(architecture).train()
    written = full_card(architecture)
    save_model(path, original, written)
    loaded, read = load_model(path)
    assert read == written == read_card(path)
    assert not loaded.training
    assert list(loaded.state_dict()) == list(original.state_dict())
    for key, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_half_takes_half_the_room_and_comes_back_as_float32(tmp_path):
    original = network(PaperArchitecture(views=2, feature_maps=4)).state_dict()
    described = card(PaperArchitecture(views=2, feature_maps=4))
    for half in (False, True):
        save_model(tmp_path / f"{half}.safetensors", original, described, half=half)
    sizes = [(tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.6 * sizes[0]
    loaded, _ = load_model(tmp_path / "True.safetensors")
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, original[key], rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match=r"out.0.bias exceed what float16"):
        save_model(tmp_path / "b.safetensors", original | {"out.0.bias": torch.tensor([1e5])}, described, half=True)


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_model(saved)
    assert torch.equal(torch.rand(3), expected)


def test_a_file_is_not_overwritten_unasked(saved, tmp_path):
    before = saved.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save_model(saved, network(), card())
    assert saved.read_bytes() == before
    save_model(saved, network(), card(title="new"), overwrite=True)
    assert read_card(saved).title == "new"
    with pytest.raises(OutputError, match="does not end in"):
        save_model(tmp_path / "mine.pt", network(), card())
    with pytest.raises(OutputError, match=r"folder .* does not exist"):
        save_model(tmp_path / "no" / "mine.safetensors", network(), card())


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
@pytest.mark.long
def test_a_kill_while_writing_leaves_the_old_file_or_the_new_one(saved):
    code = (
        "import sys\n"
        "from napari_mvfusion.models import load_model, save_model\n"
        "module, card = load_model(sys.argv[1])\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    save_model(sys.argv[1], module, card, overwrite=True)\n"
    )
    with warm_process.start(code, saved) as writer:
        assert writer.stdout.readline() == "go\n", writer.said()
        time.sleep(0.2)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    expected = network().state_dict()
    for key, value in load_model(saved)[0].state_dict().items():
        assert torch.equal(value, expected[key])


# What is wrong with a file.


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match=r"gone.safetensors does not exist"):
        load_model(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("share", [0, 0.0005, 0.002, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_ends_too_early_is_said(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    for read in (load_model, read_card):
        with pytest.raises(InputError, match=r"mine.safetensors is damaged, cut off"):
            read(saved)


def test_a_changed_bit_among_the_weights_is_noticed(saved, rng):
    data = saved.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for position in rng.integers(begin, len(data), size=40):
        hurt = bytearray(data)
        hurt[position] ^= 1 << rng.integers(8)
        saved.write_bytes(hurt)
        with pytest.raises(InputError, match=r"mine.safetensors are not those that were saved"):
            load_model(saved)


def test_a_changed_bit_in_the_header_never_gives_other_weights(saved, rng):
    data = saved.read_bytes()
    for position in range(0, 8 + int.from_bytes(data[:8], "little"), 29):
        hurt = bytearray(data)
        hurt[position] ^= 1 << rng.integers(8)
        saved.write_bytes(hurt)
        with contextlib.suppress(InputError):
            assert torch.equal(load_model(saved)[0].c3[0].weight, network().c3[0].weight)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" + bytes(100), bytes(1000), b"\xff" * 1000])
def test_other_files_are_no_models(saved, content):
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"no safetensors file"):
        load_model(saved)


def test_weights_without_a_card_are_refused(saved):
    save_file(network().state_dict(), saved)
    with pytest.raises(InputError, match="without a model card"):
        load_model(saved)


def with_card(path, change):
    """Write the file again with another text in the place of its card."""
    with safe_open(path, framework="pt") as file:
        noted = file.metadata()
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    values = json.loads(noted["card"])
    text = change(values)
    save_file(state, path, noted | {"card": text if isinstance(text, str) else json.dumps(values)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(format_version=2, brand_new=1), "update napari-mvfusion"),
        (lambda v: v.update(format_version=0), "format_version"),
        (lambda v: v.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda v: v.pop("normalisation") and None, "normalisation: Field required"),
        (lambda v: v.update(normalisation="median"), "normalisation"),
        (lambda v: v.update(name="../mine"), "cannot be the name of a model"),
        (lambda v: v["architecture"].update(kind="transformer"), "architecture"),
        (lambda v: v["architecture"].update(depth=4), "depth"),
        (lambda v: v.update(architecture=None), "architecture"),
        (lambda v: v.update(least_views=3), "least_views 3 is more than most_views 2"),
        (lambda v: v.update(angles=[0]), "1 angles do not fit 2 to 2 views"),
        (lambda v: v.update(most_views=4), "2 input channels takes 2 views"),
        (lambda v: v.update(created="yesterday"), "created"),
        (lambda v: v.update(metrics={"nrmse": None}), "metrics.nrmse"),
        (lambda v: "{", "no JSON"),
        (lambda v: "[" * 100_000, "no JSON"),
        (lambda v: "[1]", "cannot be used"),
        (lambda v: "null", "cannot be used"),
    ],
)
def test_a_bad_card_is_said_in_words(saved, change, words):
    with_card(saved, change)
    for read in (load_model, read_card):
        with pytest.raises(InputError, match=words) as caught:
            read(saved)
        assert "mine.safetensors" in str(caught.value)
        assert "\n" not in str(caught.value)
    (saved.parent / "models").mkdir()
    saved.rename(saved.parent / "models" / saved.name)
    (entry,) = list_models()
    assert entry.card is None
    assert words in entry.error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("c4.3.bias"), r"c4.3.bias missing"),
        (lambda s: s.update(more=torch.zeros(1)), r"more unexpected"),
        (lambda s: s.update({"out.0.bias": torch.zeros(2)}), r"out.0.bias is \(2,\) and not \(1,\)"),
        (lambda s: s.update({"out.0.bias": torch.tensor([float("nan")])}), r"NaN or infinity in out.0.bias"),
        (lambda s: s.update({"out.0.bias": torch.tensor([float("inf")])}), r"NaN or infinity in out.0.bias"),
        (lambda s: s.update({"out.0.bias": torch.zeros(1, dtype=torch.int64)}), r"out.0.bias \(torch.int64\)"),
        (lambda s: [s.pop(key) for key in list(s)[:9]], r"c1.0.weight, c1.0.bias, c1.3.weight, c1.3.bias and 5 more"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, words):
    state = network().state_dict()
    change(state)
    path = tmp_path / "odd.safetensors"
    with pytest.raises(InputError, match=words):
        save_model(path, state, card())
    assert not path.exists()
    write(path, state, card(), overwrite=False)
    with pytest.raises(InputError, match=words):
        load_model(path)


def test_a_card_that_lies_about_sizes_costs_nothing(saved, monkeypatch):
    with_card(saved, lambda v: v["architecture"].update(feature_maps=512))
    places = []

    def built(architecture):
        network = build(architecture)
        places.extend(weights.device.type for weights in network.parameters())
        return network

    monkeypatch.setattr(model_file, "build", built)
    with pytest.raises(InputError, match="and not"):
        load_model(saved)
    assert set(places) == {"meta"}, "where tensors hold no numbers"


# Names and places.


@settings(max_examples=50)
@given(st.text(max_size=70))
@pytest.mark.long
def test_a_name_is_plain_or_refused(name):
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    try:
        assert check_name(name) == name
    except InputError:
        return
    assert name[0] in plain
    assert set(name) <= set(plain + "-_.")
    assert Path(name).name == name
    assert len(name) <= 64


def ends_in_letters_or_digits(name):
    return (name[0] + name[-1]).isalnum()


@settings(max_examples=50)
@given(st.text(f"{string.ascii_letters}{string.digits}._-", min_size=2, max_size=64).filter(ends_in_letters_or_digits))
def test_plain_names_are_accepted(name):
    if name.split(".")[0].lower() not in {"con", "prn", "aux", "nul"} and name[:3].lower() not in {"com", "lpt"}:
        assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a b", "-a", ".a", "a.", "é", "con", "NUL.x", "a\n"])
def test_names_that_are_no_files_are_refused(name):
    with pytest.raises(InputError, match="cannot be the name"):
        check_name(name)
    with pytest.raises(ValidationError):
        card(name=name)


def test_models_of_the_package_and_of_the_user_are_listed(tmp_path):
    assert list_models() == []
    save_model(tmp_path / "shipped" / "universal.safetensors", network(UNIVERSAL), card(UNIVERSAL, name="universal"))
    added = add_model(network(), card())
    broken = user_folder() / "broken.safetensors"
    broken.write_bytes(b"x" * 50)
    (user_folder() / ".mine.safetensors.writing-7").write_bytes(b"")
    found = {entry.name: entry for entry in list_models()}
    assert list(found) == ["universal", "broken", "mine"]
    assert [entry.shipped for entry in found.values()] == [True, False, False]
    assert found["mine"] == added == find_model("mine")
    assert found["broken"].card is None
    assert str(broken) in found["broken"].error
    assert load_model("universal")[1].architecture == UNIVERSAL
    with pytest.raises(InputError, match=r"no model 'other': choose from universal, broken, mine"):
        find_model("other")
    delete_model("broken")
    delete_model("mine")
    assert [entry.name for entry in list_models()] == ["universal"]


def test_the_name_is_that_of_the_file():
    entry = add_model(network(), card())
    entry.path.rename(entry.path.with_name("renamed by hand.safetensors"))
    (found,) = list_models()
    assert found.name == "renamed by hand"
    load_model("renamed by hand")
    rename_model("renamed by hand", "good")
    assert [(each.name, each.card.name) for each in list_models()] == [("good", "good")]


def test_a_model_goes_out_and_comes_back(tmp_path):
    add_model(network(), card())
    out = tmp_path / "gift.safetensors"
    export_model("mine", out)
    with pytest.raises(OutputError, match="exists already"):
        export_model("mine", out)
    export_model("mine", out, overwrite=True)
    assert install_model(out).name == "gift"
    assert install_model(out, name="named").card.name == "named"
    with pytest.raises(OutputError, match="there is a model 'gift' already"):
        install_model(out)
    for name in ("gift", "named", "mine"):
        assert torch.equal(load_model(name)[0].c2[0].weight, network().c2[0].weight)
    with pytest.raises(OutputError, match="there is a model 'gift' already"):
        rename_model("mine", "gift")
    out.write_bytes(out.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut off"):
        install_model(out, name="third")
    assert "third" not in {entry.name for entry in list_models()}


def test_shipped_models_are_safe(tmp_path):
    path = tmp_path / "shipped" / "universal.safetensors"
    save_model(path, network(UNIVERSAL), card(UNIVERSAL, name="universal"))
    before = path.read_bytes()
    export_model("universal", tmp_path / "universal.safetensors")
    for attempt in (
        lambda: delete_model("universal"),
        lambda: rename_model("universal", "other"),
        lambda: install_model(tmp_path / "universal.safetensors"),
        lambda: add_model(network(), card(name="Universal")),
    ):
        with pytest.raises(InputError, match=r"comes? with napari-mvfusion"):
            attempt()
    assert path.read_bytes() == before
    user_folder().mkdir(exist_ok=True)
    (user_folder() / "universal.safetensors").write_bytes(before)
    shadow = list_models()[1]
    assert "has the name of a shipped model" in shadow.error
    assert find_model("universal").path == path


@pytest.mark.parametrize("change", [delete_model, lambda name: rename_model(name, "other")])
@pytest.mark.parametrize("name", ["nothing", "../mine", "/etc/passwd", "mine.safetensors"])
def test_only_models_in_the_folder_are_changed(saved, change, name):
    user_folder().mkdir()
    with pytest.raises(InputError, match="there is no model"):
        change(name)
    assert saved.exists()


def test_without_the_variable_models_lie_in_the_data_folder_of_the_user(monkeypatch):
    monkeypatch.delenv("MVFUSION_MODELS")
    assert user_folder().parts[-2:] == ("napari-mvfusion", "models")
    monkeypatch.setenv("MVFUSION_MODELS", "~/here")
    assert user_folder() == Path.home() / "here"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything can be written")
def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    user_folder().mkdir()
    user_folder().chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        add_model(network(), card())
    user_folder().chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_said():
    user_folder().write_text("no folder")
    with pytest.raises(OutputError, match="cannot write"):
        add_model(network(), card())
