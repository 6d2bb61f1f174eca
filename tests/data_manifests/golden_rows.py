"""The rows that stand in golden/vN, one table per noun; `python golden_rows.py vN` writes them.

golden/v1 was written by the code of the first release. A folder is never changed once its schema
is released: a change to a noun raises SCHEMA_VERSION and adds a folder.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_manifests.records import (
    Agreement,
    Annotation,
    Box,
    Capture,
    Consensus,
    Consent,
    ConsentEntry,
    Cover,
    Crop,
    Export,
    Face,
    Photo,
    Point,
    Pose,
    Region,
    Retouch,
    Rights,
    Sample,
    Standing,
    Suggestion,
    Task,
    Tombstone,
    Verdict,
)
from data_manifests.seals import reseal
from data_manifests.store import Store

GOLDEN = Path(__file__).parent / "golden"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
A, B = "a" * 64, "b" * 64
BOX, POINT = Box(left=1.0, top=2.0, right=30.0, bottom=40.0), Point(x=3.0, y=4.5)
GATE = Verdict(gate="long_side", value=9000.0, threshold=8192.0, keep=True, reason="long enough")
CAPTURE: dict[str, Any] = {
    "camera": "Maker Model",
    "lens": "85mm",
    "focal_length_mm": 85.0,
    "focal_length_35mm": 85.0,
    "aperture_f": 2.0,
    "iso": 100,
    "shutter_s": 0.01,
    "taken_at": WHEN,
}
CROP: dict[str, Any] = {
    "path": "crops/x.png",
    "sha256": "x",
    "kind": "aligned",
    "width": 512,
    "height": 512,
    "matrix": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}


def rows(version: int) -> dict[type, list[Any]]:
    """What golden/v<version> holds, in the nouns of today."""
    return (_first, _second, _third)[version - 1]()


def _first() -> dict[type, list[Any]]:
    photo = Photo(
        photo_id=A,
        path="/originals/a.jpg",
        state="kept",
        size_bytes=10,
        width=9000,
        height=6000,
        bit_depth=8,
        format="JPEG",
        capture=Capture(**CAPTURE),
        verdicts=(GATE,),
        consent_id="c1",
        subject_id="s1",
        photographer="p",
        copies=("/b.jpg",),
    )
    other = Photo(
        photo_id=B,
        path="/originals/b.jpg",
        state="quarantined",
        reasons=("truncated",),
        size_bytes=3,
    )
    face = Face(
        face_id=f"{A}-1",
        photo_id=A,
        index=0,
        box=BOX,
        landmarks=(POINT,) * 5,
        pose=Pose(roll=1.0, yaw=0.1, pitch=0.0),
        score=0.9,
        finder="haar",
        crops=(Crop(**CROP),),
        left_eye_box=BOX,
        verdicts=(GATE,),
    )
    sample = Sample(
        sample_id="1" * 32,
        photo_id=A,
        face_id=face.face_id,
        annotation_ids=("s:1",),
        crop_path="crops/x.png",
        crop_sha256="x",
        width=512,
        height=512,
        caption="A portrait.",
        semantic_tags=("gender/woman",),
        landmarks=(POINT,) * 5,
        left_eye_box=BOX,
        native_width=1000.0,
        native_height=1000.0,
        split="train",
        consent_id="c1",
    )
    consent = Consent(
        consent_id="c1", purposes=("training",), basis="release", valid_from=WHEN, note="n"
    )
    return {
        Photo: [photo, other],
        Face: [face],
        Sample: [sample],
        Consent: [consent],
        **_answers(),
    }


def _answers() -> dict[type, list[Any]]:
    task = Task(
        task_key=f"{A}:triage:1",
        photo_id=A,
        kind="triage",
        state="labelled",
        image_path="p.jpg",
        image_width=10,
        image_height=10,
        server="s",
        task_id=3,
        sent_at=WHEN,
    )
    annotation = Annotation(
        annotation_id="s:1",
        task_key=task.task_key,
        photo_id=A,
        annotator="anna",
        state="counted",
        decision="accept",
        rating=4,
        semantic_tags=("gender/woman",),
        caption="A portrait.",
        regions=(Region(label="face", box=BOX),),
        raw="{}",
        created_at=WHEN,
        updated_at=WHEN,
    )
    consensus = Consensus(
        photo_id=A,
        decision="accept",
        voters=1,
        agreement=1.0,
        conflict=False,
        rating=4.0,
        caption="A portrait.",
        agreements=(Agreement(question="decision", value="accept", voters=1, share=1.0),),
        annotation_ids=("s:1",),
    )
    retouch = Retouch(
        retouch_id="r",
        photo_id=A,
        path="/r.tif",
        match_method="id",
        match_score=1.0,
        state="approved",
        verdicts=(GATE,),
    )
    return {Task: [task], Annotation: [annotation], Consensus: [consensus], Retouch: [retouch]}


def _second() -> dict[type, list[Any]]:
    first = _first()
    photo, other = first[Photo]
    facts = Capture(**CAPTURE, body_serial="ab", lens_serial="cd")
    rights = Rights(creator="p", model_release="MR-UMR", model_release_ids=("7",))
    said = Suggestion(question="gender", value="woman", score=0.7)
    more: dict[str, Any] = {
        "capture": facts,
        "rights": rights,
        "keywords": ("k",),
        "modified_ns": 5,
        "embedding": (0.6, 0.8),
        "suggestions": (said,),
        "shot_id": "shot",
    }
    crop = Crop(**CROP, bit_depth=16, covers=(Cover(part="hair", share=0.5),))
    entry = ConsentEntry(
        entry_id="0000000000",
        kind="grant",
        consent_id="c1",
        terms="{}",
        at=WHEN,
        terms_sha256="t",
        previous_sha256="0" * 64,
        entry_sha256="e",
    )
    grave = Tombstone(mark="m", kind="photo", reason="request", erased_at=WHEN, receipt_id="r")
    export = Export(export_id="e", path="/e", format="parquet", samples_version=2, made_at=WHEN)
    return first | {
        Photo: [replace(photo, **more), other],
        Face: [replace(first[Face][0], crops=(crop,))],
        Sample: [replace(first[Sample][0], person="s1", annotation_versions=(WHEN.isoformat(),))],
        Consent: [replace(first[Consent][0], subject_id="s1", is_minor=True, guardian="g")],
        ConsentEntry: [entry],
        Tombstone: [grave],
        Retouch: [replace(first[Retouch][0], crop=crop)],
        Export: [export],
    }


def _third() -> dict[type, list[Any]]:
    second = _second()
    photo, other = second[Photo]
    said = replace(photo.suggestions[0], origin="open_clip ViT-B-32")
    asked = {"desk": "anna", "form": "f", "sent_sha256": "5", "retouch_id": "r"}
    region = Region(
        label="blemish", box=BOX, mask_path="masks/m.png", priority="must_fix", note="here"
    )
    settled = replace(second[Consensus][0].agreements[0], measure="share")
    came = {"returned_at": WHEN, "width": 9000, "height": 6000, "bit_depth": 16}
    standing = Standing(
        photo_id=A,
        state="review",
        round=1,
        waits_for="reviewer",
        moved_by="retoucher",
        why="came back",
        since=WHEN,
    )
    return second | {
        Photo: [replace(photo, suggestions=(said,)), other],
        Task: [replace(second[Task][0], **asked, uncertainty=0.25)],
        Annotation: [
            replace(
                second[Annotation][0], regions=(region,), source="xmp", form="f", edited_by="bob"
            )
        ],
        Consensus: [
            replace(
                second[Consensus][0], agreements=(settled,), regions=(region,), adjudicated=True
            )
        ],
        Retouch: [replace(second[Retouch][0], reasons=("over_smoothed",), **came)],
        Standing: [standing],
    }


def name_no_machine(folder: Path) -> None:
    """Delta notes where a table was made; a golden table was made nowhere in particular."""
    for first in folder.glob(f"*/_delta_log/{0:020d}.json"):
        table = first.parents[1]
        here = f"file://{folder.absolute()}/"
        first.write_text(first.read_text().replace(here, "file:///portraits/tables/"))
        reseal(table)


if __name__ == "__main__":
    folder = GOLDEN / sys.argv[1]
    for noun, standing in rows(int(sys.argv[1].removeprefix("v"))).items():
        Store(folder).upsert(noun, standing, why="golden")
    name_no_machine(folder)
    (folder / ".lock").unlink()
