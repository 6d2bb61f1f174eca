"""Limits of what counts as an honest retouch.

Each lies between the worst honest pair and the mildest damage of the tuning half of
`benchmarks/retouch.py`; the comments give both.
"""

from __future__ import annotations

from pydantic import Field

from data_manifests.config import Section

__all__ = ["RetouchConfig"]


class RetouchConfig(Section):
    """How returned files are taken, matched and judged."""

    settle_s: float = Field(
        default=3.0, ge=0, le=600, description="how long a file must stay the same to be taken"
    )
    poll_s: float = Field(
        default=5.0, gt=0, le=3600, description="how often --watch looks into the folder"
    )
    shortlist: int = Field(
        default=12, ge=1, le=200, description="photos compared by pixels for one unnamed file"
    )
    least_inliers: int = Field(
        default=30, ge=8, description="matching points that make two pictures one"
    )
    least_overlap: float = Field(
        default=0.7, gt=0, le=1, description="share of the photo that a crop must still show"
    )
    # Honest files lie within 0.01 px, 0.0001 in scale and 0.004 deg. The limits are what moves the
    # edge of a face 2000 px wide by half a pixel.
    most_scale_change: float = Field(
        default=0.0005, ge=0, description="scale against the photo, as a share"
    )
    most_rotation: float = Field(default=0.03, ge=0, description="turn against the photo, degree")
    most_stretch: float = Field(
        default=0.005, ge=0, description="width to height against the photo's own, as a share"
    )
    most_shift: float = Field(
        default=0.25, ge=0, description="shift against the photo or a whole-pixel crop of it, px"
    )
    least_correlation: float = Field(
        default=0.5, ge=0, le=1, description="of fine detail after registration; less is no match"
    )
    # Honest 0.955 (saved as JPEG 97), a blur of 0.6 px 0.71.
    least_texture: float = Field(
        default=0.88,
        ge=0,
        le=1,
        description="skin texture kept in the worst fifth of the face; less is over-smoothed",
    )
    warn_texture: float = Field(
        default=0.95, ge=0, le=1, description="below it the reviewer is told to look closely"
    )
    # Honest 1.12, sharpened 1.8.
    most_texture: float = Field(
        default=1.3, ge=1, description="texture after over before; more is over-sharpened"
    )
    # Honest 1.1 (a slight lift of the mid tones), casts of 6 to 8 % in two channels 3.3 and more.
    most_colour_drift: float = Field(
        default=2.5, ge=0, description="between the median colours, CIEDE2000"
    )
    warn_colour_drift: float = Field(
        default=1.5, ge=0, description="above it the reviewer is told, CIEDE2000"
    )
    # Black-and-white copies of 14 portraits kept 0.0065 at most.
    least_colour: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="of the colours' strength that must be left, as a share",
    )
    # Honest 1.0, enlarged from half the size 0.60.
    least_resolution: float = Field(
        default=0.8, ge=0, le=1, description="finest detail kept, as a share of the photo's own"
    )
    # Honest 0.001 (brightened eyes), a nose pushed by 4 % of the eye distance 0.015.
    most_reshaping: float = Field(
        default=0.005, ge=0, description="local displacement of the face over the eye distance"
    )
    warn_reshaping: float = Field(
        default=0.0025,
        ge=0,
        description="above it the reviewer is told, and moved landmarks count against the file",
    )
    most_landmark_shift: float = Field(
        default=0.03, ge=0, description="a landmark's move over the eye distance"
    )
    warn_landmark_shift: float = Field(
        default=0.015, ge=0, description="above it the reviewer is told, over the eye distance"
    )
    changed_from: float = Field(
        default=4.0, gt=0, description="colour difference from which a pixel counts as changed"
    )
    most_unasked: float = Field(
        default=0.02, ge=0, le=1, description="changed area outside the regions that were asked for"
    )
    most_changed_to_stay: float = Field(
        default=0.02, ge=0, le=1, description="changed share of what people asked to leave alone"
    )
    most_identity_shift: float = Field(
        default=0.2, ge=0, le=2, description="cosine distance of the face before and after"
    )
    most_clipped: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="newly black or white share of the face; more is told to the reviewer",
    )
    # Honest 0.015 (a slight lift), contrast raised by a fifth 0.16, half of the levels 0.5.
    warn_banding: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of emptied levels in the face above which the reviewer is told",
    )
