"""The nouns of people's work: what they are asked, what they answer, and where a photo stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from data_manifests.shapes import Box, Crop, Point, Verdict, column

__all__ = ["Agreement", "Annotation", "Consensus", "Region", "Retouch", "Standing", "Task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question sent out to photographers."""

    task_key: str = column(
        "photo_id, kind, round and the desk if it has one, joined by colons", key=True
    )
    photo_id: str = column("the photo it asks about")
    kind: str = column("triage, retouch or review")
    round: int = column("1 for the first time it is asked", default=1)
    state: str = column("waiting, sent, labelled, skipped, set_aside or deleted")
    image_path: str = column("the picture shown, relative to media/")
    image_width: int = column("its width", unit="px")
    image_height: int = column("its height", unit="px")
    server: str | None = column("identity of the Label Studio it was sent to", default=None)
    project_id: int | None = column("Label Studio project", default=None)
    task_id: int | None = column("Label Studio task", default=None)
    note: str = column("why it is asked", default="")
    sent_at: datetime | None = column("when the server made it", default=None)
    updated_at: datetime | None = column("the server's last change seen", default=None)
    desk: str = column("whose project it is in, empty for the one all share", default="")
    form: str = column("version of the form it was last sent with", default="")
    sent_sha256: str | None = column(
        "hash of what the server was sent, which tells what must be sent again", default=None
    )
    retouch_id: str | None = column("the returned file that a review is about", default=None)
    uncertainty: float | None = column(
        "0 sure to 1 unsure; the most unsure are asked first", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A box or point that a person drew or confirmed."""

    label: str = column("what it marks")
    box: Box | None = column("in photo pixels", default=None)
    point: Point | None = column("in photo pixels", default=None)
    origin: str = column("manual, prediction or prediction-changed", default="manual")
    mask_path: str | None = column(
        "painted area: a PNG below media/, of the size of the picture shown", default=None
    )
    priority: str | None = column("must_fix, nice_to_have or keep_as_is", default=None)
    note: str | None = column("what the person says about it", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One person's answer."""

    annotation_id: str = column("the server's unique id of the answer", key=True)
    task_key: str = column("the question")
    photo_id: str = column("the photo")
    annotator: str = column("pseudonym of the person")
    state: str = column("counted, skipped, set_aside (a rule refused it) or deleted")
    flags: tuple[str, ...] = column("names of the merge rules that fired", default=())
    decision: str | None = column(
        "accept, retouch or reject; approve, fix or reject in a review", default=None
    )
    reasons: tuple[str, ...] = column("why it was rejected", default=())
    rating: int | None = column("stars, 1 to 5", default=None)
    semantic_tags: tuple[str, ...] = column("question/value, what is in the picture", default=())
    photographic_tags: tuple[str, ...] = column(
        "question/value, how it was photographed", default=()
    )
    caption: str | None = column("the caption as edited", default=None)
    note: str | None = column("note for the retoucher", default=None)
    regions: tuple[Region, ...] = column("boxes and points", default=())
    raw: str = column("the server's JSON result, as it came")
    lead_time_s: float | None = column("how long the person took", unit="s", default=None)
    cancelled: bool = column("the person skipped the task", default=False)
    ground_truth: bool = column("used to score annotators, not as a vote", default=False)
    created_at: datetime | None = column("server time", default=None)
    updated_at: datetime | None = column("server time", default=None)
    source: str = column("label_studio, xmp, csv or import", default="label_studio")
    form: str = column("version of the form it answers", default="")
    edited_by: str | None = column(
        "pseudonym of who changed it last, if somebody else did", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far people agree on one question."""

    question: str = column("name of the question")
    value: str = column("what was settled, empty if it was not")
    voters: int = column("how many answered")
    share: float = column("share of voters for the value, 0 to 1")
    measure: str = column("how they were compared: share, iou or distance", default="share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """What the people agree on for one photo."""

    photo_id: str = column("the photo", key=True)
    decision: str | None = column("settled decision, none on conflict", default=None)
    voters: int = column("people whose answers counted")
    agreement: float | None = column("share for the leading decision, 0 to 1", default=None)
    conflict: bool = column("true if the decision needs another pair of eyes")
    reasons: tuple[str, ...] = column(
        "reject reasons that at least half the rejecting voters gave", default=()
    )
    rating: float | None = column("median stars", default=None)
    semantic_tags: tuple[str, ...] = column("tags that at least half the voters gave", default=())
    photographic_tags: tuple[str, ...] = column(
        "tags that at least half the voters gave", default=()
    )
    caption: str | None = column("the newest human caption, never averaged", default=None)
    agreements: tuple[Agreement, ...] = column("question by question", default=())
    annotation_ids: tuple[str, ...] = column("the answers it was made from", default=())
    regions: tuple[Region, ...] = column(
        "boxes agreed on by overlap, landmarks by median, masks by vote", default=()
    )
    adjudicated: bool = column(
        "true if one person settled what the others left open", default=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retouch:
    """A retouched file that came back."""

    retouch_id: str = column("SHA-256 of the returned file", key=True)
    photo_id: str = column("the photo it was made from")
    path: str = column("the copy below media/; how it was called is in the verdict found")
    match_method: str = column(
        "how it was matched: id, document, name, capture, pixels, or person if somebody said so"
    )
    match_score: float = column("how sure the match is, 0 to 1")
    round: int = column("1 for the first return", default=1)
    verdicts: tuple[Verdict, ...] = column(
        "registration, texture ratio, colour drift, resolution", default=()
    )
    state: str = column("waiting, approved, fix, rejected or superseded by a newer file")
    crop: Crop | None = column(
        "aligned crop of the main face, cut from the returned file", default=None
    )
    reasons: tuple[str, ...] = column("why it went back: checks or people's words", default=())
    returned_at: datetime | None = column("when it was taken back", default=None)
    width: int | None = column("width of the returned file", unit="px", default=None)
    height: int | None = column("height of the returned file", unit="px", default=None)
    bit_depth: int | None = column("bits per channel of it", unit="bit", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a photo stands between the people: one row a photo, its past in the versions."""

    photo_id: str = column("the photo", key=True)
    state: str = column("triage, adjudication, retouch, review, done or rejected")
    round: int = column("retouch round, 0 before the first", default=0)
    waits_for: str = column("photographer, adjudicator, retoucher, reviewer or nobody")
    moved_by: str = column("role, and pseudonym where a person did it")
    why: str = column("what moved it there", default="")
    since: datetime | None = column("when it came there", default=None)
