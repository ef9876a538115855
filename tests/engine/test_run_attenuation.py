"""What residuals take for the attenuation of views: as the run that made the volume, by its recipe."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_mvfusion as mv
from command_line import run
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.saved_transmissions import save_transmissions
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.metric import Measured
from napari_mvfusion.measures.residuals import reprojection, residual_map
from napari_mvfusion.methods import EBMD, Average, JointWiener, LearnedFusion
from napari_mvfusion.simulation import sample

METHOD = JointWiener(iterations=4)


@pytest.fixture(scope="module")
def dimmed():
    return sample("nuclei", 32, attenuation=0.05, snr=50).views


def none(method):
    return method.model_copy(update={"attenuation": "none"})


def residuals(fused, views):
    measured = Measured(fused.data, views=views, allowing=lambda there: attenuation_of_run(fused.recipe, there))
    return measured.attenuation.words, np.array([one.rms for one in measured.residuals])


def test_the_residual_of_a_dimmed_specimen_falls_with_what_its_run_used(dimmed):
    words, estimated = residuals(mv.fuse(dimmed, METHOD), dimmed)
    assert words == "estimated, as in its run"
    words, plain = residuals(mv.fuse(dimmed, none(METHOD)), dimmed)
    assert words == "none, as in its run"
    assert (estimated < 0.9 * plain).all(), (estimated, plain)


def test_it_is_estimated_again_as_it_was(dimmed):
    fused = mv.fuse(dimmed, METHOD)
    used = attenuation_of_run(fused.recipe, RegisteredViews(dimmed.views, dimmed.grid))
    np.testing.assert_array_equal(used.transmission.values, find_transmission(dimmed).values)
    second = used.of([dimmed.names[1]])
    np.testing.assert_array_equal(second.values, find_transmission(dimmed).values[1:])
    found = reprojection(fused.data, dimmed, transmission=used.transmission)
    (one,) = reprojection(fused.data, dimmed.select([dimmed.names[1]]), transmission=second)
    assert one.rms == pytest.approx(found[1].rms)
    assert 0.1 < one.transmission.depth < 0.9
    seen, unseen = (residual_map(fused.data, dimmed, each) for each in (one, replace(one, transmission=None)))
    assert np.square(seen).mean() < 0.9 * np.square(unseen).mean()
    changed = [replace(view, data=view.data * np.float32(1.5)) for view in dimmed.views]
    again = attenuation_of_run(fused.recipe, RegisteredViews(changed, dimmed.grid))
    assert again.words == "estimated, as in its run, though views have changed since"


def test_where_no_light_is_lost_none_was_found():
    views = sample("nuclei", 32, attenuation=0.0, snr=50).views
    fused = mv.fuse(views, METHOD)
    used = attenuation_of_run(fused.recipe, views)
    assert used.words == "estimated, as in its run: none was found"
    assert not used.fitted
    assert [one.rms for one in reprojection(fused.data, views, attenuation=False)] == residuals(fused, views)[
        1
    ].tolist()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Average(), "none, as in its run"),
        (EBMD(iterations=1), "estimated, as in its run"),
        (LearnedFusion(), "estimated, as in its run"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_method_says_what_it_takes(dimmed, method, words):
    assert attenuation_of_run(mv.fuse(dimmed, method).recipe, dimmed).words == words


def test_what_cannot_be_known_is_fitted_and_said(dimmed):
    fused = mv.fuse(dimmed, METHOD)
    recipe = json.loads(json.dumps(fused.recipe))
    assert attenuation_of_run(None, dimmed).words == "fitted, as no recipe says what the volume was fused with"
    for changed, views, words in (
        (recipe, dimmed.select(["0"]), "used the views 0, 180, and here are 0"),
        (recipe | {"views": 3}, dimmed, "its recipe cannot be read"),
        (recipe | {"method": {"name": "mine", "parameters": {}}}, dimmed, "no method 'mine'"),
    ):
        used = attenuation_of_run(changed, views)
        assert used.fitted
        assert words in used.words
    measured = Measured(fused.data, views=dimmed)
    assert measured.attenuation.fitted
    assert [one.rms for one in measured.residuals] == [one.rms for one in reprojection(fused.data, dimmed)]


@pytest.mark.long
def test_given_transmissions_are_taken_from_the_files_of_the_recipe(dimmed, tmp_path):
    write_views_folder(tmp_path / "views", dimmed, "a")
    files = save_transmissions(dimmed, tmp_path / "light")
    words = [word for name, file in files.items() for word in ("--transmission", f"{name}={file}")]
    out = tmp_path / "fused.tif"
    run("fuse", tmp_path / "views", "--method", "wiener", "--set", "attenuation=given", *words, "-o", out)
    told = json.loads(run("evaluate", out, "--views", tmp_path / "views", "--json").stdout)
    assert told["reprojection_attenuation"] == "given, as in its run"
    seen = attenuation_of_run(load_recipe(out).model_dump(mode="json"), dimmed)
    expected = find_transmission(dimmed).over(dimmed.grid.box, torch.device("cpu"))
    np.testing.assert_array_equal(seen.transmission.values, expected)
    fused, _ = open_volume(out)
    rms = [one.rms for one in reprojection(fused, dimmed, transmission=find_transmission(dimmed))]
    assert [one["rms"] for one in told["reprojection"]] == pytest.approx(rms, rel=1e-3)
    assert all(one["attenuation"] > 0.1 for one in told["reprojection"])
    told = json.loads(run("evaluate", out, "--views", tmp_path / "views", "--resolution", "--json").stdout)
    assert {"z", "y", "x"} < told["resolution"].keys()
    files["180"].rename(tmp_path / "away.tif")
    said = run("evaluate", out, "--views", tmp_path / "views").stdout
    assert "fitted, as what its run used is not known" in " ".join(said.split())
    (tmp_path / "light" / "transmission_0.tif").rename(files["180"])
    (tmp_path / "away.tif").rename(files["0"])
    told = json.loads(run("evaluate", out, "--views", tmp_path / "views", "--json").stdout)
    assert "changed since" in told["reprojection_attenuation"]
