"""The FFT blur against convolution in float64 by SciPy, its adjoint, and the slabs that EBMD runs on."""

import threading

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import (
    Blur,
    Link,
    SlabConvolver,
    TransferCache,
    WholeConvolver,
    convolver_for,
    crop,
    good_size,
    lay_out,
    radius_of,
    transfer_bytes,
    transfer_function,
)
from napari_mvfusion.imaging.threads import share

CPU = torch.device("cpu")
SCIPY_BORDER = {"mirror": "mirror", "zero": "constant"}

# Volume and kernel sizes; in the later ones the mirror has to turn round more than once.
CASES = [
    ((20, 18, 22), (5, 7, 9)),
    ((9, 14, 11), (1, 3, 1)),
    ((4, 5, 3), (9, 7, 13)),
    ((1, 6, 2), (3, 5, 9)),
]


def random_psf(rng, shape):
    psf = rng.random(shape)
    return psf / psf.sum()


def reference(volume, psf, border):
    return ndimage.convolve(volume.astype(np.float64), psf, mode=SCIPY_BORDER[border])


def pad_and_convolve(volume, psf, border):
    """A second oracle, quick with large PSFs: numpy's padding and SciPy's float64 FFT."""
    radius = [(n // 2, n // 2) for n in psf.shape]
    padded = np.pad(volume.astype(np.float64), radius, mode="reflect" if border == "mirror" else "constant")
    return signal.fftconvolve(padded, psf.astype(np.float64), mode="valid")


def convolve_with(convolver, volume, psf, layout):
    transfer = transfer_function(psf, layout.sizes, halved=convolver.halved, device=CPU)
    return convolver.run(torch.from_numpy(volume), [Link(layout, transfer, lambda rows, _: rows)]).numpy()


@pytest.mark.parametrize("border", ["mirror", "zero"])
@pytest.mark.parametrize(("shape", "kernel"), CASES)
def test_blur_is_convolution(rng, shape, kernel, border):
    psfs = [random_psf(rng, kernel), random_psf(rng, kernel[::-1])]
    volume = rng.random(shape, np.float32)
    blurred = Blur(psfs, shape, border)(torch.from_numpy(volume))
    assert blurred.shape == (2, *shape)
    for view, psf in zip(blurred.numpy(), psfs, strict=True):
        np.testing.assert_allclose(view, reference(volume, psf, border), atol=5e-7)


@pytest.mark.parametrize("border", ["mirror", "zero"])
@pytest.mark.parametrize("convolver", [SlabConvolver(), WholeConvolver()], ids=["slabs", "whole"])
@pytest.mark.parametrize(("shape", "kernel"), CASES)
def test_convolvers_are_convolution(rng, shape, kernel, convolver, border):
    psf = random_psf(rng, kernel)
    volume = rng.random(shape, np.float32)
    whole = Box.whole(shape)
    layout = lay_out(shape, whole, whole, tuple(n // 2 for n in kernel), border)
    np.testing.assert_allclose(convolve_with(convolver, volume, psf, layout), reference(volume, psf, border), atol=5e-7)


@pytest.mark.parametrize("border", ["mirror", "zero"])
def test_measured_psfs(rng, quad_psfs, two_view_psfs, border):
    shape = (55, 52, 60)
    volume = rng.random(shape, np.float32) * 1000
    psfs = [*quad_psfs.values(), *(psf / psf.sum() for psf in two_view_psfs.values())]
    blur = Blur(psfs, shape, border)
    for v, psf in enumerate(psfs):
        expected = pad_and_convolve(volume, psf, border)
        np.testing.assert_allclose(blur.blur(torch.from_numpy(volume), v).numpy(), expected, atol=1e-6 * 1000)
        radius = radius_of(psf)
        layout = lay_out(shape, Box.whole(shape), Box.whole(shape), radius, border)
        slabs = convolve_with(SlabConvolver(), volume, crop(psf, radius), layout)
        np.testing.assert_allclose(slabs, expected, atol=1e-6 * 1000)


@pytest.mark.parametrize("border", ["mirror", "zero"])
@pytest.mark.parametrize(("shape", "kernel"), CASES)
def test_adjoint(rng, shape, kernel, border):
    blur = Blur([random_psf(rng, kernel), random_psf(rng, kernel[::-1]), random_psf(rng, (3, 3, 3))], shape, border)
    z = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    x = torch.from_numpy(rng.standard_normal((3, *shape)).astype(np.float32))

    def inner(a, b):
        return float((a.double() * b.double()).sum())

    scale = float(z.double().norm() * x.double().norm())
    assert abs(inner(blur(z), x) - inner(z, blur.adjoint(x))) < 1e-6 * scale
    for v in range(3):
        assert abs(inner(blur.blur(z, v), x[v]) - inner(z, blur.adjoint(x[v], v))) < 1e-6 * scale


def test_adjoint_of_measured_blur(rng, quad_psfs):
    shape = (40, 36, 44)
    blur = Blur(list(quad_psfs.values()), shape)
    z = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    x = torch.from_numpy(rng.standard_normal((4, *shape)).astype(np.float32))
    forward = float((blur(z).double() * x).sum())
    backward = float((z.double() * blur.adjoint(x)).sum())
    assert abs(forward - backward) < 1e-6 * float(z.norm() * x.norm())


@pytest.mark.parametrize("border", ["mirror", "zero"])
def test_gradient_is_the_adjoint(rng, border):
    shape = (8, 9, 7)
    blur = Blur([random_psf(rng, (5, 3, 9)), random_psf(rng, (3, 5, 3))], shape, border)
    z = torch.from_numpy(rng.random((2, *shape), np.float32)).requires_grad_()
    x = torch.from_numpy(rng.random((2, 2, *shape), np.float32)).requires_grad_()
    (blur(z) * x.detach()).sum().backward()
    torch.testing.assert_close(z.grad, blur.adjoint(x).detach())
    (blur.adjoint(x) * z.detach()).sum().backward()
    torch.testing.assert_close(x.grad, blur(z).detach())


def test_batches_are_blurred_alike(rng):
    shape = (6, 7, 8)
    blur = Blur([random_psf(rng, (3, 5, 3)), random_psf(rng, (5, 3, 1))], shape)
    batch = torch.from_numpy(rng.random((3, 2, *shape), np.float32))
    blurred = blur(batch)
    assert blurred.shape == (3, 2, 2, *shape)
    torch.testing.assert_close(blurred[2, 1], blur(batch[2, 1]))
    torch.testing.assert_close(blurred[2, 1, 1], blur.blur(batch[2, 1], 1))
    torch.testing.assert_close(blur.adjoint(blurred)[2, 1], blur.adjoint(blurred[2, 1]))


def test_mirrored_border_keeps_a_constant(quad_psfs):
    blur = Blur(list(quad_psfs.values()), (30, 30, 30))
    torch.testing.assert_close(blur(torch.full((30, 30, 30), 7.0)), torch.full((4, 30, 30, 30), 7.0))


@pytest.mark.parametrize("convolver", [SlabConvolver(), WholeConvolver()], ids=["slabs", "whole"])
@pytest.mark.parametrize("start", [(0, 0, 0), (7, 3, 0), (14, 11, 10)])
def test_a_block_is_a_part_of_the_whole(rng, convolver, start):
    shape, radius = (20, 18, 16), (3, 5, 2)
    psf = random_psf(rng, tuple(2 * r + 1 for r in radius))
    volume = rng.random(shape, np.float32)
    target = Box(start, tuple(min(a + 6, n) for a, n in zip(start, shape, strict=True)))
    source = target.grow(radius).clip(shape)
    layout = lay_out(shape, source, target, radius, "mirror")
    block = convolve_with(convolver, np.ascontiguousarray(volume[source.slices]), psf, layout)
    np.testing.assert_allclose(block, reference(volume, psf, "mirror")[target.slices], atol=5e-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_chain_of_two_convolutions(rng, threads):
    shape = (70, 41, 33)
    first, second = random_psf(rng, (9, 3, 5)), random_psf(rng, (3, 11, 7))
    volume = rng.random(shape, np.float32)
    factor = torch.from_numpy(rng.random(shape, np.float32))
    whole = Box.whole(shape)

    def multiply(rows, place):
        return rows.mul_(factor[:, place])

    def links(convolver):
        for psf, change in ((first, multiply), (second, lambda rows, _: rows.sqrt_())):
            layout = lay_out(shape, whole, whole, tuple(n // 2 for n in psf.shape), "mirror")
            yield Link(layout, transfer_function(psf, layout.sizes, halved=convolver.halved, device=CPU), change)

    expected = np.sqrt(reference(reference(volume, first, "mirror") * factor.numpy(), second, "mirror"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for convolver in (SlabConvolver(), WholeConvolver()):
            given = torch.from_numpy(volume.copy())
            result = convolver.run(given, list(links(convolver)))
            np.testing.assert_allclose(result.numpy(), expected, rtol=2e-6)
            np.testing.assert_array_equal(given.numpy(), volume)
            assert result.is_contiguous()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_slabs_for_the_cpu_and_whole_tensors_elsewhere():
    assert isinstance(convolver_for(CPU), SlabConvolver)
    assert isinstance(convolver_for(torch.device("meta")), WholeConvolver)


def test_sharing_does_each_piece_once_and_passes_errors_on():
    pieces = [slice(i, i + 1) for i in range(57)]
    done, lock, threads = [], threading.Lock(), set()

    def begin():
        def work(piece):
            with lock:
                done.append(piece.start)
                threads.add((threading.get_ident(), torch.get_num_threads()))

        return work

    share(pieces, begin)
    assert sorted(done) == list(range(57))
    assert {count for _, count in threads} == {1}
    assert torch.get_num_threads() == 2

    def fail():
        def work(piece):
            raise MemoryError(f"piece {piece.start}")

        return work

    with pytest.raises(MemoryError, match="piece"):
        share(pieces, fail)
    # A thread that is new since then still gets the number of threads that the caller had set.
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def test_a_source_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="do not hold"):
        lay_out((20, 20, 20), Box((4, 0, 0), (20, 20, 20)), Box((5, 0, 0), (9, 20, 20)), (2, 2, 2), "mirror")
    with pytest.raises(ValueError, match="too short"):
        lay_out((9, 9, 9), Box.whole((9, 9, 9)), Box.whole((9, 9, 9)), (2, 2, 2), "zero", (12, 20, 20))


@pytest.mark.parametrize(
    ("psfs", "words"),
    [
        ([], "no PSF"),
        ([np.ones((3, 4, 3))], "PSF 0 has shape"),
        ([np.ones((3, 3, 3)), np.ones((3, 3))], "PSF 1 has shape"),
        ([np.full((3, 3, 3), np.nan)], "not finite"),
    ],
)
def test_bad_psfs(psfs, words):
    with pytest.raises(InputError, match=words):
        Blur(psfs, (8, 8, 8))


def test_good_sizes():
    smooth = {2**a * 3**b * 5**c for a in range(2, 12) for b in range(7) for c in range(5)}
    for least in range(1, 700):
        assert good_size(least) == min(n for n in smooth if n >= least)


def test_radius_and_crop(rng):
    kernel = np.zeros((11, 9, 13))
    kernel[5, 2:7, 3:10] = rng.random((5, 7))
    assert radius_of(kernel) == (0, 2, 3)
    np.testing.assert_array_equal(crop(kernel, (0, 2, 3)), kernel[5:6, 2:7, 3:10])
    np.testing.assert_array_equal(crop(crop(kernel, (0, 2, 3)), (5, 4, 6)), kernel)
    kernel[0, 4, 6] = 1e-9
    assert radius_of(kernel) == (0, 2, 3)
    kernel[10, 4, 6] = -1e-3
    assert radius_of(kernel) == (5, 2, 3)


def test_cache_is_bounded_and_drops_what_was_used_longest_ago(rng):
    kernels = [random_psf(rng, (3, 3, 3)) for _ in range(3)]
    sizes = (10, 12, 16)
    one = transfer_bytes(sizes, 2)
    cache = TransferCache(2 * one)

    def get(k):
        return cache.get(k, sizes, halved=2, device=CPU)

    first, second = get(kernels[0]), get(kernels[1])
    assert first.nbytes == one
    assert cache.nbytes == 2 * one
    assert get(kernels[0]) is first
    get(kernels[2])
    assert cache.nbytes == 2 * one
    assert get(kernels[0]) is first
    assert get(kernels[1]) is not second
    stack = cache.get(np.stack(kernels), sizes, halved=2, device=CPU)
    assert stack.nbytes > 2 * one >= cache.nbytes
    torch.testing.assert_close(stack[0], first)
    cache.clear()
    assert cache.nbytes == 0


@pytest.mark.parametrize("halved", [0, 2])
def test_transfer_function_is_the_kernels_spectrum(rng, halved):
    kernel, sizes = rng.random((3, 5, 7)), (8, 9, 10)
    block = np.zeros(sizes)
    block[:3, :5, :7] = kernel
    spectrum = np.fft.fftn(np.roll(block, (-1, -2, -3), (0, 1, 2))) / block.size
    expected = np.take(spectrum, range(sizes[halved] // 2 + 1), halved)
    transfer = transfer_function(kernel, sizes, halved=halved, device=CPU)
    assert transfer.nbytes == transfer_bytes(sizes, halved)
    np.testing.assert_allclose(transfer.numpy(), expected, atol=1e-7 * np.abs(spectrum).max())
