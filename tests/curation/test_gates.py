from __future__ import annotations

import pytest

from curation import gates
from curation.config import GatesConfig

CONFIG = GatesConfig()


def test_a_verdict_says_value_threshold_and_reason() -> None:
    verdict = gates.judge_long_side(4000, CONFIG)
    assert (verdict.gate, verdict.value, verdict.threshold) == ("long_side", 4000, 8192)
    assert not verdict.keep
    assert "4000" in verdict.reason
    assert "8192" in verdict.reason
    assert gates.judge_long_side(8192, CONFIG).keep


def test_a_verdict_that_keeps_gives_no_reason() -> None:
    assert gates.judge_long_side(8192, CONFIG).reason == ""


def test_a_long_strip_has_few_megapixels() -> None:
    config = GatesConfig(least_megapixels=12)
    verdict = gates.judge_megapixels(8192, 1000, config)
    assert verdict.value == pytest.approx(8.192)
    assert not verdict.keep
    assert gates.judge_megapixels(4000, 3000, config).keep
    assert gates.judge_megapixels(1, 1, CONFIG).keep


def test_no_face_names_the_finder_that_looked() -> None:
    assert "haar" in gates.judge_face_count(0, "haar").reason
    assert gates.judge_face_count(2, "haar").keep


def test_passers_by_do_not_make_a_group() -> None:
    alone = GatesConfig(most_faces=1)
    assert gates.judge_faces_beside([400, 150, 199], alone).keep
    couple = gates.judge_faces_beside([400, 200], alone)
    assert (couple.value, couple.keep) == (2, False)
    assert gates.judge_faces_beside([400, 200], GatesConfig(most_faces=2)).keep


def test_any_number_of_faces_is_let_through_unless_asked() -> None:
    verdict = gates.judge_faces_beside([100] * 9, CONFIG)
    assert (verdict.value, verdict.keep) == (9, True)
    assert gates.judge_faces_beside([], CONFIG).value == 0


def test_a_coarse_jpeg_is_set_aside_and_other_formats_pass() -> None:
    assert not gates.judge_jpeg_quality(49, CONFIG).keep
    assert gates.judge_jpeg_quality(50, CONFIG).keep
    assert gates.judge_jpeg_quality(None, CONFIG).value is None
    assert gates.judge_jpeg_quality(None, CONFIG).keep


@pytest.mark.parametrize(
    ("rating", "pick", "keep"),
    [
        (None, None, True),
        (0, None, True),
        (5, 1, True),
        (-1, None, False),
        (None, -1, False),
        (5, -1, False),
        (-1, 1, False),
    ],
)
def test_what_the_photographer_rejected_is_set_aside(
    rating: int | None, pick: int | None, keep: bool
) -> None:
    verdict = gates.judge_rating(rating, pick, CONFIG)
    assert verdict.gate == "rejected_by_photographer"
    assert verdict.keep is keep
    assert bool(verdict.reason) is not keep
    assert gates.judge_rating(rating, pick, GatesConfig(honour_rejects=False)).keep


PLUS = "http://ns.useplus.org/ldf/vocab/"


@pytest.mark.parametrize("flag", [None, "", "DMI-UNSPECIFIED", "DMI-ALLOWED", PLUS + "DMI-ALLOWED"])
def test_photos_that_may_be_mined_pass(flag: str | None) -> None:
    verdict = gates.judge_data_mining(flag, CONFIG)
    assert verdict.keep
    assert verdict.value == 0


@pytest.mark.parametrize(
    "flag",
    [
        "DMI-PROHIBITED",
        "DMI-PROHIBITED-AIMLTRAINING",
        PLUS + "DMI-PROHIBITED-GENAIMLTRAINING",
        PLUS + "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING/",
        "dmi-prohibited-seeconstraint",
        "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
        "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR",
        "DMI-PROHIBITED-SOMETHINGNEW",
        "no AI please",
    ],
)
def test_photos_that_must_not_be_mined_are_set_aside(flag: str) -> None:
    verdict = gates.judge_data_mining(flag, CONFIG)
    assert not verdict.keep
    assert "prohibit" in verdict.reason
    assert verdict.value == 1


def test_a_flag_nobody_knows_is_named_in_the_reason() -> None:
    assert "NO AI PLEASE" in gates.judge_data_mining("no AI please", CONFIG).reason


def test_the_data_mining_flag_is_recorded_where_it_is_not_honoured() -> None:
    verdict = gates.judge_data_mining("DMI-PROHIBITED", GatesConfig(honour_data_mining=False))
    assert (verdict.value, verdict.keep) == (1, True)
