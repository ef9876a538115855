"""Several that make one model at the same time: one of them succeeds, the others are told, and nothing is replaced."""

import os
import threading

import pytest
import torch

from napari_mvfusion.errors import OutputError
from napari_mvfusion.models import (
    ModelCard,
    add_model,
    average_models,
    build,
    find_model,
    install_model,
    list_models,
    load_model,
    rename_model,
    save_model,
)
from napari_mvfusion.models.model_file import state_sha256
from napari_mvfusion.training.final_model import save_final_model
from small_models import SMALL, save

ROUNDS = 8


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's folder of this test."""
    path = tmp_path / "models"
    path.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(path))
    return path


def network(seed):
    torch.manual_seed(seed)
    return build(SMALL)


def card(name, title=""):
    return ModelCard(
        name=name, title=title, architecture=SMALL, least_views=2, most_views=8, normalisation="brightness"
    )


def together(*acts):
    """Do all at once; what each of them returned or raised."""
    found = [None] * len(acts)
    gate = threading.Barrier(len(acts))

    def do(number):
        gate.wait()
        try:
            found[number] = acts[number]()
        except OutputError as error:
            found[number] = error

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_of_several_that_add_one_name_one_is_told_saved(folder, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(PermissionError("no links here")))
    for number in range(ROUNDS):
        name = f"mine-{number}"
        made = [(network(each), card(name, str(each))) for each in range(3)]
        acts = [lambda each=each: add_model(*each) for each in made]
        found = together(*acts)
        (winner,) = (each for each in found if not isinstance(each, OutputError))
        for lost in found:
            if lost is not winner:
                assert str(lost) == f"there is a model '{name}' already: choose another name, or delete it first"
        kept, about = load_model(name)
        assert about == winner.card
        assert state_sha256(kept.state_dict()) == state_sha256(network(int(about.title)).state_dict())
    assert sorted(each.name for each in folder.iterdir()) == [f"mine-{n}.safetensors" for n in range(ROUNDS)]


def test_a_file_that_appears_while_another_is_written_stays(folder, monkeypatch):
    """The moment between the look at the name and the last step, in which another session saves."""
    fsync = os.fsync
    other = folder / "mine.safetensors"

    def meanwhile(descriptor):
        fsync(descriptor)
        if not other.exists():
            other.write_bytes(b"of another session")

    save(folder, "first", SMALL)
    save(folder, "second", SMALL)
    acts = (
        lambda: add_model(network(1), card("mine")),
        lambda: install_model(folder / "first.safetensors", name="mine"),
        lambda: average_models("first", "second", 0.5, "mine"),
        lambda: rename_model("first", "mine"),
        lambda: save_model(other, network(1), card("mine")),
        lambda: save_final_model(other, network(1).state_dict(), card("mine"), folder / "mine.training", ()),
    )
    for act in acts:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", meanwhile)
            with pytest.raises(OutputError, match=r"already|is not what the run"):
                act()
        assert other.read_bytes() == b"of another session"
        other.unlink()
    assert {entry.name for entry in list_models() if not entry.shipped} == {"first", "second"}


def test_two_that_replace_one_file_leave_one_of_both(folder):
    path = folder / "mine.safetensors"
    for _ in range(ROUNDS):
        made = [(network(each), card("mine", str(each))) for each in (1, 2)]
        together(*(lambda each=each: save_model(path, *each, overwrite=True) for each in made))
        kept, about = load_model("mine")
        assert state_sha256(kept.state_dict()) == state_sha256(network(int(about.title)).state_dict())


def test_a_run_replaces_its_own_model_only(folder):
    path, run = folder / "mine.safetensors", folder / "mine.training"
    first, second = network(1).state_dict(), network(2).state_dict()
    save_final_model(path, first, card("mine", "1"), run, ())
    save_final_model(path, second, card("mine", "2"), run, (state_sha256(first),))
    assert find_model("mine").card.title == "2"
    with pytest.raises(OutputError, match="is not what the run"):
        save_final_model(path, first, card("mine", "3"), run, (state_sha256(first),))
    assert find_model("mine").card.title == "2"
