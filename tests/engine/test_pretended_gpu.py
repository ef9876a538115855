"""All methods on a GPU that is none: nothing may be left on the CPU, and what comes out is what the CPU gives."""

import numpy as np
import pytest
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.iteration_choice import Trial
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.simulation import light_sheet_psf
from pretended_gpu import pretended_gpu

pytestmark = pytest.mark.usefixtures("one_thread")

ANGLES = (0.0, 90.0, 180.0, 270.0)
CPU = torch.device("cpu")
PARAMETERS = {name: {} for name in METHODS} | {"ebmd": {"iterations": 3}}


def views_of(side: int, *, partly: bool) -> RegisteredViews:
    """Views of a ball that dims along z; of one of them a part is missing, and another counts less and less."""
    rng = np.random.default_rng(0)
    glow = 20 + 300 * np.prod(np.meshgrid(*(np.hanning(side),) * 3, indexing="ij"), axis=0)
    dim = np.linspace(1, 0.6, side, dtype=np.float32)[:, None, None] * np.ones((side,) * 3, np.float32)
    mask = np.ones((side,) * 3, bool)
    mask[: side // 3] = not partly
    return RegisteredViews(
        View(
            rng.poisson(glow * dim).astype(np.uint16),
            f"{angle:g}",
            angle=angle,
            psf=light_sheet_psf(angle, axial_fwhm=4, lateral_fwhm=2, shape=(9, 9, 9)),
            mask=mask if angle == 90 else None,
            trust=dim if partly and angle == 180 else None,
            transmission=dim,
        )
        for angle in ANGLES
    )


def fused_on(device: torch.device, views: RegisteredViews, name: str, parameters: dict) -> np.ndarray:
    bound = drain(make_method(name, **parameters).prepare(views, device))
    *_, last = stage_results(bound, views, ViewReader(views, device, keep=True, whole=True), lambda: False)
    return last.values.cpu().numpy()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("partly", [False, True], ids=["whole views", "a part missing"])
@pytest.mark.parametrize("attenuation", ["none", "given"])
def test_no_tensor_is_left_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, name: str, partly: bool, attenuation: str
) -> None:
    views = views_of(24, partly=partly)
    parameters = PARAMETERS[name] | ({} if name == "generator" else {"attenuation": attenuation})
    expected = fused_on(CPU, views, name, parameters)
    with pretended_gpu(monkeypatch) as gpu:
        found = fused_on(gpu, views, name, parameters)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.ptp(expected))


def test_tensors_of_both_devices_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests here rely on."""
    here = torch.arange(3.0)
    with pretended_gpu(monkeypatch) as gpu:
        there = here.to(gpu)
        assert (2 * there + torch.ones(3, device=gpu)).tolist() == [1, 3, 5]
        with pytest.raises(RuntimeError, match="tensors on both devices"):
            there + here
        with pytest.raises(RuntimeError):
            there.numpy()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "generator"])
def test_previews_leave_none_on_the_cpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    views, box = views_of(32, partly=True), Box((6, 4, 8), (26, 28, 30))
    method = make_method(name, **PARAMETERS[name])
    *_, expected = Previewer(views, CPU).run(method, box)
    with pretended_gpu(monkeypatch) as gpu:
        previewer = Previewer(views, gpu)
        steps = [*previewer.run(method, box), *previewer.run(method, box)]
    for step in steps:
        if step.final:
            np.testing.assert_allclose(step.values, expected.values, rtol=0, atol=1e-4 * np.ptp(expected.values))


def test_the_trial_of_iterations_leaves_none_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    views = views_of(24, partly=True)
    views.statistics()
    method = make_method("ebmd")

    def shares(device: torch.device) -> list[float]:
        found = Trial(views, method, device).structure_shares(lambda: False)
        return [share for _, share in zip(range(4), found, strict=False)]

    expected = shares(CPU)
    with pretended_gpu(monkeypatch) as gpu:
        np.testing.assert_allclose(shares(gpu), expected, atol=1e-3)
