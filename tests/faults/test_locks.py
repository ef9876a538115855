"""Two runs of one output: one works, the other says in a line who does; the lock ends with its process."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.methods import Average
from napari_mvfusion.system.locks import Busy, holder, is_lock, lock_path, locked

HOLDING = """
import sys, pathlib
from napari_mvfusion.system.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_a_lock_names_its_process_and_ends_with_it(tmp_path):
    out = tmp_path / "fused.zarr"
    with holding(out) as child:
        with pytest.raises(Busy, match=rf"another run writes .*fused\.zarr \(process {child.pid} on "), locked(out):
            pass
        assert str(child.pid) in holder(out)
        child.kill()
    assert is_lock(lock_path(out)), "kill -9 leaves the file"
    assert holder(out) is None, "but not the lock"
    with locked(out):
        assert f"process {os.getpid()} " in holder(out)
        with pytest.raises(Busy), locked(out):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_number_that_lives_again_holds_nothing(tmp_path):
    """Whatever the file says: without the system's lock it is nobody's."""
    out = tmp_path / "fused.zarr"
    with holding(out) as child:
        child.kill()
    text = lock_path(out).read_text()
    lock_path(out).write_text(text.replace(str(child.pid), str(os.getpid())))
    with locked(out):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_neither_holds_nor_removes_the_lock_of_its_parent(tmp_path):
    out = tmp_path / "fused.zarr"
    manager = locked(out)
    manager.__enter__()
    child = os.fork()
    if child == 0:
        manager.__exit__(None, None, None)
        os._exit(0 if lock_path(out).exists() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert holder(out) is not None
    manager.__exit__(None, None, None)
    assert holder(out) is None


def test_two_writes_of_one_file(tmp_path):
    path = tmp_path / "table.csv"
    with written_aside(path, overwrite=False) as aside:
        with pytest.raises(OutputError, match="another run writes"), written_aside(path, overwrite=True):
            pass
        aside.write_text("1")
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]


def test_a_start_that_is_refused_turns_nobody_away(tmp_path, monkeypatch):
    """It holds the lock for the instant in which it looks at what is there."""
    out = tmp_path / "fused.zarr"
    views = RegisteredViews([View(np.arange(64.0).reshape(4, 4, 4), name) for name in ("0", "90")])
    with ExitStack() as refused:
        refused.enter_context(locked(out))
        monkeypatch.setattr("napari_mvfusion.system.locks.time.sleep", lambda _: refused.close())
        assert fuse(views, Average(), out=out).path == out


STARTED = """
import sys
sys.path.insert(0, {here!r})
from test_damage import DISK, made
from small_methods import Diffuse
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.engine.fusion import fuse
print("ready", flush=True)
sys.stdin.readline()
try:
    fuse(made(), Diffuse(iterations=4), out=sys.argv[1], device="cpu", **DISK, **eval(sys.argv[2]))
except MVFusionError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["{}", "{'overwrite': True}", "{'resume': True, 'overwrite': True}"])
def test_three_simultaneous_starts(tmp_path, how):
    """Whoever comes first works; whoever comes while it does says so; whoever comes after finds what is there."""
    out = tmp_path / "fused.zarr"
    here = Path(__file__).parent
    script = textwrap.dedent(STARTED).format(here=str(here))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(here.parent)])}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(out), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate()[1] for child in children]
    codes = [child.returncode for child in children]
    assert 0 in codes
    for code, words in zip(codes, said, strict=True):
        assert code in (0, 3)
        assert (code == 0) == (words == "")
        assert len(words.strip().splitlines()) <= 1
        assert code == 0 or "another run writes" in words or "exists already" in words
    alone = tmp_path / "alone.zarr"
    one = subprocess.run(
        [sys.executable, "-c", script, str(alone), "{}"], input="go\n", text=True, env=environment, check=False
    )
    assert one.returncode == 0
    assert (open_output(out)[:] == open_output(alone)[:]).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        name + ending for name in ("fused.zarr", "alone.zarr") for ending in ("", ".recipe.json")
    }


def test_a_run_beside_one_that_is_stopped_leaves_it_alone(tmp_path):
    """Resume and overwrite beside a live run neither take over nor discard what is not theirs."""
    out = tmp_path / "fused.zarr"
    with holding(out) as child:
        child.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGSTOP)
        try:
            with pytest.raises(Busy, match=f"process {child.pid}"), locked(out):
                pass
        finally:
            child.kill()
