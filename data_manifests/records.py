"""The nouns of the house: one frozen dataclass each; the Arrow schemas are derived from them.

Pixel coordinates: origin at the top left corner of the upright photo, x to the right, y down; a box
covers [left, right) x [top, bottom). Landmarks come in the order of `LANDMARK_NAMES`, where "left"
is the left side *of the picture*, as face detectors and the FFHQ template have it. Times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from data_manifests.labels import (
    Agreement,
    Annotation,
    Consensus,
    Region,
    Retouch,
    Standing,
    Task,
)
from data_manifests.permissions import Consent, ConsentEntry, Tombstone
from data_manifests.shapes import (
    LANDMARK_NAMES,
    Box,
    Cover,
    Crop,
    Point,
    Pose,
    Verdict,
    column,
)

__all__ = [
    "LANDMARK_NAMES",
    "Agreement",
    "Annotation",
    "Box",
    "Capture",
    "Consensus",
    "Consent",
    "ConsentEntry",
    "Cover",
    "Crop",
    "Export",
    "Face",
    "Photo",
    "Point",
    "Pose",
    "Region",
    "Retouch",
    "Rights",
    "Sample",
    "Standing",
    "Suggestion",
    "Task",
    "Tombstone",
    "Verdict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """How a photo was taken, as far as its metadata says."""

    camera: str | None = column("maker and model", default=None)
    lens: str | None = column("lens model", default=None)
    focal_length_mm: float | None = column("focal length", unit="mm", default=None)
    focal_length_35mm: float | None = column("equivalent on 24 x 36 mm", unit="mm", default=None)
    aperture_f: float | None = column("f-number", default=None)
    iso: int | None = column("sensitivity", default=None)
    shutter_s: float | None = column("exposure time", unit="s", default=None)
    taken_at: datetime | None = column(
        "camera clock, taken as UTC unless it says an offset", default=None
    )
    body_serial: str | None = column("hash of the camera's serial number", default=None)
    lens_serial: str | None = column("hash of the lens's serial number", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who made a photo and what its metadata allows. Source: IPTC Photo Metadata 2023, PLUS."""

    creator: str | None = column("creator", default=None)
    copyright: str | None = column("copyright notice", default=None)
    usage_terms: str | None = column("rights usage terms", default=None)
    model_release: str | None = column("PLUS model release status, such as MR-UMR", default=None)
    model_release_ids: tuple[str, ...] = column("PLUS model release identifiers", default=())
    data_mining: str | None = column(
        "PLUS data mining flag, such as DMI-PROHIBITED-GENAIMLTRAINING", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A tag that a model proposes; it counts for nothing until a person confirms it."""

    question: str = column("what was asked")
    value: str = column("the likeliest answer")
    score: float = column("the model's confidence, 0 to 1")
    origin: str = column("which model and version proposed it", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """An original file and what was judged about it."""

    photo_id: str = column("SHA-256 of the file's bytes, hexadecimal", key=True)
    path: str = column("where it was found")
    copies: tuple[str, ...] = column("other paths with the same bytes", default=())
    state: str = column("kept, set_aside (a gate said no) or quarantined (could not be read)")
    reasons: tuple[str, ...] = column("short codes of why it was not kept", default=())
    format: str = column("JPEG, PNG, TIFF, WEBP, AVIF, HEIF or RAW, from the bytes", default="")
    size_bytes: int = column("size of the file", unit="byte")
    width: int = column("width of the upright photo", unit="px", default=0)
    height: int = column("height of the upright photo", unit="px", default=0)
    bit_depth: int = column("bits per channel in the file", unit="bit", default=0)
    orientation: int = column("EXIF orientation that was baked in, 1 if none", default=1)
    colour_profile: str = column(
        "name of the embedded ICC profile, or untagged", default="untagged"
    )
    capture: Capture | None = column("capture facts", default=None)
    photographer: str | None = column("who took it", default=None)
    licence: str | None = column("licence of the photo", default=None)
    consent_id: str | None = column("the consent that covers it", default=None)
    subject_id: str | None = column("who is in it, as a pseudonym", default=None)
    xmp_rating: int | None = column("-1 rejected, 0 unrated, 1 to 5", default=None)
    xmp_label: str | None = column("colour label, as written", default=None)
    perceptual_hash: str | None = column("256-bit pHash, hexadecimal", default=None)
    near_duplicate_of: str | None = column("photo_id of the one kept instead", default=None)
    proxy_path: str | None = column("2048 px sRGB JPEG, relative to media/", default=None)
    proxy_width: int = column("width of the proxy", unit="px", default=0)
    proxy_height: int = column("height of the proxy", unit="px", default=0)
    verdicts: tuple[Verdict, ...] = column("what each gate said", default=())
    ingest_key: str = column("hash of the settings and code version that judged it", default="")
    modified_ns: int = column("file's time of change when it was read", unit="ns", default=0)
    pixel_hash: str | None = column("XXH3-128 of the upright pixels", default=None)
    thumb_path: str | None = column("320 px sRGB JPEG, relative to media/", default=None)
    development: str | None = column("how a RAW was developed, with LibRaw's version", default=None)
    rights: Rights | None = column("creator, licence terms, releases", default=None)
    xmp_pick: int | None = column("flag: 1 picked, -1 rejected, 0 neither", default=None)
    keywords: tuple[str, ...] = column("the photographer's keywords", default=())
    latitude: float | None = column("only if asked for", unit="degree", default=None)
    longitude: float | None = column("only if asked for", unit="degree", default=None)
    notes: tuple[str, ...] = column("oddities that did not cost the photo", default=())
    shot_id: str | None = column("files of one shot (RAW, JPEG, edits) share it", default=None)
    duplicate_group: str | None = column("near duplicates and bursts share it", default=None)
    descriptor: str | None = column(
        "small colour picture as a unit vector, 16-bit integers in base64, to verify duplicates",
        default=None,
    )
    embedding: tuple[float, ...] = column("unit vector of the embedder", default=())
    embedder: str | None = column("model that made embedding and suggestions", default=None)
    suggestions: tuple[Suggestion, ...] = column("tags a model proposes", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face found in a photo."""

    face_id: str = column("photo_id, a dash and 12 digits of the box's hash", key=True)
    photo_id: str = column("the photo it was found in")
    index: int = column("0 for the largest face of the photo")
    box: Box = column("the face in photo pixels")
    landmarks: tuple[Point, ...] = column(
        "five points in photo pixels, empty if the finder gives none", default=()
    )
    pose: Pose | None = column("estimated from the landmarks", default=None)
    score: float | None = column("the finder's confidence, 0 to 1", default=None)
    finder: str = column("name and version of the face finder")
    landmark_source: str = column("finder, person or none", default="none")
    eye_distance: float | None = column(
        "between the eye centres in the original", unit="px", default=None
    )
    crops: tuple[Crop, ...] = column("aligned crop and tiles", default=())
    left_eye_box: Box | None = column("in aligned-crop pixels", default=None)
    right_eye_box: Box | None = column("in aligned-crop pixels", default=None)
    nose_box: Box | None = column("in aligned-crop pixels", default=None)
    mouth_box: Box | None = column("in aligned-crop pixels", default=None)
    identity_group: str | None = column("same person, if consent allows grouping", default=None)
    verdicts: tuple[Verdict, ...] = column("what each gate said about this face", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A copy of samples that left the tables, so that an erasure knows where to go."""

    export_id: str = column("hash of path and format", key=True)
    path: str = column("absolute folder it was written to")
    format: str = column("parquet, datasets or webdataset")
    samples_version: int = column("version of the samples table it holds")
    made_at: datetime = column("when")
    options: str = column("the export's options as JSON", default="{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What training reads: one aligned crop with its words and boxes."""

    sample_id: str = column(
        "SHA-256 over the crop's hash and the face id, first 32 digits", key=True
    )
    photo_id: str = column("the photo")
    face_id: str = column("the face")
    retouch_id: str | None = column(
        "the retouched file the crop was cut from, if any", default=None
    )
    annotation_ids: tuple[str, ...] = column("answers behind the words", default=())
    crop_path: str = column("relative to media/")
    crop_sha256: str = column("SHA-256 of the crop")
    width: int = column("width of the crop", unit="px")
    height: int = column("height of the crop", unit="px")
    caption: str = column("sentence or tags that describe the crop", default="")
    semantic_tags: tuple[str, ...] = column("what is in the picture", default=())
    photographic_tags: tuple[str, ...] = column("how it was photographed", default=())
    landmarks: tuple[Point, ...] = column("in crop pixels", default=())
    left_eye_box: Box | None = column("in crop pixels", default=None)
    right_eye_box: Box | None = column("in crop pixels", default=None)
    nose_box: Box | None = column("in crop pixels", default=None)
    mouth_box: Box | None = column("in crop pixels", default=None)
    native_width: float = column(
        "width of the same area in the original: SDXL's original size", unit="px"
    )
    native_height: float = column("height of the same area in the original", unit="px")
    crop_left: int = column("SDXL's crop offset; 0 for an aligned crop", unit="px", default=0)
    crop_top: int = column("SDXL's crop offset; 0 for an aligned crop", unit="px", default=0)
    weight: float = column("how much it counts in training", default=1.0)
    split: str = column("train, validation or test; one person is never in two")
    consent_id: str = column("the consent it stands on")
    annotation_versions: tuple[str, ...] = column(
        "server time of change of each answer, in the order of annotation_ids", default=()
    )
    person: str | None = column(
        "subject or identity group that its split was drawn by, none if unknown", default=None
    )
