from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from curation import gates_face, sharpness
from curation.config import GatesConfig
from curation.crops import align_matrix, warp
from curation.gates import FaceLook, judge_face
from data_manifests.records import Point, Pose, Verdict

CONFIG = GatesConfig()
Srgb = NDArray[np.uint8]
# Of the astronaut portrait, by hand: eyes, nose, corners of the mouth.
MARKS = tuple(
    Point(x=x, y=y) for x, y in ((201.5, 112), (241.5, 109.5), (223, 133), (207, 151), (242, 149))
)
FRONTAL = Pose(roll=0.0, yaw=0.0, pitch=0.0)


@pytest.fixture(scope="module")
def aligned() -> Srgb:
    """The astronaut's aligned face at 512 px. She is enlarged: 40 px lie between her eyes."""
    large = cv2.resize(astronaut(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    marks = [Point(x=p.x * 4, y=p.y * 4) for p in MARKS]
    return np.asarray(warp([large.astype(np.uint8)], align_matrix(marks, 512), 512), np.uint8)


@pytest.fixture(scope="module")
def crisp(aligned: Srgb) -> Srgb:
    """The face with detail put back into it, so that damage has something to take."""
    soft = cv2.GaussianBlur(aligned, (0, 0), 2.0)
    texture = np.random.default_rng(7).normal(0, 5, aligned.shape[:2])
    texture = cv2.GaussianBlur(texture, (0, 0), 0.7)[..., None]
    return np.asarray(np.clip(aligned * 2.0 - soft + texture, 0, 255), np.uint8)


def look_at(face: Srgb, native: Srgb | None = None) -> FaceLook:
    return FaceLook(face, True, face if native is None else native, (), 126.0, FRONTAL, 0.9)


def judged(face: Srgb, config: GatesConfig = CONFIG) -> dict[str, Verdict]:
    return {v.gate: v for v in judge_face(look_at(face), config)}


def value(face: Srgb, gate: str) -> float:
    found = judged(face)[gate].value
    assert found is not None
    return found


def moved(face: Srgb, length: int, degrees: float) -> Srgb:
    """The face as a camera sees it that moves by `length` px along a line."""
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), degrees, 1)
    kernel = np.asarray(cv2.warpAffine(line, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(face, -1, kernel / kernel.sum()), np.uint8)


def noisy(face: Srgb, sigma: float) -> Srgb:
    noise = np.random.default_rng(0).normal(0, sigma, face.shape)
    return np.clip(face + noise, 0, 255).astype(np.uint8)


def lit(face: Srgb, stops: float) -> Srgb:
    linear = (face / 255.0) ** 2.2 * 2.0**stops
    return np.asarray(np.clip(255 * linear ** (1 / 2.2), 0, 255), np.uint8)


def test_a_good_face_passes_every_gate_and_each_one_speaks(crisp: Srgb) -> None:
    found = judged(crisp)
    assert all(v.keep for v in found.values()), [v.reason for v in found.values() if not v.keep]
    assert list(found) == [
        "eye_distance",
        "profile",
        "sharpness",
        "eye_sharpness",
        "motion_blur",
        "effective_resolution",
        "noise",
        "clipping",
        "channel_clipping",
        "brightness",
        "washed_out",
        "occlusion",
    ]
    assert all(v.value is not None for v in found.values())


def test_eye_distance_is_judged_in_original_pixels(crisp: Srgb) -> None:
    for distance, keep in ((96.0, True), (95.0, False)):
        look = replace(look_at(crisp), eye_distance=distance)
        [said] = [v for v in judge_face(look, CONFIG) if v.gate == "eye_distance"]
        assert (said.value, said.threshold, said.keep) == (distance, 96, keep)


@pytest.mark.parametrize("gate", ["sharpness", "eye_sharpness", "effective_resolution"])
def test_more_blur_leaves_less_detail(crisp: Srgb, gate: str) -> None:
    values = [value(cv2.GaussianBlur(crisp, (0, 0), s), gate) for s in (0.4, 0.6, 0.8)]
    values.insert(0, value(crisp, gate))
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_a_blurred_face_is_set_aside(crisp: Srgb) -> None:
    found = judged(cv2.GaussianBlur(crisp, (0, 0), 6).astype(np.uint8))
    assert not found["sharpness"].keep
    assert not found["eye_sharpness"].keep
    assert "sharp" in found["sharpness"].reason


def test_one_sharp_eye_is_enough(crisp: Srgb) -> None:
    half = cv2.GaussianBlur(crisp, (0, 0), 6).astype(np.uint8)
    sharp_left, sharp_right = half.copy(), half.copy()
    sharp_left[:, :256], sharp_right[:, 256:] = crisp[:, :256], crisp[:, 256:]
    assert judged(sharp_left)["eye_sharpness"].keep
    assert judged(sharp_right)["eye_sharpness"].keep
    assert not judged(half)["eye_sharpness"].keep


def test_grain_does_not_make_a_blurred_large_face_sharp(portrait: Srgb) -> None:
    blurred = cv2.GaussianBlur(cv2.resize(portrait, (2048, 2048)), (0, 0), 16)
    grainy = noisy(blurred.astype(np.uint8), 3)
    assert not gates_face.judge_sharpness(gates_face.face_part(grainy, aligned=True), CONFIG).keep


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_motion_is_seen_in_every_direction_and_the_more_the_longer(
    crisp: Srgb, degrees: float
) -> None:
    values = [value(moved(crisp, n, degrees), "motion_blur") for n in (3, 7, 15)]
    assert value(crisp, "motion_blur") < values[1] < values[2]
    assert values[2] > CONFIG.most_motion_blur


def test_even_blur_and_grain_are_not_taken_for_motion(crisp: Srgb) -> None:
    for face in (cv2.GaussianBlur(crisp, (0, 0), 3).astype(np.uint8), noisy(crisp, 15)):
        assert judged(face)["motion_blur"].keep


def test_hair_across_the_face_is_not_taken_for_motion(crisp: Srgb) -> None:
    """Strands are alike along one direction, too, but the face between them is sharp."""
    rng, hairy = np.random.default_rng(3), crisp.copy()
    for start in rng.integers(170, 340, 14):
        end = int(start + rng.integers(-60, 60))
        cv2.line(hairy, (int(start), 100), (end, 440), (50, 35, 25), 1, cv2.LINE_AA)
    assert value(hairy, "motion_blur") < CONFIG.most_motion_blur - 0.1


def test_grain_laid_over_motion_does_not_hide_it(crisp: Srgb) -> None:
    smeared = moved(crisp, 15, 30)
    plain, grainy = value(smeared, "motion_blur"), value(noisy(smeared, 4), "motion_blur")
    assert min(plain, grainy) > CONFIG.most_motion_blur


def test_an_empty_picture_has_no_motion() -> None:
    assert value(np.full((512, 512, 3), 90, np.uint8), "motion_blur") == 0


def test_enlarging_lowers_the_effective_resolution(crisp: Srgb) -> None:
    native = np.tile(crisp, (2, 2, 1))[:800, :800]
    found: list[float] = []
    for times in (1.0, 1.25, 1.5, 2.0, 3.0):
        grown = cv2.resize(native, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
        verdicts = judge_face(look_at(crisp, grown.astype(np.uint8)), CONFIG)
        found += [v.value or 0 for v in verdicts if v.gate == "effective_resolution"]
    assert max(found[1:]) < found[0] - 3


def test_what_is_enlarged_tenfold_has_no_effective_resolution(crisp: Srgb) -> None:
    """Nothing but rounding is left at high frequencies, and rounding is white."""
    grown = cv2.resize(crisp[200:300, 200:300], (1000, 1000), interpolation=cv2.INTER_CUBIC)
    verdicts = judge_face(look_at(crisp, grown.astype(np.uint8)), CONFIG)
    found = [v.value or 0 for v in verdicts if v.gate == "effective_resolution"]
    assert found[0] < value(crisp, "effective_resolution") - 10


def test_effective_resolution_sets_aside_only_where_a_limit_is_given(crisp: Srgb) -> None:
    soft = cv2.GaussianBlur(crisp, (0, 0), 3).astype(np.uint8)
    assert judged(soft)["effective_resolution"].threshold is None
    assert judged(soft)["effective_resolution"].keep
    assert not judged(soft, GatesConfig(least_roll_off=-18))["effective_resolution"].keep


@pytest.mark.parametrize("sigma", [4.0, 8.0, 16.0])
def test_noise_is_measured_as_what_was_added(aligned: Srgb, sigma: float) -> None:
    """Luma of independent noise in three channels has 0.75 of one channel's deviation."""
    expected = sigma * float(np.linalg.norm((0.2126, 0.7152, 0.0722)))
    assert value(noisy(aligned, sigma), "noise") == pytest.approx(expected, rel=0.25)


def test_a_very_noisy_face_is_set_aside(aligned: Srgb) -> None:
    assert judged(noisy(aligned, 8))["noise"].keep
    assert not judged(noisy(aligned, 25))["noise"].keep


def test_overexposure_clips_more_and_more_until_it_is_set_aside(aligned: Srgb) -> None:
    found = [judged(lit(aligned, s)) for s in (0, 1, 2, 3, 4)]
    for gate in ("clipping", "channel_clipping"):
        values = [f[gate].value or 0.0 for f in found]
        assert values == sorted(values)
    assert found[0]["clipping"].keep
    assert not found[-1]["clipping"].keep


def test_one_channel_clips_before_all_do(aligned: Srgb) -> None:
    """Warm skin a stop too bright: red is gone where green and blue are not."""
    found = judged(lit(aligned, 1), GatesConfig(most_clipped_channel=0.1))
    assert not found["channel_clipping"].keep
    assert found["clipping"].keep


def test_a_blown_out_face_is_clipped() -> None:
    clipping, brightness = gates_face.judge_light(np.full((50, 50, 3), 255, np.uint8), CONFIG)
    assert not clipping.keep
    assert brightness.keep


def test_a_face_lost_in_the_dark_is_set_aside(aligned: Srgb) -> None:
    clipping, brightness = gates_face.judge_light(np.full((50, 50, 3), 12, np.uint8), CONFIG)
    assert clipping.keep
    assert not brightness.keep
    assert not judged(lit(aligned, -6))["brightness"].keep


def test_a_washed_out_face_is_set_aside_and_a_light_haze_is_not(aligned: Srgb) -> None:
    values = [
        value(np.clip(255 * h + aligned * (1 - h), 0, 255).astype(np.uint8), "washed_out")
        for h in (0, 0.2, 0.7)
    ]
    assert values == sorted(values)
    assert values[1] < CONFIG.most_darkness < values[2]


def test_dark_skin_in_good_light_passes() -> None:
    """Deep skin tones with a tenth of the face in highlight, as a portrait light gives."""
    face = np.full((100, 100, 3), (58, 38, 30), np.uint8)
    face[:, :10] = (150, 120, 105)
    assert all(v.keep for v in gates_face.judge_light(face, CONFIG))


MASK = [(150, 285), (256, 262), (362, 285), (350, 400), (300, 450), (212, 450), (162, 400)]


def masked(face: Srgb, colour: tuple[int, int, int]) -> Srgb:
    return np.asarray(cv2.fillPoly(face.copy(), [np.array(MASK)], colour), np.uint8)


def lensed(face: Srgb, colour: tuple[int, int, int]) -> Srgb:
    out = face.copy()
    for x in (193, 319):
        cv2.ellipse(out, (x, 245), (58, 40), 0, 0, 360, colour, -1)
    return out


def test_sunglasses_and_masks_are_seen(aligned: Srgb) -> None:
    for covered in (lensed(aligned, (20, 20, 22)), masked(aligned, (110, 165, 205))):
        verdict = judged(covered)["occlusion"]
        assert not verdict.keep
        assert "covers" in verdict.reason


def test_hair_over_one_eye_covers_nothing(aligned: Srgb) -> None:
    half = lensed(aligned, (20, 20, 22))
    half[:, 256:] = aligned[:, 256:]
    assert judged(half)["occlusion"].keep


def darker(face: Srgb) -> Srgb:
    """Skin that reflects an eighth of the light, warmer; what is white stays white."""
    linear = (face / 255.0) ** 2.2
    share = 0.125 + 0.875 * linear.min(axis=2, keepdims=True) ** 2
    deep = linear * share * np.array([1.1, 0.95, 0.85])
    return np.asarray(np.clip(255 * deep ** (1 / 2.2), 0, 255), np.uint8)


def test_a_face_with_dark_skin_passes_every_gate(crisp: Srgb) -> None:
    dark = darker(crisp)
    assert np.median(dark[300:320, 180:330]) < 80
    assert [v.reason for v in judged(dark).values() if not v.keep] == []


def bearded(face: Srgb) -> Srgb:
    out = face.copy()
    beard = np.array([(160, 335), (352, 335), (330, 430), (256, 470), (182, 430)])
    return np.asarray(cv2.fillPoly(out, [beard], (38, 30, 26)), np.uint8)


def glasses(face: Srgb) -> Srgb:
    out = face.copy()
    for x in (193, 319):
        cv2.rectangle(out, (x - 55, 212), (x + 55, 278), (25, 22, 20), 6)
    cv2.line(out, (248, 235), (264, 235), (25, 22, 20), 6)
    return out


def side_lit(face: Srgb) -> Srgb:
    fall = np.linspace(1, 0.1, face.shape[1])[None, :, None]
    return np.clip(255 * ((face / 255.0) ** 2.2 * fall) ** (1 / 2.2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [darker, bearded, glasses, side_lit])
def test_dark_skin_beards_glasses_and_side_light_cover_nothing(aligned: Srgb, change) -> None:  # type: ignore[no-untyped-def]
    changed = change(aligned)
    assert np.abs(changed.astype(int) - aligned).max() > 40
    assert judged(changed)["occlusion"].keep
    assert judged(change(darker(aligned)))["occlusion"].keep


def test_a_turned_head_is_set_aside_only_if_asked(aligned: Srgb) -> None:
    look = replace(look_at(aligned), pose=Pose(roll=0.0, yaw=-0.9, pitch=0.0))
    profile = next(v for v in judge_face(look, CONFIG) if v.gate == "profile")
    assert (profile.value, profile.keep) == (0.9, True)
    strict = next(v for v in judge_face(look, GatesConfig(most_yaw=0.5)) if v.gate == "profile")
    assert not strict.keep


def test_the_cover_of_a_profile_is_not_judged(aligned: Srgb) -> None:
    look = replace(look_at(lensed(aligned, (0, 0, 0))), pose=Pose(roll=0.0, yaw=0.9, pitch=0.0))
    assert "occlusion" not in [v.gate for v in judge_face(look, CONFIG)]


def test_a_face_without_landmarks_is_judged_by_its_box(aligned: Srgb) -> None:
    box = np.ascontiguousarray(aligned[100:460, 110:400])
    look = FaceLook(box, False, box, (), None, None, None)
    found = [v.gate for v in judge_face(look, CONFIG)]
    assert "sharpness" in found
    assert "brightness" in found
    assert not {"eye_distance", "eye_sharpness", "occlusion", "channel_clipping", "profile"} & set(
        found
    )


def test_native_gates_are_left_out_where_there_is_no_native_scale(aligned: Srgb) -> None:
    developed = replace(look_at(aligned), native=False)
    tiny = replace(look_at(aligned), native_HWC=aligned[:100, :100])
    for look in (developed, tiny):
        assert not {"effective_resolution", "noise"} & {v.gate for v in judge_face(look, CONFIG)}


@pytest.mark.parametrize("side", [64, 97, 130, 255, 384])
def test_small_faces_are_judged_without_failing(aligned: Srgb, side: int) -> None:
    small = np.asarray(cv2.resize(aligned, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    found = judged(small)
    assert ("motion_blur" in found) is (side >= 0.55 * 512)
    assert all(np.isfinite(v.value) for v in found.values() if v.value is not None)


def test_every_sharp_face_of_ffhq_passes_and_fails_when_it_is_damaged(shared: Path) -> None:
    paths = sorted((shared / "photos/ffhq-1024").glob("*.png"))
    assert len(paths) == 10
    for path in paths:
        with Image.open(path) as picture:
            photo = np.asarray(picture.convert("RGB"))
        small = np.asarray(cv2.resize(photo, (512, 512), interpolation=cv2.INTER_AREA), np.uint8)
        verdicts = judge_face(look_at(small, photo[256:768, 256:768]), CONFIG)
        assert [v.reason for v in verdicts if not v.keep] == []
        for damage in (cv2.GaussianBlur(small, (0, 0), 4), moved(small, 25, 20), lit(small, -6)):
            assert any(not v.keep for v in judged(np.asarray(damage, np.uint8)).values())


def test_the_pixels_that_are_judged_are_not_changed(aligned: Srgb) -> None:
    before = aligned.copy()
    judged(aligned)
    assert (aligned == before).all()


def test_laplacian_variance_of_a_checkerboard_is_known() -> None:
    """Each pixel differs from its four neighbours by 2: the Laplacian is +-8, its variance 64."""
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 2).astype(np.float32)
    assert sharpness.laplacian_variance(board) == 64
