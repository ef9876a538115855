"""The last net: whatever happens ends in one line, and what nobody foresaw is kept in a log file."""

import contextlib
import errno
import importlib
import io
import sys
from dataclasses import dataclass

import pytest

from napari_mvfusion.cli import main
from napari_mvfusion.errors import OutputError, is_out_of_memory
from napari_mvfusion.system.unforeseen import LOGS_VARIABLE, in_words, log_file, record


@dataclass(frozen=True)
class Done:
    code: int
    stderr: str


@pytest.fixture
def run_faulty(monkeypatch, tmp_path):
    """Run `mvfusion info FILE` with a mistake in the command."""

    def run(raised, *arguments):
        def faulty(source: str) -> None:
            exec(raised, {})

        monkeypatch.setattr(importlib.import_module("napari_mvfusion.cli.info"), "info", faulty)
        file = tmp_path / "a [raw] view.tif"
        file.touch()
        monkeypatch.setattr(sys, "argv", ["mvfusion", "info", str(file), *arguments])
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as end:
            main()
        return Done(end.value.code, stderr.getvalue())

    return run


def test_a_mistake_in_the_program_is_one_line_with_the_file_and_a_log(run_faulty, unforeseen_log):
    done = run_faulty("raise KeyError('z\\n[bold]')")
    assert done.code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: info of ")
    assert r"a [raw] view.tif: this should not have happened (KeyError: 'z\n[bold]')" in line
    assert str(unforeseen_log) in line
    kept = unforeseen_log.read_text()
    assert "Traceback (most recent call last)" in kept
    assert "a [raw] view.tif" in kept
    unforeseen_log.unlink()


def test_who_looks_for_the_mistake_gets_the_traceback(run_faulty, monkeypatch, unforeseen_log):
    with pytest.raises(KeyError):
        run_faulty("raise KeyError('z')", "--debug")
    monkeypatch.setenv("MVFUSION_TRACEBACK", "1")
    with pytest.raises(KeyError):
        run_faulty("raise KeyError('z')")
    assert not unforeseen_log.exists(), "the traceback is on the screen already"


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("import errno; raise OSError(errno.ENOMEM, 'Cannot allocate memory')", 4, "memory ran out"),
        ('raise RuntimeError("can\'t start new thread")', 4, "memory ran out"),
        ("raise MemoryError", 4, "memory ran out"),
        ("open('gone')", 2, "gone cannot be read or written (No such file or directory)"),
        ("open('n' * 5000)", 2, "cannot be read or written (File name too long)"),
    ],
)
def test_what_the_system_refuses_is_told_and_is_no_mistake(run_faulty, unforeseen_log, raised, code, words):
    done = run_faulty(raised)
    assert (done.code, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert words in done.stderr
    assert len(done.stderr) < 1500
    assert not unforeseen_log.exists()


def test_a_log_that_cannot_be_written_does_not_hide_the_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(LOGS_VARIABLE, str(tmp_path / "file" / "below"))
    told = in_words(KeyError("z"), doing="fuse", when_memory_ran_out="wait")
    assert told.message == "fuse: this should not have happened (KeyError: 'z'): please report it"


def test_the_log_does_not_grow_without_end(unforeseen_log):
    for _ in range(40):
        record(ValueError("x" * 50_000))
    old = log_file().with_suffix(".old.log")
    assert log_file().stat().st_size < 2**20 + 100_000
    assert old.is_file()
    old.unlink()
    unforeseen_log.unlink()


def test_our_own_errors_keep_their_words_and_codes():
    told = in_words(OutputError("no [room]"), when_memory_ran_out="wait")
    assert (told.message, told.exit_code, told.details) == ("no [room]", 3, "")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOMEM, "Cannot allocate memory"), RuntimeError("can't start new thread"), MemoryError()]
)
def test_every_way_of_running_out_of_memory_is_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "gone"), RuntimeError("shape mismatch"), KeyError("memory")])
def test_other_errors_are_no_shortage(error):
    assert not is_out_of_memory(error)


def test_a_message_is_never_longer_than_anybody_reads():
    told = in_words(OutputError(f"there is no '{'n' * 5000}': name a file"), when_memory_ran_out="wait")
    assert len(told.message) < 1600
    assert told.message.startswith("there is no 'nnn")
    assert told.message.endswith("nnn': name a file")
