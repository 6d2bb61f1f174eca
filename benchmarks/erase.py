"""Erase 5 of 40 people and look at every byte: `python benchmarks/erase.py [--kills 30]`.

Makes a workspace of small real JPEGs, several versions of each table, an export and runs; erases;
then searches every file, raw and decoded, for ids, hashes, paths and captions. With --kills, an
erasure in a process of its own is killed at random moments and ended by another.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from curation.report import photo_report
from data_manifests.assemble import BuildConfig, build
from data_manifests.consent import grant
from data_manifests.erase import carry_out, erased_in, finish, plan_erasure
from data_manifests.export import Order, export
from data_manifests.ledger import verify_ledger
from data_manifests.media import Workspace, write_media
from data_manifests.outgoing import ExportConfig
from data_manifests.records import (
    Annotation,
    Box,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Sample,
    Task,
    Tombstone,
)
from data_manifests.seals import file_sha256
from data_manifests.store import TABLES, Store
from data_manifests.tombstones import open_key

NOW = datetime.now(UTC)
ROUNDS = 5
FIGURES = ("photos", "rows_newest", "rows_all_versions", "media_files", "pages", "exports", "runs")


@dataclass(frozen=True)
class Bench:
    """A workspace, and where its export lies."""

    place: Workspace
    store: Store

    @property
    def outside(self) -> Path:
        return self.place.root.parent / "export"


def opened(root: Path) -> Bench:
    return Bench(Workspace(root), Store(root / "tables"))


def digest(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def jpeg(*parts: object, side: int = 48) -> bytes:
    pixels = np.random.default_rng(int(digest(*parts)[:12], 16)).integers(0, 255, (6, 6, 3))
    picture = Image.fromarray(pixels.astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def photo_and_face(media: Path, person: int, number: int) -> tuple[Photo, Face]:
    photo_id = digest("photo", person, number)
    proxy, _ = write_media(media, "proxies", jpeg(person, number, "proxy"), ".jpg")
    thumb, _ = write_media(media, "thumbs", jpeg(person, number, "thumb"), ".jpg")
    crop, sha256 = write_media(media, "crops", jpeg(person, number, "crop"), ".jpg")
    photo = Photo(
        photo_id=photo_id,
        path=f"/originals/{digest('folder', person)[:8]}/DSC_{person:02d}{number:03d}.NEF",
        state="kept",
        size_bytes=1 + person * 1000 + number,
        width=6000,
        height=8000,
        consent_id=f"release/{digest('consent', person)[:12]}",
        subject_id=f"subj-{digest('subject', person)[:12]}",
        pixel_hash=digest("pixels", person, number)[:32],
        proxy_path=proxy,
        thumb_path=thumb,
    )
    box = Box(left=10, top=10, right=900, bottom=900)
    matrix = (0.5, 0.0, 0.0, 0.0, 0.5, 0.0)
    cut = Crop(path=crop, sha256=sha256, kind="aligned", width=48, height=48, matrix=matrix)
    face_id = f"{photo_id}-{digest('box', number)[:12]}"
    face = Face(face_id=face_id, photo_id=photo_id, index=0, box=box, finder="bench", crops=(cut,))
    return photo, face


def answers(photo: Photo, round_: int) -> tuple[Task, Annotation, Consensus]:
    key = f"{photo.photo_id}:triage:1"
    caption = f"portrait {digest('caption', photo.photo_id, round_)[:20]}"
    task = Task(
        task_key=key,
        photo_id=photo.photo_id,
        kind="triage",
        state="labelled",
        image_path=str(photo.proxy_path),
        image_width=48,
        image_height=48,
        server="bench",
        project_id=1,
        task_id=photo.size_bytes,
    )
    answer = Annotation(
        annotation_id=f"bench:{digest('answer', photo.photo_id)[:16]}",
        task_key=key,
        photo_id=photo.photo_id,
        annotator="a1",
        state="counted",
        decision="accept",
        caption=caption,
        raw=json.dumps([{"value": {"text": [caption]}}]),
    )
    settled = Consensus(
        photo_id=photo.photo_id,
        decision="accept",
        voters=1,
        conflict=False,
        caption=caption,
        annotation_ids=(answer.annotation_id,),
    )
    return task, answer, settled


def furnish(root: Path, people: int, each: int) -> Bench:
    """Every table in several versions: people come in five groups, answers in five rounds."""
    bench = opened(root)
    place, store = bench.place, bench.store
    for folder in (place.tables, place.media, place.runs):
        folder.mkdir(parents=True)
    place.settings.write_text("")
    photos: list[Photo] = []
    for group in range(ROUNDS):
        made = [
            photo_and_face(place.media, person, n)
            for person in range(group, people, ROUNDS)
            for n in range(each)
        ]
        for person in range(group, people, ROUNDS):
            _grant(store, person)
        store.upsert(Face, [f for _, f in made], why=f"ingest {made[0][0].path}")
        store.upsert(Photo, [p for p, _ in made], why=f"ingest {made[0][0].photo_id}")
        photos += [p for p, _ in made]
        rows = [answers(p, group) for p in photos]
        store.upsert(Task, [t for t, _, _ in rows], why="push")
        store.upsert(Annotation, [a for _, a, _ in rows], why="pull")
        store.upsert(Consensus, [c for _, _, c in rows], why="pull")
        build(store, BuildConfig(), NOW)
    dropped = [s.sample_id for s in store.read(Sample)][::50]
    store.remove(Sample, dropped, why=f"dropped {dropped[0]}")
    changed = [replace(p, near_duplicate_of=photos[0].photo_id) for p in photos[each : each + 3]]
    store.upsert(Photo, changed, why="settle")
    _runs(bench)
    page = photo_report(store.read(Photo), store.read(Face), media=place.media)
    (root / "photos.html").write_text("".join(page))
    order = Order(format="datasets", folder=bench.outside)
    export(store, place.media, order, ExportConfig(), NOW)
    open_key(store)
    return bench


def _grant(store: Store, person: int) -> None:
    terms = Consent(
        consent_id=f"release/{digest('consent', person)[:12]}",
        purposes=("training", "publish"),
        basis="bench",
        valid_from=NOW - timedelta(days=1),
        subject_id=f"subj-{digest('subject', person)[:12]}",
    )
    grant(store, terms)


def _runs(bench: Bench) -> None:
    newest = bench.store.version(Sample) or 0
    for name, version, base in (
        ("prior", newest, "tiny"),
        ("before", 0, "tiny"),
        ("restorer", 0, str(bench.place.runs / "prior" / "model")),
    ):
        folder = bench.place.runs / name
        (folder / "checkpoints" / "step-000100").mkdir(parents=True)
        told = {"kind": name, "base": base, "tables": {"samples": version}}
        (folder / "config.json").write_text(json.dumps(told))


def needles(bench: Bench, subjects: set[str]) -> set[str]:
    """Every id, hash, path and caption of the people, from every version."""
    found = set(subjects)
    mine: set[str] = set()
    for photo in bench.store.read(Photo):
        if photo.subject_id in subjects:
            mine.add(photo.photo_id)
            found |= {photo.photo_id, photo.path, Path(photo.path).name, str(photo.pixel_hash)}
            found |= {str(photo.consent_id)}
            found |= {Path(str(p)).stem for p in (photo.proxy_path, photo.thumb_path)}
    for face in bench.store.read(Face):
        if face.photo_id in mine:
            found |= {face.face_id, *(c.sha256 for c in face.crops)}
    for noun, names in ((Annotation, ("caption", "annotation_id")), (Sample, ("sample_id",))):
        for version in range((bench.store.version(noun) or 0) + 1):
            rows: list[Any] = bench.store.read(noun, version)
            mine_now = [r for r in rows if r.photo_id in mine]
            found |= {str(getattr(r, name)) for r in mine_now for name in names}
    return found


def everything(bench: Bench) -> Iterator[tuple[Path, bytes]]:
    for root in (bench.place.root, bench.outside):
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            yield path, path.name.encode() + b"\n" + path.read_bytes()
            if path.suffix == ".parquet":
                yield path, repr(pq.ParquetFile(path).read().to_pylist()).encode()


def traces(bench: Bench, wanted: set[str]) -> tuple[int, list[str]]:
    """(bytes looked at, files that hold one of the needles)."""
    hexes = {n.encode() for n in wanted if re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", n)}
    others = [n for n in map(str.encode, wanted) if n not in hexes]
    seen, found = 0, []
    for path, data in everything(bench):
        seen += len(data)
        runs = set(re.findall(rb"[0-9a-f]{32,}", data))
        near = (r[i : i + n] for r in runs for n in (32, 64) for i in range(len(r) - n + 1))
        if any(piece in hexes for piece in near) or any(n in data for n in others):
            found.append(str(path))
    return seen, found


def others_of(bench: Bench, subjects: set[str]) -> dict[str, str]:
    """A hash of everybody else's rows, by table and version."""
    mine = {p.photo_id for p in bench.store.read(Photo) if p.subject_id in subjects}
    mine |= {
        digest("photo", n, i) for n in range(200) for i in range(60) if _subject(n) in subjects
    }
    found = {}
    for noun, name in TABLES.items():
        if name in ("consent_ledger", "tombstones", "exports") or bench.store.version(noun) is None:
            continue
        for version in range((bench.store.version(noun) or 0) + 1):
            rows: list[Any] = bench.store.read(noun, version)
            kept = [
                replace(r, near_duplicate_of=None) if isinstance(r, Photo) else r
                for r in rows
                if getattr(r, "photo_id", None) not in mine
                and getattr(r, "subject_id", None) not in subjects
            ]
            found[f"{name}@{version}"] = digest(kept)
    return found


def _subject(person: int) -> str:
    return f"subj-{digest('subject', person)[:12]}"


def state_of(bench: Bench) -> list[str]:
    """All that an erasure leaves, in short, without what is drawn or timed anew each time."""
    standing = [noun for noun in TABLES if bench.store.version(noun) is not None]
    told = [f"{TABLES[noun]} {_table_state(bench, noun)}" for noun in standing]
    for path in sorted(p for p in bench.place.root.rglob("*") if p.is_file()):
        relative = str(path.relative_to(bench.place.root))
        if not relative.startswith(("tables", "receipts", ".")):
            same = path.name != "contains_erased.json"
            told.append(f"{relative} {file_sha256(path) if same else ''}")
    told += sorted(p.name for p in bench.outside.rglob("*"))
    facts = [json.loads(p.read_text()) for p in (bench.place.root / "receipts").glob("*.json")]
    told += [str({k: f.get(k) for k in FIGURES}) for f in facts]
    return told


def _table_state(bench: Bench, noun: type[Any]) -> str:
    if noun is Tombstone:
        return digest(sorted(t.mark for t in bench.store.read(noun)))
    if TABLES[noun] == "consent_ledger":
        return digest([bool(e.terms) for e in bench.store.read(noun)])
    versions = range((bench.store.version(noun) or 0) + 1)
    return digest(*(bench.store.read(noun, v) for v in versions))


def erase(bench: Bench, subject: str) -> Any:
    plan = plan_erasure(bench.store, bench.place, subject)
    return carry_out(bench.store, bench.place, plan, lambda owed: ())


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--people", type=int, default=40)
    given.add_argument("--photos", type=int, default=50, help="of each")
    given.add_argument("--erase", type=int, default=5)
    given.add_argument("--kills", type=int, default=0)
    given.add_argument("--child", nargs=2, metavar=("WORKSPACE", "SUBJECT"))
    asked = given.parse_args()
    if asked.child:
        erase(opened(Path(asked.child[0])), asked.child[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        if asked.kills:
            _kills(Path(folder), asked.kills)
        else:
            _measure(Path(folder), asked.people, asked.photos, asked.erase)


def _measure(folder: Path, people: int, each: int, count: int) -> None:
    start = time.perf_counter()
    bench = furnish(folder / "w", people, each)
    print(f"{people} people x {each} photos made in {time.perf_counter() - start:.1f} s")
    subjects = {_subject(n) for n in range(0, people, max(people // count, 1))}
    subjects = set(sorted(subjects)[:count])
    wanted, others = needles(bench, subjects), others_of(bench, subjects)
    size, found = traces(bench, wanted)
    print(f"before: {len(wanted)} needles in {len(found)} of {size / 1e6:.0f} MB's files")
    times = []
    for subject in sorted(subjects):
        start = time.perf_counter()
        outcome = erase(bench, subject)
        times.append(time.perf_counter() - start)
        assert outcome.complete, outcome.facts
    print(f"{count} erased in {sum(times):.1f} s, {max(times):.1f} s at the most")
    size, found = traces(bench, wanted)
    print(f"after: {len(found)} files of {size / 1e6:.0f} MB hold a trace {found[:3]}")
    after = others_of(bench, subjects)
    differ = sum(after[k] != v for k, v in others.items())
    print(f"{len(others)} versions; other people's rows differ in {differ}")
    runs = sorted(p.parent.name for p in bench.place.runs.glob("*/contains_erased.json"))
    print(f"runs marked: {runs}; ledger faults: {len(list(verify_ledger(bench.store)))}")
    broken = sum(
        file_sha256(bench.store.folder / TABLES[n] / f) != h
        for n in TABLES
        for f, h in bench.store.seals(n).items()
    )
    print(f"seals that do not hold: {broken}; marks: {len(erased_in(bench.store).marks)}")


def _kills(folder: Path, count: int) -> None:
    """Always in the same place, since an export's row and a run's record hold paths."""
    bench = furnish(folder / "try" / "w", 8, 6)
    subject, rng = _subject(3), random.Random(1)
    wanted = needles(bench, {subject})
    shutil.copytree(folder / "try", folder / "base")
    command = [sys.executable, __file__, "--child", str(bench.place.root), subject]
    with subprocess.Popen(command) as child:
        _wait_for_work(bench, child)
        start = time.perf_counter()
    span = time.perf_counter() - start
    whole, begun, wrong = state_of(bench), 0, 0
    for _ in range(count):
        shutil.rmtree(folder / "try")
        shutil.copytree(folder / "base", folder / "try")
        with subprocess.Popen(command) as child:
            _wait_for_work(bench, child)
            time.sleep(rng.uniform(0, span))
            child.send_signal(signal.SIGKILL)
        begun += (bench.place.root / ".erasing.json").exists()
        if not list(finish(bench.store, bench.place, lambda owed: ())) and _held(bench, subject):
            erase(bench, subject)
        state, found = state_of(bench), traces(bench, wanted)[1]
        faults = list(verify_ledger(bench.store))
        wrong += bool(found or faults or state != whole)
        if found or faults or state != whole:
            differ = sorted(set(state) ^ set(whole))
            print(f"ended otherwise: {found[:3]} {faults[:3]} {differ[:4]}")
    print(f"{count} kills, {begun} in the middle of the work, {wrong} ended otherwise")


def _wait_for_work(bench: Bench, child: subprocess.Popen[bytes]) -> None:
    """Until the plan is written down, so that no kill is spent on the imports."""
    while not (bench.place.root / ".erasing.json").exists() and child.poll() is None:
        time.sleep(0.005)


def _held(bench: Bench, subject: str) -> bool:
    return any(p.subject_id == subject for p in bench.store.read(Photo))


if __name__ == "__main__":
    main()
