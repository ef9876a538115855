"""Runs of `mvfusion fuse` that faults are put into: four methods, all formats, over an older result or none."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from faults.cases import GREY, psf_pixels
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.engine.planning import LIBRARY_BYTES
from small_models import SMALL, save

SHAPE = (68, 14, 70)
ENDINGS = ("zarr", "tif", "h5")
# With so little memory the estimate of EBMD lies on disk.
METHODS = {
    "average": [],
    "cbif": [],
    "ebmd": ["--iterations", "2", "--memory", str(LIBRARY_BYTES + 1_000_000)],
    "generator": ["--model", "net"],
}


class Fusing:
    """One way to fuse: its command, what it gives undisturbed, and what lay there before."""

    def __init__(self, campaign, method, ending, *, replaces):
        self.campaign = campaign
        self.place = campaign.place
        self.out = self.place / f"fused.{ending}"
        self.old = None
        views = self.place.with_name("views")
        if not views.exists():
            write_views(views)
            save(self.place.with_name("models"), "net", SMALL)
        common = ["fuse", str(views), "-o", str(self.out), "-q", "--tile", "64", "--device", "cpu", "--method"]
        self.arguments = [*common, method, *METHODS[method]]
        shutil.rmtree(self.place)
        self.place.mkdir()
        whole = campaign.run(self.arguments)
        assert whole.code == 0, whole.err
        self.steps, self.seconds = whole.ended.steps, whole.ended.seconds
        self.new = voxels(self.out)
        if replaces:
            tifffile.imwrite(self.place / "bystander.tif", np.arange(24, dtype=np.uint16).reshape(2, 3, 4), **GREY)
            self.empty()
            other = "cbif" if method == "average" else "average"
            old = campaign.run([*common, other])
            assert old.code == 0, old.err
            self.old = voxels(self.out)
            self.arguments.append("--overwrite")
        else:
            self.empty()
        self._before = self.place.with_name("before")
        shutil.rmtree(self._before, ignore_errors=True)
        shutil.copytree(self.place, self._before)

    def empty(self):
        """Remove the result."""
        for path in (self.out, recipe_path(self.out)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def restore(self):
        """Put the place into the state before the run."""
        shutil.rmtree(self.place)
        shutil.copytree(self._before, self.place)

    def lost(self):
        """What is wrong with what lies there after a run that did not come to its end."""
        if self.out.exists():
            there = voxels(self.out)
            known = [self.new, *([] if self.old is None else [self.old])]
            return (
                [] if any(np.array_equal(there, one) for one in known) else ["what lies there is neither old nor new"]
            )
        if self.old is None:
            return []
        source = partial_folder(self.out) / "replaced"
        kept = self.place.with_name(f"kept{self.out.suffix}")
        shutil.rmtree(kept, ignore_errors=True)
        if not source.exists():
            return ["the old volume is lost"]
        shutil.copytree(source, kept) if source.is_dir() else shutil.copy(source, kept)
        return [] if np.array_equal(voxels(kept), self.old) else ["the old volume is changed"]

    def unfinished(self):
        """What is wrong after a run that says it is done."""
        if not self.out.exists():
            return ["there is no result"]
        found = [] if np.array_equal(voxels(self.out), self.new) else ["the volume differs"]
        expected = {self.out.name, recipe_path(self.out).name, *(path.name for path in self._before.iterdir())}
        there = {path.name for path in self.place.iterdir()}
        if there != expected:
            found.append(f"left or lost: {sorted(there ^ expected)}")
        return found

    def steps_to_try(self, count, seed):
        """Some of the steps, each at most once."""
        return random.Random(seed).sample(range(1, self.steps + 1), min(count, self.steps))


def write_views(folder: Path):
    """Two views of a few tiles and their PSFs."""
    folder.mkdir()
    rng = np.random.default_rng(8)
    for angle in (0, 90):
        tifffile.imwrite(folder / f"view_{angle}.tif", rng.integers(100, 4000, SHAPE).astype(np.uint16), **GREY)
        tifffile.imwrite(folder / f"psf_{angle}.tif", psf_pixels(), **GREY)


def voxels(path):
    """Of a result."""
    return np.asarray(open_output(path)[:])


def of_all(count, sample):
    """Parameters for every method and format: a few in each run of the tests, `count` in the campaign.

    Parameters
    ----------
    count : of cases for each method and format in the campaign
    sample : method and format, to how many cases in each run of the tests
    """
    found = []
    for method in METHODS:
        for ending in ENDINGS:
            few = sample.get((method, ending), 0)
            if few:
                found.append(pytest.param(method, ending, few, id=f"{method} {ending}, sample"))
            found.append(pytest.param(method, ending, count, id=f"{method} {ending}", marks=pytest.mark.slow))
    return found
