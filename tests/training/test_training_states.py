"""The state of a training run: no damage is taken for weights, and the state before it takes over."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_mvfusion.data.events import Warned
from napari_mvfusion.errors import DiskFullError, InputError, OutputError
from napari_mvfusion.training import loop
from napari_mvfusion.training.final_model import final_model_from_checkpoint
from napari_mvfusion.training.objectives import Supervised, score_supervised
from napari_mvfusion.training.state import TrainingProgress, _comes_back, read_header
from napari_mvfusion.training.training_events import Started, StepDone, Trained
from saved_states import loaded, same, saved
from small_training import CPU, Toy, toy_card, toy_config

pytestmark = pytest.mark.usefixtures("one_thread")


def damages(content, rng):
    """Bits that flipped, bytes that were lost, pieces that were overwritten."""
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        yield bytes(damaged)
    for _ in range(30):
        yield content[: rng.integers(len(content))]
    for _ in range(30):
        start, length = rng.integers(len(content)), rng.integers(1, 64)
        yield content[:start] + bytes(length) + content[start + length :]


def test_no_damage_gives_other_weights_and_the_state_before_goes_on(tmp_path):
    path = tmp_path / "state.safetensors"
    before = saved(path, 1, 4)
    newest = saved(path, 2, 5)
    content = path.read_bytes()
    fell_back = 0
    for damaged in damages(content, np.random.default_rng(0)):
        path.write_bytes(damaged)
        found, module = loaded(path)
        if found.newest:
            # A blank in the header, say: nothing that counts.
            assert found.progress.step == 5
            assert same(module, newest)
            continue
        fell_back += 1
        assert found.progress.step == 4
        assert same(module, before)
        assert found.remarks == (f"{path} is damaged: going on from the state before it, of step 4",)
    assert fell_back > 190


def test_without_a_whole_state_one_line_names_the_file(tmp_path):
    path = tmp_path / "state.safetensors"
    saved(path, 1, 4)
    for damaged in damages(path.read_bytes(), np.random.default_rng(1)):
        path.write_bytes(damaged)
        words = ""
        try:
            _, module = loaded(path)
        except InputError as error:
            words = str(error)
        if words:
            assert str(path) in words
            assert "train from the start" in words
            assert "\n" not in words
        else:
            assert same(module, saved(tmp_path / "again.safetensors", 1, 4))
    with pytest.raises(InputError, match="is missing"):
        loaded(tmp_path / "none.safetensors")


def test_a_state_of_an_earlier_version_loads_and_says_that_it_has_no_hash(tmp_path):
    path = tmp_path / "state.safetensors"
    module = saved(path, 1, 4)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        meta = file.metadata()["state"]
    save_file(tensors, path, metadata={"state": meta})
    found, again = loaded(path)
    assert same(module, again)
    assert found.progress == TrainingProgress(step=4, best_score=0.5)
    (remark,) = found.remarks
    assert str(path) in remark
    assert "without a hash" in remark
    assert read_header(path).progress.step == 4


@pytest.mark.parametrize("moment", ["verified", "put aside", "in place"])
def test_wherever_saving_ends_a_whole_state_is_there(tmp_path, monkeypatch, moment):
    path = tmp_path / "state.safetensors"
    saved(path, 1, 4)
    saved(path, 2, 5)
    replace, calls = os.replace, []

    def cut(old, new):
        calls.append(new)
        if len(calls) > ["verified", "put aside", "in place"].index(moment):
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(os, "replace", cut)
    if moment == "in place":
        saved(path, 3, 6)
    else:
        with pytest.raises(KeyboardInterrupt):
            saved(path, 3, 6)
    monkeypatch.undo()
    found, _ = loaded(path)
    assert found.progress.step == (6 if moment == "in place" else 5)
    saved(path, 4, 7)
    assert loaded(path)[0].progress.step == 7


def test_a_damaged_state_never_takes_the_place_of_the_one_before_it(tmp_path):
    path = tmp_path / "state.safetensors"
    saved(path, 1, 4)
    saved(path, 2, 5)
    path.write_bytes(path.read_bytes()[:-1] + b"\xa5")
    assert not loaded(path)[0].newest
    saved(path, 3, 6, keep_last=False)
    path.unlink()
    assert loaded(path)[0].progress.step == 4


def test_what_does_not_come_back_from_the_disk_is_no_state(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    module = saved(path, 1, 4)
    fsync = os.fsync

    def decay(descriptor):
        fsync(descriptor)
        os.pwrite(descriptor, b"\xa5", os.fstat(descriptor).st_size - 1)

    monkeypatch.setattr(os, "fsync", decay)
    with pytest.raises(OutputError, match="does not come back as it was written"):
        saved(path, 2, 5)
    monkeypatch.undo()
    assert same(loaded(path)[1], module)


def events(folder, **options):
    config = toy_config()
    out = folder / "toy.safetensors"
    parts = (config, Toy(), Supervised(config.weights), score_supervised, toy_card(), out)
    return loop.train_events(*parts, decides="nrmse", device=CPU, **options)


def test_a_run_goes_on_from_the_state_before_a_damaged_one_to_the_same_weights(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    list(events(whole))
    done = []
    for event in events(broken, cancel=lambda: len(done) == 3):
        if isinstance(event, StepDone):
            done.append(event.step)
    folder = broken / "toy.training"
    path = folder / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)
    (folder / "log.csv").write_bytes(b"\x00\xff\n" + (folder / "log.csv").read_bytes() + b"9" * 5000 + b",a,1\n")
    assert final_model_from_checkpoint(folder, tmp_path / "kept.safetensors") is not None
    resumed = list(events(broken, resume=True))
    started = next(event for event in resumed if isinstance(event, Started))
    warned = [event.message for event in resumed if isinstance(event, Warned)]
    assert warned == [f"{path} is damaged: going on from the state before it, of step {started.step}"]
    assert isinstance(resumed[-1], Trained)
    ours, theirs = (each / "toy.safetensors" for each in (broken, whole))
    with safe_open(ours, framework="pt") as a, safe_open(theirs, framework="pt") as b:
        assert a.metadata()["sha256"] == b.metadata()["sha256"]


def test_a_state_that_does_not_come_back_from_the_disk_is_not_taken_for_saved(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors, header = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}, {"about": "it"}
    save_file(tensors, path, metadata=header)
    assert _comes_back(path, tensors, header)
    assert not _comes_back(path, {"a": tensors["a"]}, header)
    assert not _comes_back(path, tensors, {"about": "else"})
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        assert not _comes_back(path, tensors, header), place
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        assert not _comes_back(path, tensors, header), end


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to how long a file may be")
@pytest.mark.parametrize("longest", [100, 20_000])
def test_a_limit_to_how_long_a_file_may_be_is_said_and_what_goes_on(tmp_path, longest):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, before[1]))
    try:
        with pytest.raises(
            DiskFullError, match=r"^the system lets no file be as long as .*toy\.train.*\(ulimit -f\), then .*--resume"
        ) as limited:
            list(events(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(pickle.loads(pickle.dumps(limited.value))) == str(limited.value), "in the window it comes from a process"
    assert not (tmp_path / "toy.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no small disk at hand")
def test_a_full_disk_is_said_and_what_goes_on(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        with pytest.raises(
            DiskFullError, match=r"^the disk is full while writing .*toy\.train.*: free some space, .*--resume"
        ):
            list(events(disk))
        assert not (disk / "toy.safetensors").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
