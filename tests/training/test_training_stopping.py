"""Signals that end a training run: what was learned is kept, and the exit code says which signal it was."""

import json
import os
import signal
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

import warm_process
from napari_mvfusion.training import TrainConfig
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.outcome import TrainingOutcome
from napari_mvfusion.training.process import TrainingProcess
from napari_mvfusion.training.state import read_header
from napari_mvfusion.training.training_events import StepDone
from patience import PATIENCE_SECONDS as PATIENCE
from small_training import OWN, SCENES, own_views

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

# The command as it is, with a run that would go on for days and has saved nothing when the signal comes.
ENDLESS = SCENES | {"steps": 1_000_000, "schedule": "constant", "checkpoint_seconds": 3600, "validate_every": 1_000_000}


COMMAND = "from napari_mvfusion.cli import main; main()"


def heed_hangups():
    """Whoever starts the tests may have had hangups ignored, as nohup does, and children inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def started(folder, *, workers, ignored=()):
    """`mvfusion train`, at work: its third step is done."""
    config = folder / "training.yaml"
    config.write_text(json.dumps(ENDLESS))
    out = folder / "mine.safetensors"
    options = ["-o", out, "--device", "cpu", "--threads", 1, "--set", f"scenes.workers={workers}"]
    with warm_process.start(COMMAND, "train", "--config", config, *options, ignored=ignored) as process:
        log = folder / "mine.training" / "log.csv"
        end = time.monotonic() + PATIENCE
        while not (log.exists() and "\n3,total" in log.read_text()):
            assert time.monotonic() < end
            assert process.poll() is None, process.said()
            time.sleep(0.05)
        yield process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_a_signal_before_the_first_checkpoint_keeps_what_was_learned(tmp_path, number, code):
    with started(tmp_path, workers=1) as process:
        assert not (tmp_path / "mine.training" / "state.safetensors").exists()
        # All processes of the run get it, as from a terminal or a batch system.
        os.killpg(process.pid, number)
        assert process.wait() == code
        said = process.said()
    assert "go on with --resume" in said
    assert "Traceback" not in said
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step >= 3


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path):
    with started(tmp_path, workers=0, ignored=(signal.SIGHUP,)) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        said = process.said()
    assert "SIGHUP" not in said


def test_a_terminal_that_is_closed_costs_nothing(tmp_path):
    pty = pytest.importorskip("pty")
    config = tmp_path / "training.yaml"
    config.write_text(json.dumps(ENDLESS))
    pid, terminal = pty.fork()
    if pid == 0:
        options = [
            "--config",
            str(config),
            "-o",
            str(tmp_path / "mine.safetensors"),
            "--device",
            "cpu",
            "--threads",
            "1",
        ]
        heed_hangups()
        os.execv(sys.executable, [sys.executable, "-c", COMMAND, "train", *options])
    log = tmp_path / "mine.training" / "log.csv"
    end = time.monotonic() + PATIENCE
    os.set_blocking(terminal, False)
    while not (log.exists() and "\n3,total" in log.read_text()):
        assert time.monotonic() < end
        try:
            os.read(terminal, 2**16)
        except BlockingIOError:
            time.sleep(0.05)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step >= 3


def test_the_process_behind_the_panel_keeps_what_was_learned(tmp_path):
    config = TrainConfig.model_validate(
        OWN | {"steps": 1_000_000, "checkpoint_seconds": 3600, "validate_every": 1_000_000}
    )
    data = (own_views()[0],)
    process = TrainingProcess(TrainJob(config, str(tmp_path / "mine.safetensors"), data=data, device="cpu", threads=1))
    others = set(psutil.Process().children())
    process.start()
    end = time.monotonic() + PATIENCE
    signalled = False
    ended = None
    while ended is None:
        assert time.monotonic() < end
        for event in process.events(timeout=0.1):
            if isinstance(event, StepDone) and event.step >= 3 and not signalled:
                signalled = True
                (child,) = set(psutil.Process().children()) - others
                child.send_signal(signal.SIGTERM)
            if isinstance(event, TrainingOutcome):
                ended = event
    assert ended.how == "stopped"
    assert "SIGTERM" in ended.words
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step >= 3
