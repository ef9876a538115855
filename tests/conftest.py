"""Fixtures that many tests share: measured PSFs, random numbers, and the number of threads."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_mvfusion.system.unforeseen import LOGS_VARIABLE, log_file

DATA_VARIABLE = "MVFUSION_TEST_DATA"
WHOLE_WAY = ("faults", "test_end_to_end.py")
MEASURED = {"test_data", "quad_psfs", "two_view_psfs"}
NO_SCREEN = "no screen is at hand: run tests of windows as make test does, with scripts/with-display.sh"


def pytest_collection_modifyitems(items):
    """Mark tests by what they need: a window, training, or long; those of windows are skipped where there is no screen."""
    on_linux = sys.platform.startswith("linux")
    named = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    has_screen = not on_linux or any(os.environ.get(name) for name in named)
    begun = set()
    for item in items:
        if _is_long(item, begun):
            item.add_marker("long")
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU here"))
        place = item.path.relative_to(Path(__file__).parent)
        if place.parts[0] == "gui":
            item.add_marker("window")
            if not has_screen:
                item.add_marker(pytest.mark.skip(reason=NO_SCREEN))
        elif "training" in place.parts[0] or "pretrained" in place.name:
            item.add_marker("training")


def _is_long(item, begun):
    """Whether a test is more than a first look: another case of one that has begun, measured PSFs, or the whole way."""
    test = item.path, item.cls, getattr(item, "originalname", item.name)
    again = test in begun
    begun.add(test)
    place = item.path.relative_to(Path(__file__).parent)
    return again or place.parts[0] in WHOLE_WAY or not MEASURED.isdisjoint(item.fixturenames)


@pytest.fixture(autouse=True)
def _two_threads():
    """Every test begins with two threads, whatever an earlier one has set."""
    torch.set_num_threads(2)


@pytest.fixture(scope="session", autouse=True)
def _logs_of_tests(tmp_path_factory):
    """What the last net catches, here and in the processes that tests start, is logged apart from the user's own log."""
    before = os.environ.get(LOGS_VARIABLE)
    os.environ[LOGS_VARIABLE] = str(tmp_path_factory.mktemp("logs"))
    yield
    if before is None:
        del os.environ[LOGS_VARIABLE]
    else:
        os.environ[LOGS_VARIABLE] = before


@pytest.fixture(autouse=True)
def unforeseen_log(_logs_of_tests):
    """Fail a test whose errors nobody foresaw, however well they were told; who provokes one removes this file."""
    path = log_file()
    yield path
    if path.exists():
        text = path.read_text(encoding="utf-8")
        path.unlink()
        pytest.fail(f"the last net was used:\n{text}")


@pytest.fixture
def one_thread():
    """One thread, as threads that wait for each other make small networks slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng():
    return np.random.default_rng(20141)


@pytest.fixture(scope="session")
def test_data():
    """Folder of the measured PSFs; a stranger who has none skips these tests, continuous integration may not."""
    name = os.environ.get(DATA_VARIABLE)
    folder = None if name is None else Path(name)
    if folder is not None and (folder / "psf").is_dir():
        return folder
    reason = f"measured PSFs are not at hand: set {DATA_VARIABLE} to the folder that holds psf/"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _psfs(folder):
    return {
        int(path.stem.removeprefix("psf_")): tifffile.imread(path).astype(np.float32)
        for path in sorted(folder.glob("psf_*.tif"))
    }


@pytest.fixture(scope="session")
def quad_psfs(test_data):
    """Angle to measured PSF, 51^3, of the four-view embryo."""
    return _psfs(test_data / "psf" / "quad_view")


@pytest.fixture(scope="session")
def two_view_psfs(test_data):
    """Angle to measured PSF as it was saved (not normalised), 51 x 31 x 31, of the two-view set."""
    return _psfs(test_data / "psf" / "two_view")
