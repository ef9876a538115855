"""How many iterations the views bear, against the truth, and runs that find it themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import warm_process
from napari_mvfusion.data.events import Cancelled, IterationDone, Noted, Prepared, Preparing
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.iteration_choice import LEAST_ITERATIONS, Trial, choose_iterations
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.planning import LIBRARY_BYTES
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.recipe import Recipe, load_recipe
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.engine.series import FuseJob, PartDone, SeriesPart, fuse_series
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD, make_method, method_of_recipe
from napari_mvfusion.simulation import PHANTOMS, light_sheet_psf, simulate
from napari_mvfusion.system import journal

CPU = torch.device("cpu")
ANGLES = (0, 90)
PSFS = [light_sheet_psf(angle, axial_fwhm=5, lateral_fwhm=2.0, shape=(11, 11, 11)) for angle in ANGLES]
PLENTY = 2**40
FINDING = "finding how many iterations the views bear"


def recorded(snr, size=32, seed=4):
    rng = np.random.default_rng(seed)
    made = simulate(PHANTOMS["embryo"](size, rng), ANGLES, PSFS, rng=rng, snr=snr, attenuation=0.0)
    drain(made.views.scan())
    return made


@pytest.fixture(scope="module")
def dim():
    return recorded(3.0)


@pytest.fixture(scope="module")
def dim_choice(dim):
    return drain(choose_iterations(dim.views, EBMD(), CPU, budget=PLENTY))


def test_it_stops_near_the_iteration_with_the_least_error(dim, dim_choice):
    bound = drain(EBMD().trial.prepare(dim.views, CPU))
    reader = ViewReader(dim.views, CPU, keep=True, whole=True)
    errors = [
        evaluate(step.values.numpy(), dim.truth).all.nrmse
        for step in stage_results(bound, dim.views, reader, lambda: False)
        if step.iteration
    ]
    assert LEAST_ITERATIONS <= dim_choice.number < len(errors)
    assert errors[dim_choice.number - 1] < 1.03 * min(errors)
    assert errors[-1] > 1.1 * min(errors), "so many as may be taken are too many here"
    assert dim_choice.because == "more would fit noise"


def test_more_light_bears_more_iterations(dim_choice):
    bright = drain(choose_iterations(recorded(30.0).views, EBMD(), CPU, budget=PLENTY))
    assert bright.number > 2 * dim_choice.number


def test_nothing_but_noise_bears_the_fewest():
    rng = np.random.default_rng(0)
    views = RegisteredViews(
        [
            View(rng.poisson(20, (24, 24, 24)).astype(np.float32), str(a), psf=psf)
            for a, psf in zip(ANGLES, PSFS, strict=True)
        ]
    )
    assert drain(choose_iterations(views, EBMD(), CPU, budget=PLENTY)).number == LEAST_ITERATIONS


def test_views_without_noise_bear_the_most(dim):
    statistics = tuple(replace(numbers, noise=0.0) for numbers in dim.views.statistics())
    views = dim.views.region(dim.views.grid.box, statistics)
    trial = Trial(views, EBMD(lambda_=0.1), CPU)
    shares = trial.structure_shares()
    assert [next(shares) for _ in range(5)] == pytest.approx([1] * 5)
    choice = drain(choose_iterations(views, EBMD(kernel="optimisation_2"), CPU, budget=PLENTY))
    assert choice.number == EBMD().trial.iterations
    assert choice.words.startswith(f"stops after {choice.number} iterations: the most that it may take")


def test_a_number_that_is_given_is_not_looked_for(dim):
    assert EBMD(iterations=3).trial is None
    events = list(fuse_events(dim.views, EBMD(iterations=3), device="cpu"))
    assert not [event for event in events if isinstance(event, Preparing) and event.label == FINDING]
    assert not {"iterations_asked", "iterations_because"} & set(events[-1].fused.recipe["run"])


def test_a_run_takes_what_it_finds_says_it_and_repeats_it(dim, dim_choice):
    events = list(fuse_events(dim.views, EBMD(), device="cpu"))
    fused = events[-1].fused
    assert [event.message for event in events if isinstance(event, Noted)] == [dim_choice.words]
    shares = [event.fraction for event in events if isinstance(event, Preparing) and event.label == FINDING]
    assert shares == sorted(shares)
    told = fuse(dim.views, EBMD(iterations=dim_choice.number), device="cpu")
    assert (fused.data == told.data).all()
    assert fused.recipe["method"] == told.recipe["method"]
    run = fused.recipe["run"]
    assert (run["iterations_asked"], run["iterations_because"]) == ("auto", dim_choice.because)
    assert run["iterations_done"] == dim_choice.number
    recipe = Recipe.model_validate(fused.recipe).method
    assert method_of_recipe(recipe.name, recipe.parameters) == EBMD(iterations=dim_choice.number)


def test_a_change_to_stop_at_ends_a_run_before(dim, dim_choice):
    whole = fuse(dim.views, EBMD(), device="cpu")
    limit = (whole.changes[1] + whole.changes[2]) / 2
    early = fuse(dim.views, EBMD(stop_at_change=limit), device="cpu")
    assert early.recipe["method"]["parameters"]["iterations"] == dim_choice.number
    assert early.recipe["run"]["iterations_done"] == len(early.changes) == 3


def left_after(iterations, views, method, out):
    done = []
    for event in fuse_events(views, method, out=out, device="cpu", cancel=lambda: len(done) == iterations):
        if isinstance(event, IterationDone):
            done.append(event)
    assert isinstance(event, Cancelled)


def test_a_resumed_run_takes_the_number_that_was_found(dim, dim_choice, tmp_path):
    out = tmp_path / "fused.zarr"
    left_after(2, dim.views, EBMD(), out)
    written = tmp_path / "fused.zarr.partial" / "journal.jsonl"
    entries, _ = journal.read(written)
    assert entries[0]["found"] == {"iterations": dim_choice.number, "because": dim_choice.because}
    # Another number than these views give anew.
    entries[0]["found"]["iterations"] = 5
    written.unlink()
    for entry in entries:
        journal.append(written, entry)
    events = list(fuse_events(dim.views, EBMD(), out=out, resume=True, device="cpu"))
    assert not [event for event in events if isinstance(event, Preparing) and event.label == FINDING]
    assert (np.asarray(events[-1].fused.data[:]) == fuse(dim.views, EBMD(iterations=5), device="cpu").data).all()
    assert load_recipe(out).method.parameters["iterations"] == 5
    # Nothing is left to do, whether the number is asked for or to be found.
    for method in (EBMD(), EBMD(iterations=5)):
        again = list(fuse_events(dim.views, method, out=out, resume=True, device="cpu"))
        assert again[-1].fused.made_before
        assert not [event for event in again if isinstance(event, Preparing) and event.label == FINDING]


def test_tiles_change_nothing_about_the_number(dim, dim_choice, tmp_path):
    whole = fuse(dim.views, EBMD(), device="cpu")
    tiled = fuse(dim.views, EBMD(), device="cpu", tile=(16, 32, 32))
    assert tiled.recipe["method"] == whole.recipe["method"]
    np.testing.assert_allclose(tiled.data, whole.data, rtol=1e-3, atol=1e-4 * whole.data.max())


def test_finding_can_be_cancelled_and_leaves_nothing(dim, tmp_path):
    events = []

    def enough():
        return sum(isinstance(event, Preparing) and event.label == FINDING for event in events) == 2

    for event in fuse_events(dim.views, EBMD(), out=tmp_path / "fused.zarr", device="cpu", cancel=enough):
        events.append(event)
    assert isinstance(events[-1], Cancelled)
    assert enough()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Interrupted):
        next(Trial(dim.views, EBMD(), CPU).verdicts(lambda: True))


def test_memory_of_the_trial_is_counted(dim):
    needed = Trial(dim.views, EBMD(), CPU).memory_bytes
    with pytest.raises(MemoryShortage, match=r"finding how many iterations .* say how many \(iterations\)"):
        fuse(dim.views, EBMD(), device="cpu", memory_bytes=needed - 1)
    assert needed > LIBRARY_BYTES
    told, found = (
        next(event for event in fuse_events(dim.views, method, device="cpu") if isinstance(event, Prepared))
        for method in (EBMD(iterations=3), EBMD())
    )
    assert found.memory_bound_bytes == max(told.memory_bound_bytes, needed)


PEAK = """
import json, sys, threading, time
import numpy as np, psutil, torch
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.iteration_choice import Trial, choose_iterations
from napari_mvfusion.methods import EBMD
from napari_mvfusion.simulation import light_sheet_psf
size, attenuation, trusted = (96,) * 3, sys.argv[1], sys.argv[2] == "True"
rng = np.random.default_rng(0)
light = 50 + 40 * np.sin(np.arange(size[2]) / 5)
views = RegisteredViews([
    View(
        rng.poisson(light, size).astype(np.float32),
        f"{angle:g}",
        angle=angle,
        psf=light_sheet_psf(angle, axial_fwhm=9, lateral_fwhm=4, shape=(51,) * 3),
        transmission=np.broadcast_to(np.float32(0.5 + angle / 1000), size),
        trust=np.broadcast_to(np.linspace(0.5, 1, size[2], dtype=np.float32), size) if trusted else None,
    )
    for angle in (0.0, 90.0, 180.0, 270.0)
])
drain(views.scan())
me = psutil.Process()
peak = base = me.memory_info().rss
def watch():
    global peak
    while True:
        peak = max(peak, me.memory_info().rss)
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
method = EBMD(attenuation=attenuation)
steps = choose_iterations(views, method, torch.device("cpu"), budget=2**40)
for _ in range(3):
    next(steps)
used = peak - base
steps.close()
print(json.dumps([used, Trial(views, method, torch.device("cpu")).memory_bytes]))
"""


@pytest.mark.long
@pytest.mark.parametrize(("attenuation", "trusted"), [("none", False), ("estimated", False), ("given", True)])
def test_the_trial_takes_no_more_memory_than_it_states(attenuation, trusted):
    done = warm_process.run(PEAK, attenuation, str(trusted))
    assert done.returncode == 0, done.stderr
    used, stated = json.loads(done.stdout.splitlines()[-1])
    assert 0 < used <= stated


def test_of_large_views_the_part_with_most_structure_is_tried(dim):
    small = np.stack([view.data for view in dim.views.views])
    wide = np.pad(small, ((0, 0), (0, 0), (0, 0), (70, 30)), constant_values=float(small.min()) + 1)
    views = RegisteredViews(
        [View(values, view.name, psf=view.psf) for values, view in zip(wide, dim.views.views, strict=True)]
    )
    drain(views.scan())
    trial = Trial(views, EBMD(), CPU)
    box = trial.box
    assert box.shape == (32, 32, 64)
    assert box.start[2] <= 76
    assert box.stop[2] >= 96
    assert trial.compared == Box((0, 0, 8), (32, 32, 56))


def test_a_preview_shows_as_many_iterations_as_the_run_and_remembers_how_many(dim, dim_choice):
    previewer = Previewer(dim.views, CPU)
    (*_, first), (*_, second) = (
        list(previewer.run(EBMD(), dim.views.grid.box, coarse_first=coarse)) for coarse in (True, False)
    )
    assert (first.values == second.values).all()
    (*_, told) = previewer.run(EBMD(iterations=dim_choice.number), dim.views.grid.box)
    assert (first.values == told.values).all()
    assert first.label == f"iteration {dim_choice.number}"
    assert f"iteration {dim_choice.number} of {dim_choice.number}" in second.label


def test_the_first_volume_of_a_series_decides_for_all(dim, dim_choice, tmp_path):
    bright = recorded(30.0)
    for resume, parts in ((False, 1), (True, 2)):
        job = FuseJob(
            tuple(
                SeriesPart((i,), views, tmp_path / f"{i}.tif")
                for i, views in enumerate((dim.views, bright.views)[:parts])
            ),
            (2,),
            EBMD(),
            "cpu",
            resume=resume,
        )
        done = [event.fused for event in fuse_series(job, lambda: False) if isinstance(event, PartDone)]
    assert [fused.recipe["method"]["parameters"]["iterations"] for fused in done] == [dim_choice.number] * 2
    assert all(fused.recipe["run"]["iterations_asked"] == "auto" for fused in done)


def test_both_halves_of_the_light_take_the_number_of_the_whole(dim, dim_choice):
    found = find_resolution(dim.views, EBMD(), device="cpu")
    told = find_resolution(dim.views, EBMD(iterations=dim_choice.number), device="cpu")
    assert [one.correlation.tolist() for one in found.axes] == [one.correlation.tolist() for one in told.axes]


def test_the_number_stands_on_the_command_line_and_in_text():
    assert make_method("ebmd", iterations="auto") == EBMD()
    assert make_method("ebmd", iterations="12").iterations == 12
    json.dumps(EBMD().model_dump(mode="json", by_alias=True))


@pytest.mark.cuda
def test_a_gpu_finds_the_same_number(dim, dim_choice):
    choice = drain(choose_iterations(dim.views, EBMD(), torch.device("cuda"), budget=PLENTY))
    assert choice.number == dim_choice.number
