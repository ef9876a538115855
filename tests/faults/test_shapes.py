"""Volumes of odd shapes, types and ranges of numbers, from files to files: the right result, or one line why not."""

import random

import numpy as np
import pytest
import tifffile

from faults.cases import GREY, psf_pixels
from faults.fusing import voxels
from small_models import SMALL, save

PART = "shapes and ranges"
CASES = 60
BATCH = 10
SAMPLE = 3
SIDES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65)
TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64)
METHODS = {"average": [], "cbif": [], "ebmd": ["--iterations", "2"], "generator": ["--model", "net"]}


def batches():
    rest = range(SAMPLE, CASES, BATCH)
    return [
        pytest.param(range(SAMPLE), id="sample"),
        *(pytest.param(range(n, min(CASES, n + BATCH)), id=f"from {n}", marks=pytest.mark.slow) for n in rest),
    ]


def scaled(values, rng, dtype):
    """Values of 10 to 100 or so, brought into a range that the type can hold."""
    if np.issubdtype(dtype, np.integer):
        most = np.iinfo(dtype).max
        return (values * rng.choice([1, most // 100])).astype(dtype)
    exponents = {np.float16: (-2, 2), np.float32: (-30, 30), np.float64: (-30, 30)}[dtype]
    return (values.astype(np.float64) * 10.0 ** rng.randint(*exponents)).astype(dtype)


@pytest.mark.parametrize("seeds", batches())
def test_odd_volumes_fuse_to_what_they_hold_or_are_refused(campaign, seeds):
    save(campaign.place.with_name("models"), "net", SMALL)
    for seed in seeds:
        rng = random.Random(seed)
        folder = campaign.place / str(seed)
        folder.mkdir()
        shape = tuple(rng.choice(SIDES) for _ in range(3))
        dtype = rng.choice(TYPES)
        random_state = np.random.default_rng(seed)
        state = rng.getstate()
        views = []
        for angle in (0, 90):
            rng.setstate(state)  # one range for both
            values = scaled(random_state.poisson(40, shape) + 10, rng, dtype)
            tifffile.imwrite(folder / f"view_{angle}.tif", values, metadata={"axes": "ZYX"}, **GREY)
            tifffile.imwrite(folder / f"psf_{angle}.tif", fitted(shape), metadata={"axes": "ZYX"}, **GREY)
            views.append(values)
        mean = np.mean([view.astype(np.float64) for view in views], axis=0)
        for method, more in METHODS.items():
            out = folder / f"{method}.{rng.choice(['zarr', 'tif'])}"
            outcome = campaign.run(["fuse", str(folder), "-o", str(out), "-q", "--method", method, *more])
            also = []
            if outcome.code == 0:
                fused = voxels(out).astype(np.float64)
                if fused.shape != shape or not np.isfinite(fused).all():
                    also.append(f"shape {fused.shape}, finite {np.isfinite(fused).mean():.3f}")
                elif method == "average" and not np.allclose(fused, mean, rtol=1e-5, atol=0):
                    also.append(f"average is off by {np.abs(fused / mean - 1).max():.3g}")
                elif method != "generator" and not 0.7 < fused.mean() / mean.mean() < 1.4:
                    also.append(f"light: {fused.mean() / mean.mean():.3g} of that of the views")
            case = f"{seed}: {shape} {np.dtype(dtype)} {views[0].max():.3g} {method}"
            campaign.judge(case, outcome, (str(folder), "view '", "PSF"), also)
        campaign.cases += 1
    campaign.settle()


def fitted(shape):
    """A PSF that is no larger than the views."""
    psf = psf_pixels()
    for axis, n in enumerate(shape):
        size = psf.shape[axis]
        margin = max(0, (size - (n if n % 2 else n - 1)) // 2)
        psf = psf.take(range(margin, size - margin), axis)
    return psf
