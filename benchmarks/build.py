"""Building the Samples of many photos, beside the same join written in plain pandas.

    python benchmarks/build.py [--photos 100000]

Both read the same tables from disk, choose the same rows, and write a Parquet table; three turns
each, one after the other, each in a process of its own, and the samples are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from data_manifests.assemble import BuildConfig, build
from data_manifests.consent import refusal
from data_manifests.records import (
    Annotation,
    Box,
    Capture,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Point,
    Sample,
    Verdict,
)
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONFIG = BuildConfig()
GATES = ("long_side", "megapixels", "exposure", "sharpness", "noise", "clipping", "faces")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make(folder: Path, photos: int) -> None:
    store = Store(folder / "tables")
    consents = [
        Consent(
            consent_id=f"c{n}",
            purposes=("training",),
            basis="release",
            valid_from=NOW - timedelta(days=9),
            withdrawn_at=NOW - timedelta(days=1) if n % 20 == 0 else None,
        )
        for n in range(200)
    ]
    store.upsert(Consent, consents, why="benchmark")
    for start in range(0, photos, 20_000):  # rows of one noun at a time: records take room
        numbers = range(start, min(start + 20_000, photos))
        for noun, one in (
            (Photo, photo),
            (Face, face),
            (Consensus, consensus),
            (Annotation, answer),
        ):
            rows = [one(n) for n in numbers]
            store.upsert(noun, rows, why="benchmark")


def photo(n: int) -> Photo:
    return Photo(
        photo_id=sha(f"p{n}"),
        path=f"/originals/{n}.jpg",
        state="kept" if n % 7 else "set_aside",
        reasons=() if n % 7 else ("blurred",),
        size_bytes=n,
        width=8192,
        height=6144,
        capture=Capture(camera="Maker Model", iso=100, focal_length_mm=85.0),
        consent_id=f"c{n % 200}",
        subject_id=f"s{n % 3000}",
        verdicts=tuple(Verdict(gate=g, value=1.0, threshold=0.5, keep=True) for g in GATES),
    )


def face(n: int) -> Face:
    kinds = ("aligned_512", "aligned", "aligned_native", "tile", "tile", "tile")
    return Face(
        face_id=f"{sha(f'p{n}')}-1",
        photo_id=sha(f"p{n}"),
        index=0,
        box=BOX,
        landmarks=tuple(Point(x=1000.0 + n % 50 + i, y=2000.0 + i) for i in range(5)),
        finder="benchmark",
        crops=tuple(crop(n, k, i) for i, k in enumerate(kinds)),
        left_eye_box=BOX,
        right_eye_box=BOX,
        nose_box=BOX,
        mouth_box=BOX,
    )


BOX = Box(left=1.0, top=2.0, right=30.0, bottom=40.0)


def crop(n: int, kind: str, index: int) -> Crop:
    name = sha(f"{kind}{index}{n}")
    matrix = (0.5, 0.01 * (n % 7), -100.0, -0.01 * (n % 7), 0.5, -200.0)
    path = f"crops/{name[:2]}/{name}.png"
    return Crop(path=path, sha256=name, kind=kind, width=1024, height=1024, matrix=matrix)


def consensus(n: int) -> Consensus:
    return Consensus(
        photo_id=sha(f"p{n}"),
        decision=("accept", "accept", "accept", "reject", "retouch")[n % 5],
        voters=1,
        conflict=n % 11 == 0,
        rating=4.0,
        semantic_tags=("shot/close_up", "gender/woman"),
        photographic_tags=("light/soft_side", "focus/sharp_eyes"),
        caption=f"A portrait, number {n}" if n % 3 else None,
        annotation_ids=(f"s:{n:07d}",),
    )


def answer(n: int) -> Annotation:
    return Annotation(
        annotation_id=f"s:{n:07d}",
        task_key=f"{sha(f'p{n}')}:triage:1",
        photo_id=sha(f"p{n}"),
        annotator="anna",
        state="counted",
        raw="{}",
        updated_at=NOW,
    )


def by_build(folder: Path) -> None:
    build(Store(folder / "tables"), CONFIG, NOW)


def by_pandas(folder: Path) -> None:
    import pandas as pd

    def read(noun: type) -> Any:
        return Store(folder / "tables").dataset(noun).to_table().to_pandas()

    photos, faces, answers = read(Photo), read(Face), read(Consensus)
    ledger = {c.consent_id: c for c in Store(folder / "tables").read(Consent)}
    times = read(Annotation).set_index("annotation_id")["updated_at"]
    main = faces[faces["index"] == 0]
    joined = photos.merge(main, on="photo_id", how="left", suffixes=("", "_face"))
    joined = joined.merge(answers, on="photo_id", how="left", suffixes=("", "_answer"))
    good = (joined["state"] == "kept") & (joined["conflict"] == False) & joined["face_id"].notna()  # noqa: E712
    good &= joined["decision"] == "accept"
    refused = {key: refusal(c, CONFIG.purpose, NOW) for key, c in ledger.items()}
    good &= joined["consent_id"].map(lambda c: refused.get(c, "no_consent") is None)
    rows = list(joined[good].apply(lambda r: sample_of(r, times), axis=1))
    table_from = pd.DataFrame(rows).sort_values("sample_id")
    table_from.to_parquet(folder / "pandas.parquet")


def sample_of(row: Any, times: Any) -> dict[str, Any]:
    cut = next(c for c in row["crops"] if c["kind"] == "aligned")
    a, b, c, d, e, f = cut["matrix"]
    scale = math.sqrt(abs(a * e - b * d))
    tags = [*row["semantic_tags"], *row["photographic_tags"]]
    words = ", ".join(t.split("/", 1)[-1].replace("_", " ") for t in tags)
    boxes = {k: row[k] for k in ("left_eye_box", "right_eye_box", "nose_box", "mouth_box")}
    digest = hashlib.sha256(f"{CONFIG.salt}:subject:{row['subject_id']}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    held_out = CONFIG.test_share + CONFIG.validation_share
    return {
        "sample_id": sha(f"{cut['sha256']}:{row['face_id']}")[:32],
        "photo_id": row["photo_id"],
        "face_id": row["face_id"],
        "annotation_ids": list(row["annotation_ids"]),
        "annotation_versions": [times[i].isoformat() for i in row["annotation_ids"]],
        "crop_path": cut["path"],
        "crop_sha256": cut["sha256"],
        "width": cut["width"],
        "height": cut["height"],
        "caption": row["caption"] if isinstance(row["caption"], str) else words,
        "semantic_tags": list(row["semantic_tags"]),
        "photographic_tags": list(row["photographic_tags"]),
        "landmarks": [
            {"x": a * p["x"] + b * p["y"] + c, "y": d * p["x"] + e * p["y"] + f}
            for p in row["landmarks"]
        ],
        **boxes,
        "native_width": cut["width"] / scale,
        "native_height": cut["height"] / scale,
        "weight": 1.0,
        "split": "test"
        if place < CONFIG.test_share
        else "validation"
        if place < held_out
        else "train",
        "consent_id": row["consent_id"],
    }


def compare(folder: Path) -> int:
    import pyarrow.parquet as pq

    names = [
        "sample_id",
        "photo_id",
        "caption",
        "crop_sha256",
        "split",
        "native_width",
        "landmarks",
    ]
    ours = Store(folder / "tables").table(Sample).select(names).to_pylist()
    theirs = pq.read_table(folder / "pandas.parquet", columns=names).to_pylist()
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for point, same in zip(one.pop("landmarks"), other.pop("landmarks"), strict=True):
            assert all(math.isclose(point[k], same[k], abs_tol=1e-9) for k in "xy")
        assert math.isclose(one.pop("native_width"), other.pop("native_width"))
        assert one == other
    return len(ours)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--photos", type=int, default=100_000)
    asked.add_argument("--side")
    asked.add_argument("--folder", type=Path)
    told = asked.parse_args()
    if told.side:
        start = time.perf_counter()
        (by_build if told.side == "build" else by_pandas)(told.folder)
        print(json.dumps(time.perf_counter() - start))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, told.photos)
        times: dict[str, list[float]] = {"build": [], "pandas": []}
        for _ in range(3):
            subprocess.run(["rm", "-rf", str(folder / "tables" / "samples")], check=True)
            for side, found in times.items():
                command = [sys.executable, __file__, "--side", side, "--folder", name]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout))
            samples = compare(folder)
        start = time.perf_counter()
        by_build(folder)
        again = time.perf_counter() - start
        print(f"{told.photos:,} photos, {samples:,} samples, the same by both")
        for side, found in times.items():
            print(f"{side:<8} {statistics.median(found):6.2f} s")
        print(f"again    {again:6.2f} s, nothing to commit")
        ratios = [p / b for b, p in zip(*times.values(), strict=True)]
        print(f"pandas over build: {statistics.median(ratios):.1f} times")


if __name__ == "__main__":
    main()
