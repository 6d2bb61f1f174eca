"""Each operation, and whole chains, against OpenCV, NumPy and torchvision used plainly."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training import degrade_ops as ops
from training.degrade import Recipe, apply, target
from training.degrade_kernels import Kernel, weights

SIZE = (150, 140)
MILD = Kernel("gaussian", 9, 1.5, 0.7, 0.4)
FIRST_ORDER = (
    ops.Blur(MILD),
    ops.Resize(1.7),
    ops.Noise("gaussian", 6.0, False, 11),
    ops.Jpeg(80),
    ops.Resize(1.0),
)
SECOND_ORDER = (
    ops.Blur(Kernel("generalized", 11, 1.4, 0.9, 1.2, beta=0.7)),
    ops.Resize(1 / 0.62, "area"),
    ops.Noise("poisson", 1.7, True, 5),
    ops.Jpeg(64),
    ops.Blur(Kernel("plateau", 9, 0.9, 0.5, -0.3, beta=1.6)),
    ops.Resize(4 / 1.1, "cubic"),
    ops.Noise("gaussian", 9.0, True, 6),
    ops.Resize(4.0, "linear"),
    ops.Blur(Kernel("sinc", 9, cutoff=2.1)),
    ops.Jpeg(72),
    ops.Resize(1.0, "cubic"),
)


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[40:190, 150:290])


def plain_jpeg(x: NDArray[np.float32], quality: int, top: float) -> NDArray[np.float32]:
    """Values of 0 to `top` through the codec, as BGR."""
    bgr = cv2.cvtColor(plain_bytes(x, top), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return decoded.astype(np.float32) * np.float32(top / 255)


def plain_bytes(x: NDArray[np.float32], top: float) -> NDArray[np.uint8]:
    return np.round(np.clip(x, 0, top) * np.float32(255 / top)).astype(np.uint8)


def plain_first_order(face: NDArray[np.uint8], kernel: Kernel, top: float) -> list[NDArray]:
    """After every step, as GFP-GAN's data set goes, in floats of 0 to `top`; there it is 1."""
    h, w = face.shape[:2]
    x = face.astype(np.float32) * np.float32(top / 255)
    blurred = cv2.filter2D(x, -1, weights(kernel))
    small = cv2.resize(blurred, (int(w // 1.7), int(h // 1.7)), interpolation=cv2.INTER_LINEAR)
    field = np.random.default_rng(11).standard_normal(small.shape, dtype=np.float32)
    noisy = np.clip(small + field * np.float32(6 * top / 255), 0, top)
    coded = plain_jpeg(noisy, 80, top)
    return [blurred, small, noisy, coded, cv2.resize(coded, (w, h))]


@pytest.mark.parametrize("top", [255.0, 1.0])
def test_the_first_order_chain_is_the_equation_step_by_step(
    top: float, face: NDArray[np.uint8]
) -> None:
    """The small kernel is filtered by OpenCV itself here, so every byte is the same.

    On the scale of 0 to 1 a value half way between two bytes may fall to the other side.
    """
    plain = plain_first_order(face, MILD, top)
    for count, x in enumerate(plain, start=1):
        ours = ops.run(FIRST_ORDER[:count], face, SIZE)
        np.testing.assert_allclose(ours / 255, x / top, atol=2e-6)
    equal = apply(face, Recipe(steps=FIRST_ORDER)) == plain_bytes(plain[-1], top)
    assert equal.mean() >= (1.0 if top == 255 else 0.999)


@pytest.mark.parametrize(
    "kernel",
    [Kernel("gaussian", 41, 5.0, 5.0), Kernel("gaussian", 41, 7.0, 1.1, 0.6)],
    ids=["round", "ellipse"],
)
def test_a_large_blur_stays_within_one_step_up_to_the_codec(
    kernel: Kernel, face: NDArray[np.uint8]
) -> None:
    chain = (ops.Blur(kernel), *FIRST_ORDER[1:])
    plain = plain_first_order(face, kernel, 1.0)
    for count in (1, 2, 3):
        ours = ops.run(chain[:count], face, SIZE)
        assert np.abs(ours / 255 - plain[count - 1]).max() < 1 / 255
    whole = apply(face, Recipe(steps=chain)).astype(int)
    assert (whole == plain_bytes(plain[-1], 1.0)).mean() > 0.9
    assert np.abs(whole - plain_bytes(plain[-1], 1.0)).mean() < 0.2


def plain_shot_noise(x: NDArray[np.float32], scale: float, seed: int) -> NDArray[np.float32]:
    """Grey Poisson noise as BasicSR defines it, on values of 0 to 255."""
    grey = np.clip(np.round(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)), 0, 255)
    photons = 2 ** math.ceil(math.log2(len(np.unique(grey))))
    share = grey[..., None].astype(np.float64) / 255
    counted = np.random.default_rng(seed).poisson(share * photons)
    noise = np.float32(255 * (counted / photons - share))
    return np.clip(x + noise * np.float32(scale), 0, 255)


def test_the_second_order_chain_is_real_esrgans_step_by_step(face: NDArray[np.uint8]) -> None:
    h, w = SIZE
    kernels = [weights(s.kernel) for s in SECOND_ORDER if isinstance(s, ops.Blur)]
    x = cv2.filter2D(face.astype(np.float32), -1, kernels[0])
    down = 1 / 0.62
    x = cv2.resize(x, (int(w // down), int(h // down)), interpolation=cv2.INTER_AREA)
    x = plain_shot_noise(x, 1.7, 5)
    x = plain_jpeg(x, 64, 255)
    x = cv2.filter2D(x, -1, kernels[1])
    down = 4 / 1.1
    x = cv2.resize(x, (int(w // down), int(h // down)), interpolation=cv2.INTER_CUBIC)
    field = np.random.default_rng(6).standard_normal((*x.shape[:2], 1), dtype=np.float32)
    x = np.clip(x + field * np.float32(9), 0, 255)
    x = cv2.resize(x, (w // 4, h // 4), interpolation=cv2.INTER_LINEAR)
    x = cv2.filter2D(x, -1, kernels[2])
    x = plain_jpeg(x, 72, 255)
    x = cv2.resize(x, (w, h), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(apply(face, Recipe(steps=SECOND_ORDER)), plain_bytes(x, 255))


@pytest.mark.parametrize("grey", [False, True])
def test_poisson_noise_has_the_spread_of_counted_photons(grey: bool) -> None:
    """A picture of 64 levels is counted with 64 photons at white: variance v / 64."""
    picture = np.full((200, 200, 3), 128, np.float32)
    picture[0, :63] = np.arange(63)[:, None]
    noise = ops.Noise("poisson", 0.7, grey, 3)(picture, (200, 200)) - picture
    assert noise[1:].std() == pytest.approx(0.7 * 255 * math.sqrt(128 / 255 / 64), rel=0.02)
    assert abs(noise[1:].mean()) < 0.3
    assert (noise[..., 0] == noise[..., 2]).all() == grey


def test_gaussian_noise_has_its_deviation_and_grey_noise_one_field() -> None:
    flat = np.full((300, 300, 3), 128, np.uint8)
    colour = ops.Noise("gaussian", 12.0, False, 1)(flat, (300, 300)) - 128
    grey = ops.Noise("gaussian", 12.0, True, 1)(flat, (300, 300)) - 128
    assert colour.std() == pytest.approx(12, rel=0.02)
    assert grey.std() == pytest.approx(12, rel=0.02)
    assert abs(np.corrcoef(colour[..., 0].ravel(), colour[..., 1].ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])


@pytest.mark.parametrize(
    ("what", "factor"),
    [("brightness", 1.4), ("contrast", 0.6), ("saturation", 1.45), ("hue", -0.09), ("hue", 0.1)],
)
def test_jitter_is_torchvisions(what: str, factor: float, face: NDArray[np.uint8]) -> None:
    from torchvision.transforms import functional

    image_CHW = torch.from_numpy(face).permute(2, 0, 1).float() / 255
    plain_CHW = getattr(functional, f"adjust_{what}")(image_CHW, factor)
    ours = ops.Jitter(what, factor)(face, SIZE)  # type: ignore[arg-type]
    # torchvision rounds the weights of its luma to four digits.
    np.testing.assert_allclose(ours / 255, plain_CHW.permute(1, 2, 0).numpy(), atol=3e-4)


def test_shift_grey_and_haze_in_numbers(face: NDArray[np.uint8]) -> None:
    plain = np.clip(face.astype(np.float32) + np.float32([19.5, -7.25, 0.5]), 0, 255)
    np.testing.assert_array_equal(ops.Shift(19.5, -7.25, 0.5)(face, SIZE), plain)
    luma = face @ np.array([0.299, 0.587, 0.114])
    grey = ops.Grey()(face, SIZE)
    assert np.abs(grey - luma[..., None]).max() < 0.51
    np.testing.assert_allclose(ops.Haze(0.8)(face, SIZE), face * 0.8 + 51.0, atol=1e-3)


def test_a_move_fills_the_gap_with_the_mirrored_border(face: NDArray[np.uint8]) -> None:
    moved = ops.Move(right=7, down=-3)(face, SIZE)
    padded = np.pad(face, ((3, 3), (7, 7), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(moved, padded[6:156, :140])
    np.testing.assert_array_equal(moved[:-3, 7:], face[3:, :-7])
    np.testing.assert_array_equal(ops.Move(0, 0)(face, SIZE), face)


def test_uneven_is_one_chain_in_a_square_and_another_around_it(face: NDArray[np.uint8]) -> None:
    other = (*FIRST_ORDER[:3], ops.Jpeg(30), ops.Resize(1.0))
    step = ops.Uneven(left=20, top=31, side=60, inside=other, outside=FIRST_ORDER)
    mask = np.zeros(face.shape, bool)
    mask[31:91, 20:80] = True
    inside, outside = (apply(face, Recipe(steps=chain)) for chain in (other, FIRST_ORDER))
    assert (inside != outside).any()
    np.testing.assert_array_equal(
        apply(face, Recipe(steps=(step,))), np.where(mask, inside, outside)
    )


def test_sharpening_is_an_unsharp_mask_under_a_soft_mask(face: NDArray[np.uint8]) -> None:
    x = face.astype(np.float32) / 255
    residual = x - cv2.GaussianBlur(x, (51, 51), 0)
    mask = cv2.GaussianBlur((np.abs(residual) * 255 > 10).astype(np.float32), (51, 51), 0)
    plain = mask * np.clip(x + 0.5 * residual, 0, 1) + (1 - mask) * x
    np.testing.assert_allclose(ops.Sharpen()(face, SIZE) / 255, plain, atol=1e-3)


def test_picture_and_target_share_what_is_shared(face: NDArray[np.uint8]) -> None:
    recipe = Recipe((ops.Move(5, 2),), (*FIRST_ORDER, ops.Grey()), (ops.Grey(),))
    moved = ops.Move(5, 2)(face, SIZE)
    np.testing.assert_array_equal(
        target(face, recipe), cv2.cvtColor(cv2.cvtColor(moved, 7), cv2.COLOR_GRAY2RGB)
    )
    np.testing.assert_array_equal(apply(face, recipe), apply(moved, replace(recipe, shared=())))
    np.testing.assert_array_equal(target(face, Recipe(steps=FIRST_ORDER)), face)
