"""The join behind a build, in columns: photos, main faces, answers, retouches and consents.

Arrow tables in, an Arrow table of Samples out, with the reason of every photo that made none.
Arrays are named by what their rows are: `_P` photos, `_S` the photos that become samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_manifests.consent import refusal
from data_manifests.crop_columns import AlignedCrops, aligned_crops, first_aligned, moved_points
from data_manifests.records import Consent, Sample
from data_manifests.schema import arrow_schema
from data_manifests.splits import groups, splits

if TYPE_CHECKING:
    from data_manifests.assemble import BuildConfig

__all__ = ["COLUMNS", "DEFAULT_CAPTION", "Joined", "Sources", "join"]

# What the join reads of each table; the rest of a photo's row is never loaded.
COLUMNS: dict[str, list[str]] = {
    "photos": [
        "photo_id",
        "state",
        "reasons",
        "consent_id",
        "subject_id",
        "shot_id",
        "duplicate_group",
    ],
    "faces": [
        "photo_id",
        "face_id",
        "index",
        "landmarks",
        "crops",
        "left_eye_box",
        "right_eye_box",
        "nose_box",
        "mouth_box",
        "identity_group",
    ],
    "consensus": [
        "photo_id",
        "decision",
        "voters",
        "conflict",
        "rating",
        "semantic_tags",
        "photographic_tags",
        "caption",
        "annotation_ids",
    ],
    "annotations": ["annotation_id", "updated_at"],
    "retouches": ["photo_id", "retouch_id", "state", "round", "crop"],
}
ANSWERS = {"retouch": "waits_for_retouch", "reject": "rejected"}
DEFAULT_CAPTION = "portrait photograph of a face"  # where nobody said anything


@dataclass(frozen=True, slots=True)
class Sources:
    """The tables that a build reads, with at least the columns of COLUMNS, and the consents.

    `samples` are those of the last build with the same draw: their splits are kept.
    """

    photos: pa.Table
    faces: pa.Table
    consensus: pa.Table
    annotations: pa.Table
    retouches: pa.Table
    consents: Sequence[Consent]
    samples: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples ordered by key, and why each other photo was left out."""

    samples: pa.Table
    photo_ids: pa.Array  # of those left out
    reasons: pa.Array  # theirs, in the same order


@dataclass(frozen=True, slots=True)
class _Rows:
    """What stands about each photo, row by row; nulls where nothing does."""

    photos: pa.Table
    faces: pa.Table
    answers: pa.Table
    retouched: pa.Table
    crops: AlignedCrops

    def take(self, rows: NDArray[Any]) -> _Rows:
        places = pa.array(rows)
        return _Rows(
            self.photos.take(places),
            self.faces.take(places),
            self.answers.take(places),
            self.retouched.take(places),
            self.crops.take(rows),
        )


def join(sources: Sources, config: BuildConfig, now: datetime) -> Joined:
    """Every photo ends as one sample or is left out for one reason."""
    rows_P = _side_by_side(sources)
    reason_P = _reasons(rows_P, _refusals(rows_P.photos, sources.consents, config, now), config)
    ids = rows_P.photos.column("photo_id")
    group_P = groups(_links(rows_P), ids.to_pylist())
    taken, out = np.flatnonzero(reason_P == ""), np.flatnonzero(reason_P != "")
    samples = _samples(rows_P.take(taken), sources.annotations, config)
    drawn = splits(group_P, _standing(ids, sources.samples), config)
    return Joined(
        _as_samples(samples | _split_columns([group_P[i] for i in taken], drawn)),
        ids.take(pa.array(out)).combine_chunks(),
        pa.array(reason_P[out], pa.string()),
    )


def _side_by_side(sources: Sources) -> _Rows:
    photos = sources.photos.combine_chunks()
    faces = _matched(photos, _main_faces(sources.faces))
    retouched = _matched(photos, _newest_approved(sources.retouches))
    crops = aligned_crops(faces.column("crop"), retouched.column("crop"))
    return _Rows(photos, faces, _matched(photos, sources.consensus), retouched, crops)


def _main_faces(faces: pa.Table) -> pa.Table:
    """With the one crop that counts: to carry all six along takes most of a join's time."""
    crop = first_aligned(faces.column("crops"))
    lean = faces.drop_columns("crops").append_column("crop", crop)
    return lean.filter(pc.equal(lean.column("index"), 0))


def _newest_approved(retouches: pa.Table) -> pa.Table:
    """One row a photo: the approved retouch of the last round."""
    approved = retouches.filter(pc.equal(retouches.column("state"), "approved"))
    order = [("round", "descending"), ("retouch_id", "ascending")]
    newest: dict[str, int] = {}
    ordered = approved.sort_by(order)
    for row, photo_id in enumerate(ordered.column("photo_id").to_pylist()):
        newest.setdefault(photo_id, row)
    return ordered.take(pa.array(list(newest.values()), pa.int64()))


def _matched(photos: pa.Table, other: pa.Table) -> pa.Table:
    """The other table's row for each photo, nulls where it has none."""
    places = pc.index_in(photos.column("photo_id"), value_set=other.column("photo_id"))
    nullable = pa.schema([f.with_nullable(True) for f in other.schema])
    return other.cast(nullable).take(places).combine_chunks()


def _reasons(rows: _Rows, refused: NDArray[Any], config: BuildConfig) -> NDArray[Any]:
    """Per photo why it makes no sample, empty if it does; the first reason that holds."""
    state = rows.photos.column("state")
    unkept = pc.binary_join_element_wise(state, _why_not_kept(rows.photos), ": ")
    answered = _answer_reasons(rows.answers, rows.crops, config)
    return np.select(
        [
            _flags(pc.not_equal(state, "kept")),
            _flags(pc.is_null(rows.faces.column("face_id"))),
            ~rows.crops.there,
        ],
        [_texts(unkept), "no_face", "no_aligned_crop"],
        np.where(answered == "", refused, answered),
    )


def _why_not_kept(photos: pa.Table) -> Any:
    said = pc.binary_join(photos.column("reasons").combine_chunks(), ", ")
    said = pc.if_else(pc.equal(pc.fill_null(said, ""), ""), "no reason given", said)
    return pa.chunked_array([said])


def _answer_reasons(answers: pa.Table, crops: AlignedCrops, config: BuildConfig) -> NDArray[Any]:
    decision = _texts(answers.column("decision"))
    silent = _flags(pc.equal(pc.fill_null(answers.column("voters"), 0), 0))
    torn = _flags(pc.fill_null(answers.column("conflict"), False)) | (decision == "")
    done = (decision == "accept") | ((decision == "retouch") & crops.retouched)
    named = np.array([ANSWERS.get(d, "rejected") for d in decision], dtype=object)
    return np.select(
        [silent, torn, done],
        ["" if config.accept_unreviewed else "not_reviewed", "reviewers_disagree", ""],
        named,
    )


def _refusals(
    photos: pa.Table, consents: Sequence[Consent], config: BuildConfig, now: datetime
) -> NDArray[Any]:
    ledger = {c.consent_id: refusal(c, config.purpose, now) or "" for c in consents}
    missing = refusal(None, config.purpose, now) or ""
    named = photos.column("consent_id").to_pylist()
    return np.array([ledger.get(c, missing) for c in named], dtype=object)


def _links(rows: _Rows) -> Mapping[str, list[str | None]]:
    return {
        "subject": rows.photos.column("subject_id").to_pylist(),
        "identity": rows.faces.column("identity_group").to_pylist(),
        "shot": rows.photos.column("shot_id").to_pylist(),
        "duplicates": rows.photos.column("duplicate_group").to_pylist(),
    }


def _samples(rows: _Rows, annotations: pa.Table, config: BuildConfig) -> dict[str, Any]:
    crops, answers, faces = rows.crops, rows.answers, rows.faces
    face_ids = faces.column("face_id").to_pylist()
    keys = zip(crops.sha256.to_pylist(), face_ids, strict=True)
    cited = _lists(answers.column("annotation_ids"))
    return {
        "sample_id": [hashlib.sha256(f"{c}:{f}".encode()).hexdigest()[:32] for c, f in keys],
        "photo_id": rows.photos.column("photo_id"),
        "face_id": faces.column("face_id"),
        "retouch_id": pc.if_else(
            pa.array(crops.retouched), rows.retouched.column("retouch_id"), None
        ),
        "annotation_ids": cited,
        "annotation_versions": _versions(cited, annotations),
        "crop_path": crops.path,
        "crop_sha256": crops.sha256,
        "width": crops.width,
        "height": crops.height,
        "caption": _captions(answers),
        "semantic_tags": _lists(answers.column("semantic_tags")),
        "photographic_tags": _lists(answers.column("photographic_tags")),
        "landmarks": moved_points(faces.column("landmarks"), crops.matrix_N23),
        **{name: faces.column(name) for name in faces.column_names if name.endswith("_box")},
        "native_width": crops.width / crops.scale,
        "native_height": crops.height / crops.scale,
        "crop_left": np.zeros(len(face_ids), np.int64),
        "crop_top": np.zeros(len(face_ids), np.int64),
        "weight": _weights(answers, config),
        "consent_id": pc.fill_null(rows.photos.column("consent_id"), ""),
    }


def _as_samples(columns: dict[str, Any]) -> pa.Table:
    schema = arrow_schema(Sample)
    arrays = [_as(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema).sort_by("sample_id")


def _captions(answers: pa.Table) -> list[str]:
    """The people's caption, else their tags in words."""
    tags = zip(
        answers.column("semantic_tags").to_pylist(),
        answers.column("photographic_tags").to_pylist(),
        strict=True,
    )
    return [
        said
        or ", ".join(t.split("/", 1)[-1].replace("_", " ") for g in both for t in g or ())
        or DEFAULT_CAPTION
        for said, both in zip(answers.column("caption").to_pylist(), tags, strict=True)
    ]


def _weights(answers: pa.Table, config: BuildConfig) -> NDArray[np.float64]:
    """By the median stars, read off between the settings' whole ones; 1 without stars."""
    stars = np.asarray(answers.column("rating").to_numpy(zero_copy_only=False), np.float64)
    weights = np.interp(stars, np.arange(1, 6), config.star_weights)
    return np.where(np.isnan(stars), 1.0, weights)


def _standing(photo_ids: Any, samples: pa.Table | None) -> list[str | None]:
    """The split that each photo's sample has, none where it has no sample yet."""
    if samples is None:
        return [None] * len(photo_ids)
    places = pc.index_in(photo_ids, value_set=samples.column("photo_id"))
    found: list[str | None] = samples.column("split").take(places).to_pylist()
    return found


def _split_columns(names: list[str], drawn: Mapping[str, str]) -> dict[str, Any]:
    people = [n.split(":", 1)[1] if n.startswith(("subject", "identity")) else None for n in names]
    return {"split": [drawn[n] for n in names], "person": people}


def _versions(cited: Any, annotations: pa.Table) -> Any:
    """The server's time of change of each answer, as text, in the lists' shape."""
    cited = cited.combine_chunks() if isinstance(cited, pa.ChunkedArray) else cited
    places = pc.index_in(cited.flatten(), value_set=annotations.column("annotation_id"))
    times = annotations.column("updated_at").take(places)
    texts = pc.fill_null(pc.strftime(times, format="%Y-%m-%dT%H:%M:%SZ"), "")
    flat = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    lengths = np.asarray(pc.list_value_length(cited))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _lists(column: Any) -> Any:
    """Empty lists for nulls."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.fill_null(column, pa.scalar([], column.type))


def _as(values: Any, kind: pa.DataType) -> Any:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def _texts(column: Any) -> NDArray[Any]:
    return np.asarray(pc.fill_null(column, "").to_numpy(zero_copy_only=False), dtype=object)


def _flags(column: Any) -> NDArray[np.bool_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)
