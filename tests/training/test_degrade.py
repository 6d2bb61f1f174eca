"""What is drawn: within the published ranges, scaled with the face, replayable, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from data_manifests.errors import ConfigError, InputError
from training import degrade_ops as ops
from training.degrade import (
    PRESETS,
    Ranges,
    Recipe,
    SecondOrder,
    apply,
    degrade,
    draw,
    draw_at,
    from_json,
    moved_by,
    preset,
    target,
    to_json,
)

FIRST = sorted(name for name, ranges in PRESETS.items() if isinstance(ranges, Ranges))


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[40:190, 150:290])


def drawn(name: str, count: int = 2000) -> list[Recipe]:
    rng = np.random.default_rng(0)
    return [draw(rng, PRESETS[name]) for _ in range(count)]


def steps(recipes: list[Recipe], kind: type) -> Iterator[ops.Operation]:
    return (s for r in recipes for s in (*r.shared, *r.steps, *r.aim) if isinstance(s, kind))


def share(recipes: list[Recipe], kind: type) -> float:
    return sum(any(True for _ in steps([r], kind)) for r in recipes) / len(recipes)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_recipe_replays_bit_for_bit_from_its_json(name: str, face: NDArray[np.uint8]) -> None:
    for seed in range(12):
        poor_HWC, recipe = degrade(face, np.random.default_rng(seed), preset(name))
        again = from_json(json.loads(json.dumps(to_json(recipe))))
        assert again == recipe
        np.testing.assert_array_equal(apply(face, again), poor_HWC)
        assert poor_HWC.shape == target(face, recipe).shape == face.shape
        assert poor_HWC.dtype == target(face, recipe).dtype == np.uint8


def test_a_place_in_a_run_gives_its_recipe() -> None:
    one, same, other = (
        draw_at((7, step, 1), preset("gfpgan"), size=(512, 512)) for step in (3, 3, 4)
    )
    assert one == same
    assert one != other


def test_nothing_of_a_recipe_can_be_changed() -> None:
    recipe = drawn("authface", 1)[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = ()  # type: ignore[misc]
    assert hash(recipe) == hash(from_json(to_json(recipe)))


@pytest.mark.parametrize(
    ("name", "sigma", "down", "noise", "jpeg"),
    [
        ("authface", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
        ("gfpgan", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
        ("bfrffusion", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
        ("codeformer2", (1, 15), (4, 30), (0, 20), (30, 80)),
        ("codeformer3", (0.1, 10), (1, 12), (0, 15), (60, 100)),
        ("vqfr", (1, 15), (1, 30), (0, 20), (30, 90)),
        ("diffbir1", (0.1, 12), (1, 12), (0, 15), (30, 100)),
        ("faceme", (0.2, 10), (1, 16), (0, 15), (30, 100)),
        ("restoreformer++", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    ],
)
def test_draws_fill_the_published_ranges(
    name: str,
    sigma: tuple[float, float],
    down: tuple[float, float],
    noise: tuple[float, float],
    jpeg: tuple[int, int],
) -> None:
    recipes = drawn(name)
    kernels = [s.kernel for s in steps(recipes, ops.Blur) if isinstance(s, ops.Blur)]
    plain = [r.steps for r in recipes if isinstance(r.steps[0], ops.Blur)]
    seen = {
        sigma: [k.sigma_x for k in kernels] + [k.sigma_y for k in kernels],
        down: [s.down for c in plain for s in c if isinstance(s, ops.Resize) and s.down != 1],
        noise: [s.strength for c in plain for s in c if isinstance(s, ops.Noise)],
        jpeg: [s.quality for c in plain for s in c if isinstance(s, ops.Jpeg)],
    }
    for (low, high), values in seen.items():
        assert low <= min(values)
        assert max(values) <= high
        assert max(values) - min(values) > 0.95 * (high - low)
    ellipses = [k for k in kernels if k.sigma_x != k.sigma_y]
    assert 0.45 < len(ellipses) / len(kernels) < 0.55
    assert max(abs(k.angle) for k in ellipses) == pytest.approx(math.pi, rel=0.02)
    assert {k.side for k in kernels} == ({39, 41} if name == "restoreformer++" else {41})


def test_every_first_order_preset_is_in_that_table() -> None:
    table = test_draws_fill_the_published_ranges.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert sorted(row[0] for row in table) == FIRST
    assert all(ranges.source for ranges in PRESETS.values())


def test_only_gfpgan_changes_colour_and_only_of_the_picture() -> None:
    recipes = drawn("gfpgan", 4000)
    assert share(recipes, ops.Shift) == pytest.approx(0.3, abs=0.03)
    assert share(recipes, ops.Jitter) == pytest.approx(0.3, abs=0.03)
    assert share(recipes, ops.Grey) == pytest.approx(0.01, abs=0.006)
    assert not any(r.shared or r.aim for r in recipes)
    bounds = {"brightness": (0.5, 1.5), "contrast": (0.5, 1.5), "saturation": (0, 1.5)}
    for what, (low, high) in {**bounds, "hue": (-0.1, 0.1)}.items():
        values = [s.factor for s in steps(recipes, ops.Jitter) if s.what == what]  # type: ignore[union-attr]
        assert low <= min(values) < max(values) <= high
        assert max(values) - min(values) > 0.95 * (high - low)
    orders = {tuple(s.what for s in r.steps if isinstance(s, ops.Jitter)) for r in recipes}
    assert len(orders) == 25  # the 24 orders, and none at all
    for name in set(FIRST) - {"gfpgan", "restoreformer++"}:
        assert all([type(s) for s in r.steps][5:] == [] for r in drawn(name, 50))


def test_restoreformers_target_moves_and_turns_grey_with_the_picture() -> None:
    recipes = drawn("restoreformer++", 6000)
    assert share(recipes, ops.Move) == pytest.approx(0.2, abs=0.02)
    assert share(recipes, ops.Uneven) == pytest.approx(0.1, abs=0.015)
    assert share(recipes, ops.Grey) == pytest.approx(0.008, abs=0.005)
    assert 0 < share(recipes, ops.Haze) < 0.02
    assert all((ops.Grey() in r.steps) == (r.aim == (ops.Grey(),)) for r in recipes)
    moves = [moved_by(r) for r in recipes]
    assert {m[0] for m in moves} == {m[1] for m in moves} == set(range(-32, 33))
    squares = [s for s in steps(recipes, ops.Uneven) if isinstance(s, ops.Uneven)]
    assert {128, 256} <= {s.side for s in squares} <= set(range(128, 257))
    assert all(0 <= s.left <= 512 - s.side and 0 <= s.top <= 512 - s.side for s in squares)


def test_the_second_order_is_drawn_as_real_esrgan_says() -> None:
    recipes = drawn("realesrgan", 4000)
    assert isinstance(PRESETS["realesrgan"], SecondOrder)
    assert all(r.shared == (ops.Sharpen(51, 0.5, 10.0),) and not r.aim for r in recipes)
    first = [r.steps[0].kernel for r in recipes if isinstance(r.steps[0], ops.Blur)]
    assert len(first) == len(recipes)
    families = {
        f: sum(k.family == f for k in first) / len(first) for f in {k.family for k in first}
    }
    expected = {"sinc": 0.1, "gaussian": 0.63, "generalized": 0.135, "plateau": 0.135}
    assert families == pytest.approx(expected, abs=0.03)
    assert {k.side for k in first} == set(range(7, 22, 2))
    assert max(k.sigma_x for k in first) == pytest.approx(3, rel=0.02)
    assert all(k.cutoff > math.pi / (3 if k.side < 13 else 5) for k in first if k.family == "sinc")
    betas = [k.beta for k in first if k.family == "generalized"]
    assert 0.5 <= min(betas) < 0.7
    assert 3.5 < max(betas) <= 4
    poisson = [s.strength for s in steps(recipes, ops.Noise) if s.family == "poisson"]  # type: ignore[union-attr]
    assert 0.05 <= min(poisson) < max(poisson) <= 3
    assert len(poisson) / (2 * len(recipes)) == pytest.approx(0.5, abs=0.03)
    last = [r.steps[-2] for r in recipes]
    assert np.mean([isinstance(s, ops.Jpeg) for s in last]) == pytest.approx(0.5, abs=0.03)
    sizes = [s.down for r in recipes for s in r.steps if isinstance(s, ops.Resize)]
    assert sizes[3::4] == [1.0] * len(recipes)
    assert sizes[2::4] == [4.0] * len(recipes)
    assert 1 / 1.5 <= min(sizes[::4]) < max(sizes[::4]) <= 1 / 0.15
    assert 4 / 1.2 <= min(sizes[1::4]) < max(sizes[1::4]) <= 4 / 0.3 + 1e-9


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_blur_follows_the_size_of_the_face(name: str) -> None:
    small, large = (
        draw(np.random.default_rng(1), preset(name), size=(side, side)) for side in (128, 512)
    )
    pairs = [
        (a.kernel, b.kernel)
        for a, b in zip(small.steps, large.steps, strict=True)
        if isinstance(a, ops.Blur) and isinstance(b, ops.Blur) and a.kernel.family != "sinc"
    ]
    assert pairs
    for a, b in pairs:
        assert a.sigma_x == pytest.approx(b.sigma_x / 4)
        assert a.side == 2 * max(1, round(b.side // 2 / 4)) + 1


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("size", [(1, 1), (64, 24), (7, 130)])
def test_the_smallest_and_oblong_pictures_pass(name: str, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for seed in range(8):
        poor_HWC, recipe = degrade(picture, np.random.default_rng(seed), preset(name))
        assert poor_HWC.shape == target(picture, recipe).shape == picture.shape


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="gfpgan"):
        preset("gfgpan")


@pytest.mark.parametrize(
    "values",
    [
        {"steps": [{"do": "melt"}]},
        {"steps": [{"do": "jpeg", "sharpness": 3}]},
        {"steps": [{"quality": 3}]},
        {"steps": 3},
        {"stages": []},
    ],
)
def test_what_is_no_recipe_is_told(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match="no degradation recipe"):
        from_json(values)
