"""What the tables promise when things go wrong, tried on a real walk: ingest, merge, build.

    python benchmarks/reliability.py commits               # 8 processes x 50 on one table
    python benchmarks/reliability.py kills [--times 200]   # at random moments, then a rerun
    python benchmarks/reliability.py flips [--times 1000]  # one bit at a time: does fsck find it?
    python benchmarks/reliability.py full [--passes 20]    # a small tmpfs fills up (as root)

The walk's photos are made on the spot from scikit-image's public-domain portrait.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_manifests.fsck import prove
from data_manifests.log import commits as log_commits
from data_manifests.media import Workspace
from data_manifests.records import Annotation, Consensus, Photo
from data_manifests.store import TABLES, Store, file_sha256
from data_manifests.sweep import leftovers

PHOTOS = 8
SETTINGS = """
[ingest]
consent_id = "c"
[ingest.gates]
least_long_side = 512
least_megapixels = 0.1
"""


def make_base(folder: Path) -> None:
    """A workspace with a consent, and a folder of portraits beside it."""
    import numpy as np
    from PIL import Image
    from skimage import data

    (folder / "photos").mkdir(parents=True)
    portrait = data.astronaut()
    for n in range(PHOTOS):
        noise = np.random.default_rng(n).normal(0, 3 + n, (*portrait.shape[:2], 1))
        pixels = np.clip(portrait * (0.8 + 0.05 * n) + noise, 0, 255).astype(np.uint8)
        big = Image.fromarray(pixels).crop((60 + 4 * n, 0, 380 + 4 * n, 320)).resize((1280, 1280))
        big.save(folder / "photos" / f"{n}.jpg", quality=95)
    authface(folder, "init", str(folder / "ws"))
    (folder / "ws" / "authface.toml").write_text(SETTINGS)
    authface(folder, "consent", "add", "c", "--basis", "public domain", "--purpose", "training")


def authface(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "authface.cli", *words]
    environment = os.environ | {"AUTHFACE_WORKSPACE": str(folder / "ws")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def walk(folder: Path) -> subprocess.Popen[str]:
    """Ingest, merge answers, build: one process group, so that a kill reaches all of it."""
    me, python = str(Path(__file__).resolve()), sys.executable
    steps = [
        f"{python} -m authface.cli ingest {folder / 'photos'}",
        f"{python} {me} merge --folder {folder / 'ws'}",
        f"{python} -m authface.cli manifest build",
    ]
    environment = os.environ | {"AUTHFACE_WORKSPACE": str(folder / "ws")}
    return subprocess.Popen(
        ["bash", "-c", " && ".join(steps)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def merge(workspace: Path) -> None:
    """Every photo gets two answers and a consensus, the same each time."""
    store = Store(workspace / "tables")
    for photo in store.read(Photo):
        answers = [
            Annotation(
                annotation_id=f"s:{photo.photo_id[:8]}-{n}",
                task_key=f"{photo.photo_id}:triage:1",
                photo_id=photo.photo_id,
                annotator=f"person-{n}",
                state="counted",
                decision="accept",
                caption="A portrait.",
                raw="{}",
            )
            for n in range(2)
        ]
        store.upsert(Annotation, answers, why="merge")
        settled = Consensus(
            photo_id=photo.photo_id,
            decision="accept",
            voters=2,
            conflict=False,
            caption="A portrait.",
            annotation_ids=tuple(a.annotation_id for a in answers),
        )
        store.upsert(Consensus, [settled], why="merge")


def rows_of(folder: Path) -> dict[str, list[Any]]:
    """Every row of every table, in key order."""
    store = Store(folder / "ws" / "tables")
    return {name: store.read(noun) for noun, name in TABLES.items()}


def state_of(folder: Path) -> dict[str, Any]:
    """Rows without what a copy changes, and the names of the media files."""
    rows = rows_of(folder)
    at_home = [replace(p, path=Path(p.path).name, modified_ns=0) for p in rows["photos"]]
    media = folder / "ws" / "media"
    files = sorted(str(p.relative_to(media)) for p in media.rglob("*") if p.is_file())
    return rows | {"photos": at_home, "media": files}


def half_written(folder: Path) -> list[str]:
    place = Workspace(folder / "ws")
    parts = [str(p) for p in place.root.rglob(".part-*")]
    return parts + [str(p) for n in TABLES.values() for p in leftovers(place.tables / n)]


def copy_base(base: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(base, to)
    return to


def kills(base: Path, work: Path, times: int, a_round: int = 10) -> None:
    draw = random.Random(0)
    whole = copy_base(base, work / "whole")
    start = time.perf_counter()
    print(finish(whole).splitlines()[-1:])
    lasts = time.perf_counter() - start
    expected, wrong, done = state_of(whole), Counter[str](), 0
    assert expected["samples"], "the walk makes no sample: nothing would be tested"
    while done < times:
        folder = copy_base(base, work / "killed")
        for _ in range(min(a_round, times - done)):
            process = walk(folder)
            time.sleep(draw.uniform(0.2, lasts))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            done += 1
            wrong += seen_after_a_kill(folder)
        finish(folder)
        wrong["rerun differs from an unbroken run"] += state_of(folder) != expected
        wrong["half-written files after the rerun"] += len(half_written(folder))
        wrong["fsck faults after the rerun"] += len(faults(folder))
    found = {k: v for k, v in wrong.items() if v}
    print(
        f"{done} kills over a walk of {lasts:.1f} s: {found or 'nothing lost, doubled or partial'}"
    )


def seen_after_a_kill(folder: Path) -> Counter[str]:
    """What a reader sees right after a kill: whole rows once, whole files under final names."""
    wrong = Counter[str]()
    store = Store(folder / "ws" / "tables")
    for noun, name in TABLES.items():
        if store.version(noun) is not None:
            keys = store.table(noun).column(0).to_pylist()
            wrong[f"double rows in {name}"] += len(keys) - len(set(keys))
    media = folder / "ws" / "media"
    for path in media.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            wrong["partial media"] += file_sha256(path) != path.stem
    answered = {c.photo_id for c in store.read(Consensus)}
    wrong["answers without photo"] += len(answered - {p.photo_id for p in store.read(Photo)})
    return wrong


def finish(folder: Path) -> str:
    process = walk(folder)
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the walk failed: {said}")
    return said


def faults(folder: Path) -> list[Any]:
    return [p for p in prove(Workspace(folder / "ws"), fresh=True) if p.fault]


def flips(base: Path, work: Path, times: int) -> None:
    folder = copy_base(base, work / "flips")
    finish(folder)
    assert not faults(folder)
    place, draw = folder / "ws", random.Random(0)
    media = [p for p in (place / "media").rglob("*") if p.is_file()]
    parts = {
        "media": media,
        "tables": list((place / "tables").rglob("*.parquet")),
        "log": list((place / "tables").rglob("*.json")),
    }
    found, tried = Counter[str](), Counter[str]()
    for n in range(times):
        kind = list(parts)[n % 3]
        path = draw.choice(parts[kind])
        data = bytearray(path.read_bytes())
        place_in = draw.randrange(len(data))
        data[place_in] ^= 1 << draw.randrange(8)
        whole = path.read_bytes()
        path.write_bytes(bytes(data))
        tried[kind] += 1
        found[kind] += str(path) in {p.path for p in faults(folder)}
        path.write_bytes(whole)
    print(f"{found.total()} of {tried.total()} single-bit flips found and named: ", end="")
    print(", ".join(f"{k} {found[k]}/{tried[k]}" for k in parts))


def full(base: Path, work: Path, passes: int) -> None:
    """The walk on a small tmpfs that is full at a different write each time."""
    whole = copy_base(base, work / "whole")
    finish(whole)
    expected = state_of(whole)
    used = sum(p.stat().st_size for p in (whole / "ws").rglob("*") if p.is_file())
    start = sum(p.stat().st_size for p in (base / "ws").rglob("*") if p.is_file())
    disk, wrong, stopped = work / "disk", Counter[str](), 0
    disk.mkdir()
    for n in range(passes):
        room = int(start * 1.5 + (used - start) * n / passes) // 1024 + 200
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}k", "t", str(disk)], check=True)
        try:
            shutil.copytree(base / "photos", work / f"photos{n}")
            shutil.copytree(base / "ws", disk / "ws")
            (disk / "photos").symlink_to(work / f"photos{n}")
            stopped += walk_on_a_full_disk(disk, wrong)
            size = ["mount", "-o", f"remount,size={4 * used // 1024 + 40_000}k", str(disk)]
            subprocess.run(size, check=True)
            finish(disk)
            wrong["rerun differs"] += state_of(disk) != expected
            wrong["half-written files after the rerun"] += len(half_written(disk))
            wrong["fsck faults"] += len(faults(disk))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    found = {k: v for k, v in wrong.items() if v}
    print(f"{passes} passes, {stopped} of them met a full disk: {found or 'nothing wrong'}")


def walk_on_a_full_disk(disk: Path, wrong: Counter[str]) -> bool:
    """Whether it was stopped; and what a user would hold against it."""
    before = rows_of(disk)
    process = walk(disk)
    said, _ = process.communicate()
    if process.returncode and ("is full" not in said or "Traceback" in said):
        print(said[-1500:])
        wrong["no clear error"] += 1
    wrong["a version that can't be read"] += rows_of(disk)["consents"] != before["consents"]
    return process.returncode != 0


WRITER = """
import sys
from pathlib import Path
from data_manifests.records import Photo
from data_manifests.store import Store
store, me = Store(Path(sys.argv[1])), sys.argv[2]
for n in range(int(sys.argv[3])):
    store.upsert(Photo, [Photo(photo_id=f"{me}-{n}", path=me, state="kept", size_bytes=n)], why=me)
"""


def commits(work: Path, writers: int = 8, each: int = 50) -> None:
    folder = work / "tables"
    command = [sys.executable, "-c", WRITER, str(folder)]
    start = time.perf_counter()
    running = [subprocess.Popen([*command, str(n), str(each)]) for n in range(writers)]
    codes = [p.wait() for p in running]
    took = time.perf_counter() - start
    store = Store(folder)
    keys = [p.photo_id for p in store.read(Photo)]
    merges = sum(c.info.get("operation") == "MERGE" for c in log_commits(folder / "photos"))
    print(f"{writers} processes x {each} commits in {took:.1f} s, exit codes {set(codes)}:")
    print(f"  {merges} commits kept, {writers * each - len(set(keys))} rows lost, ", end="")
    print(f"{len(keys) - len(set(keys))} doubled, {len(store.unsealed(Photo))} files unsealed")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("commits", "kills", "flips", "full", "merge"))
    asked.add_argument("--times", type=int)
    asked.add_argument("--passes", type=int, default=20)
    asked.add_argument("--folder", type=Path)
    told = asked.parse_args()
    if told.what == "merge":
        merge(told.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if told.what == "commits":
            commits(work)
            return
        base = work / "base"
        make_base(base)
        if told.what == "kills":
            kills(base, work, told.times or 200)
        elif told.what == "flips":
            flips(base, work, told.times or 1000)
        else:
            full(base, work, told.passes)


if __name__ == "__main__":
    main()
