"""Gates on the whole photo: from its header, its metadata, its neighbours and its faces' sizes.

A gate says what it measured, what it asked for, and why. Those on one face are in gates_face.py,
offered here too, so that a caller needs this file alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.config import GatesConfig
from curation.gates_face import FaceLook, judge_face
from curation.limits import at_least, verdict
from data_manifests.records import Verdict

__all__ = [
    "FaceLook",
    "judge_data_mining",
    "judge_face",
    "judge_face_count",
    "judge_faces_beside",
    "judge_jpeg_quality",
    "judge_long_side",
    "judge_megapixels",
    "judge_rating",
]

_BESIDE = 0.5  # of the main face's width: a smaller face is a passer-by

# The PLUS vocabulary of plus:DataMining. Source: PLUS License Data Format, vocabulary "DMI", as the
# IPTC Photo Metadata Standard 2023.1 takes it over. All but the first two forbid what we do.
_DATA_MINING = {
    "DMI-UNSPECIFIED": "",
    "DMI-ALLOWED": "",
    "DMI-PROHIBITED": "data mining is prohibited",
    "DMI-PROHIBITED-AIMLTRAINING": "training of AI and ML is prohibited",
    "DMI-PROHIBITED-GENAIMLTRAINING": "training of generative AI and ML is prohibited",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": "all but indexing by search engines is prohibited",
    "DMI-PROHIBITED-SEECONSTRAINT": "prohibited; its Other Constraints say to whom",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": "prohibited; its embedded rights expression says more",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR": "prohibited; its linked rights expression says more",
}


def judge_long_side(long_side: int, config: GatesConfig) -> Verdict:
    """Is the photo large enough?"""
    least = config.least_long_side
    why = f"long side {long_side} px, less than the {least} px asked for"
    return at_least("long_side", long_side, least, why)


def judge_megapixels(width: int, height: int, config: GatesConfig) -> Verdict:
    """Has the photo enough pixels in all? A narrow panorama has a long side and little else."""
    found, least = width * height / 1e6, config.least_megapixels
    why = f"{found:.1f} megapixels, less than the {least:.1f} asked for"
    return at_least("megapixels", found, least, why)


def judge_face_count(count: int, finder: str) -> Verdict:
    """Is there a face?"""
    return at_least("no_face", count, 1, f"no face found by {finder}")


def judge_faces_beside(widths: Sequence[float], config: GatesConfig) -> Verdict:
    """Is it a portrait of one person, or of as many as the settings allow?

    `widths` are those of the photo's faces, the main one first. Counted are the main one and those
    at least half as wide. A limit of 0 allows any number.
    """
    count = sum(width >= _BESIDE * widths[0] for width in widths)
    most = config.most_faces
    why = f"{count} faces at least half as wide as the main one, more than {most}"
    return verdict("several_faces", count, most, keep=most == 0 or count <= most, reason=why)


def judge_jpeg_quality(quality: int | None, config: GatesConfig) -> Verdict:
    """Was the JPEG saved well enough? `quality` is None for files that aren't JPEGs: they pass."""
    least = config.least_jpeg_quality
    why = f"JPEG tables of quality {quality}, less than the {least} asked for"
    keep = quality is None or quality >= least
    return verdict("jpeg_quality", quality, least, keep=keep, reason=why)


def judge_rating(rating: int | None, pick: int | None, config: GatesConfig) -> Verdict:
    """Did the photographer reject it, by a rating of -1 or by a flag of -1?"""
    given = [mark for mark in (rating, pick) if mark is not None]
    rejected = bool(given) and min(given) < 0
    why = "the photographer rated it as rejected" if rating == -1 else "it is flagged as rejected"
    return verdict(
        "rejected_by_photographer",
        min(given, default=None),
        0,
        keep=not (rejected and config.honour_rejects),
        reason=why,
    )


def judge_data_mining(flag: str | None, config: GatesConfig) -> Verdict:
    """Does its PLUS data mining flag allow to train on it?

    `flag` is the vocabulary's URI or its last part. The value is 1 where it forbids. A flag that is
    not in the vocabulary counts as forbidding: somebody meant to say something.
    """
    key = (flag or "").strip().rstrip("/").rsplit("/", 1)[-1].upper()
    unknown = f"{key[:60]!r} isn't a known value and is read as a prohibition"
    says = _DATA_MINING.get(key, unknown) if key else ""
    return verdict(
        "data_mining",
        float(bool(says)),
        0,
        keep=not (says and config.honour_data_mining),
        reason=f"its metadata's data mining flag: {says}",
    )
