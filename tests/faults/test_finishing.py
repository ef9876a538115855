"""Every prefix of a run's last steps can be finished, and none loses what was there or joins what does not belong."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest

from faults.killing import DISK_FULL, KILLED, in_child
from napari_mvfusion.data.events import Finished
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.opening import read_recipe
from napari_mvfusion.methods import make_method

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

PART = "last steps, killed before each"
# Steps up to the line of the journal that says what is to be placed: the recipe, the line.
AGREED = 2
SHAPE = (20, 18, 22)


def made():
    rng = np.random.default_rng(3)
    psf = np.zeros((3, 3, 3), np.float32)
    psf[1, 1] = [0.2, 0.6, 0.2]
    return RegisteredViews(
        [View(rng.random(SHAPE, np.float32) + 1, f"v{i}", angle=90.0 * i, psf=psf) for i in range(2)], Grid(SHAPE)
    )


def run(out, method, **how):
    *_, event = fuse_events(made(), method, out=out, device="cpu", **how)
    assert isinstance(event, Finished)
    return event.fused


def voxels(path):
    return np.asarray(open_output(path)[:])


class Case:
    """An output, what stands there before, and what a run makes of it."""

    def __init__(self, folder, ending, replaces, method):
        self.folder = folder
        self.out = folder / f"fused.{ending}"
        self.method = make_method(method, **({"iterations": 2} if method == "ebmd" else {}))
        self.new = np.asarray(fuse(made(), self.method, device="cpu").data)
        self.old = None
        self.how = {"overwrite": True} if replaces else {}
        if replaces:
            self.old = fuse(made(), make_method("cbif"), out=self.out, device="cpu")
            self.old_voxels = voxels(self.out)
            self.old_recipe = json.loads(recipe_path(self.out).read_text())
        self.before = folder.with_name("before")
        shutil.copytree(folder, self.before)

    def restore(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)

    def work(self):
        run(self.out, self.method, **self.how)

    def check_nothing_is_lost_or_mixed(self):
        """What lies there now, whenever the run ended."""
        recipe = json.loads(recipe_path(self.out).read_text()) if recipe_path(self.out).exists() else None
        if self.out.exists():
            there = voxels(self.out)
            if self.old is not None and np.array_equal(there, self.old_voxels):
                assert recipe in (None, self.old_recipe)
            else:
                assert np.array_equal(there, self.new)
                assert recipe in (None, read_recipe(self.out))
        elif self.old is not None:
            assert np.array_equal(voxels(self._kept()), self.old_voxels)

    def _kept(self):
        """Under the name that its format is opened by."""
        kept = self.folder.with_name(f"kept{self.out.suffix}")
        if kept.exists():
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        source = partial_folder(self.out) / "replaced"
        shutil.copytree(source, kept) if source.is_dir() else shutil.copy(source, kept)
        return kept

    def check_finished(self):
        assert np.array_equal(voxels(self.out), self.new)
        recipe = json.loads(recipe_path(self.out).read_text())
        assert recipe == read_recipe(self.out)
        assert recipe["method"]["name"] == self.method.name
        assert sorted(path.name for path in self.folder.iterdir()) == [self.out.name, recipe_path(self.out).name]


def ways(*parameters, sample):
    """All combinations; the sample is tried in each run of the tests, the others in the campaign."""
    every = itertools.product(*parameters)
    return [pytest.param(*way, marks=[] if way == sample else [pytest.mark.slow]) for way in every]


@pytest.mark.parametrize(
    ("ending", "replaces", "method"),
    ways(["zarr", "tif", "h5", "bdv"], [False, True], ["average", "ebmd"], sample=("tif", True, "average")),
)
def test_every_prefix_can_be_finished(tmp_path, campaign, ending, replaces, method):
    folder = tmp_path / "here" / "place"
    folder.mkdir(parents=True)
    case = Case(folder, ending, replaces, method)
    # From the recipe on, every step; the steps that make the result are tried elsewhere, at random.
    code, steps, *_ = in_child(case.work, folder=folder, since="recipe.json")
    assert code == 0
    assert steps > 6
    for at in range(1, steps + 1):
        case.restore()
        assert in_child(case.work, folder=folder, at=at, since="recipe.json")[:2] == (KILLED, at)
        case.check_nothing_is_lost_or_mixed()
        left = folder.with_name("left")
        shutil.copytree(folder, left)
        for again in ({"resume": True, **case.how}, {"resume": True}, {"overwrite": True}):
            shutil.rmtree(folder)
            shutil.copytree(left, folder)
            if replaces and again == {"resume": True} and at <= AGREED:
                # Nobody has noted yet that the old one may be replaced.
                with pytest.raises(OutputError, match="exists already"):
                    run(case.out, case.method, **again)
                continue
            run(case.out, case.method, **again)
            case.check_finished()
        shutil.rmtree(left)
        campaign.cases += 1
    campaign.settle()


@pytest.mark.parametrize(
    ("ending", "replaces"), ways(["zarr", "tif", "h5", "bdv"], [False, True], sample=("zarr", True))
)
def test_a_step_that_fails_leaves_what_was_there_and_can_be_finished(tmp_path, campaign, ending, replaces):
    folder = tmp_path / "here" / "place"
    folder.mkdir(parents=True)
    case = Case(folder, ending, replaces, "average")
    _, steps, *_ = in_child(case.work, folder=folder, since="recipe.json")
    for at in range(1, steps + 1):
        case.restore()
        code, *_ = in_child(case.work, folder=folder, at=at, since="recipe.json", fail_with=DISK_FULL)
        case.check_nothing_is_lost_or_mixed()
        if replaces:
            assert case.out.exists(), "a failure, unlike a kill, can put back what was moved"
        # A failure to remove what nobody needs any more is none of the run.
        if code != 0 or len(list(folder.iterdir())) > len({case.out, recipe_path(case.out)}):
            run(case.out, case.method, resume=True, **case.how)
        case.check_finished()
        campaign.cases += 1
    campaign.part = "last steps, failed at each"
    campaign.settle()


@pytest.mark.parametrize("ending", ["zarr", "tif", "h5", "bdv"])
def test_another_run_is_not_taken_for_the_one_that_was_finished(tmp_path, ending):
    folder = tmp_path / "here" / "place"
    folder.mkdir(parents=True)
    case = Case(folder, ending, False, "average")
    case.work()
    with pytest.raises(OutputError, match="exists already and was made otherwise"):
        run(case.out, make_method("cbif"), resume=True)
    case.check_finished()
