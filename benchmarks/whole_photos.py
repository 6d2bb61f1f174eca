"""What whole photos cost besides the model: time around it, and memory for a 102-megapixel one.

    python benchmarks/whole_photos.py --shared ../shared [--seconds 0.68] [--folder TEMP]

The model is one that waits: a GPU works while the two halves of a photo are read, searched and
written on the CPU. --seconds is SDXL's time per face on an H200 by benchmarks/faces_per_second.py
(defaults, four at once: 1.46 faces a second). It gives back each crop with its contrast raised, so
that something is pasted. Time: 20 portraits of 4 to 14 megapixels, one after the other by
`restore_photo`, and by `restore_jobs`, whose stages overlap. Memory: the proportional set size of
the process and its decoder together, over what it was before the photo, sampled each 20 ms.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from curation.config import FacesConfig
from curation.decode import read_facts
from curation.faces import open_finder
from curation.sandbox import Sandbox
from restore.batch import plan_jobs, restore_jobs
from restore.config import RestoreConfig
from restore.model import ModelFacts
from restore.photo import restore_photo
from restore.pipeline import Restoration

PHOTOS, SIZE = 20, 512
HUGE = 11648, 8736  # 102 megapixels


class Waiting:
    """In place of a Restorer: as long as a real one, on nobody's CPU."""

    steps = 20

    def __init__(self, seconds: float, config: RestoreConfig) -> None:
        self.seconds, self.config, self.asked = seconds, config, 0
        self.faces_at_once = config.batch
        self.facts = ModelFacts(
            name="waiting",
            folder=Path(),
            sha256="0" * 64,
            size=SIZE,
            prompt="",
            negative_prompt="",
            tiny=False,
            trained_steps=None,
            base=None,
        )

    def restore_each(self, faces: Sequence[NDArray[np.uint8]], **_: Any) -> Iterator[Restoration]:
        """Each face with more contrast, after a while."""
        self.asked += len(faces)
        time.sleep(self.seconds * len(faces))
        for face in faces:
            yield Restoration(cv2.convertScaleAbs(face, alpha=1.2, beta=-20))


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--seconds", type=float, default=0.68)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        show_time(args.shared / "photos/portraits", Path(name), args.seconds)
        show_memory(args.shared / "photos/portraits", Path(name))


def show_time(portraits: Path, root: Path, seconds: float) -> None:
    """Twenty photos, one after the other and overlapped."""
    source = root / "in"
    source.mkdir()
    usable = [p for p in sorted(portraits.glob("*.jpg")) if 4e6 <= pixels_of(p) <= 14e6]
    for i in range(PHOTOS):
        path = usable[i % len(usable)]
        shutil.copy(path, source / f"{i:02d}-{path.name}")
    finder = open_finder(FacesConfig(least_score=0.6))
    config = RestoreConfig(improve_good=True)
    jobs = plan_jobs(source, root / "one")
    restorer: Any = Waiting(seconds, config)
    start = time.perf_counter()
    with Sandbox() as sandbox:
        for job in jobs:
            restore_photo(job.source, job.target, restorer=restorer, finder=finder, sandbox=sandbox)
    alone, faces = time.perf_counter() - start, restorer.asked
    restorer = Waiting(seconds, config)
    start = time.perf_counter()
    done = list(restore_jobs(plan_jobs(source, root / "two"), restorer=restorer, finder=finder))
    together = time.perf_counter() - start
    model = faces * seconds
    sizes = [pixels_of(p) / 1e6 for p in usable]
    same = sum(
        (root / "one" / j.target.name).read_bytes() == (root / "two" / j.target.name).read_bytes()
        for j in jobs
        if j.target.exists()
    )
    print(f"{PHOTOS} photos of {min(sizes):.0f} to {max(sizes):.0f} MP, {faces} faces,", end=" ")
    print(f"{seconds} s each in the model: {model:.1f} s")
    print(f"  one after the other {alone:.1f} s: {alone / model - 1:.1%} over the model's own time")
    print(f"  overlapped {together:.1f} s: {together / model - 1:.1%}")
    stages = ("read", "find", "restore", "judge", "paste", "write")
    spent = {s: sum(o.seconds.get(s, 0.0) for o in done) for s in stages}
    print("  stages:", ", ".join(f"{s} {t:.1f} s" for s, t in spent.items()))
    print(f"  outputs equal byte for byte: {same} of {sum(j.target.exists() for j in jobs)}")


def pixels_of(path: Path) -> int:
    """Width times height."""
    facts = read_facts(path)
    return facts.width * facts.height


def show_memory(portraits: Path, root: Path) -> None:
    """A 102-megapixel photo with six faces, in three formats."""
    finder = open_finder(FacesConfig(least_score=0.6, small_faces=True))
    for name, deep in (("huge.jpg", False), ("huge.png", False), ("huge.tif", True)):
        source = root / name
        make_huge(portraits / "Kodak Z1012 IS.jpg", source, deep=deep)
        restorer: Any = Waiting(0.01, RestoreConfig(improve_good=True))
        before = tree_pss()
        with Watch() as watch:
            jobs = plan_jobs(source, root / f"out-{name}")
            (outcome,) = restore_jobs(jobs, restorer=restorer, finder=finder)
        bits = 16 if deep else 8
        took = ", ".join(f"{s} {t:.1f} s" for s, t in outcome.seconds.items())
        print(f"{name} (102 MP, {bits} bits), {restorer.asked} faces: {outcome.status};", end=" ")
        print(
            f"peak {(watch.most - before) / 1e9:.2f} GB over {before / 1e9:.2f} GB before; {took}"
        )
        source.unlink()


def make_huge(portrait: Path, target: Path, *, deep: bool) -> None:
    """Six portraits in one frame of noise, as large as a 102-megapixel camera's."""
    with Image.open(portrait) as image:
        face: Any = np.asarray(image.convert("RGB"))
    width, height = HUGE
    cell = width // 3, height // 2
    tile: Any = cv2.resize(face, cell, interpolation=cv2.INTER_CUBIC)
    frame = np.tile(tile, (2, 3, 1))[:height, :width]
    noise = np.random.default_rng(0).integers(0, 6, frame.shape, dtype=np.uint8)
    frame = cv2.add(np.ascontiguousarray(frame), noise)
    if deep:
        tifffile.imwrite(target, frame.astype(np.uint16) * 257, photometric="rgb")
    elif target.suffix == ".jpg":
        Image.fromarray(frame).save(target, quality=95)
    else:
        cv2.imwrite(str(target), frame[..., ::-1])


class Watch:
    """The most memory of this process and its children while it is open."""

    def __enter__(self) -> Watch:
        self.most, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, tree_pss())


def tree_pss() -> int:
    """Bytes of this process and its children; what they share counts once."""
    own = os.getpid()
    tasks = Path(f"/proc/{own}/task")
    children = {c for t in tasks.glob("*/children") for c in t.read_text().split()}
    return sum(_pss(pid) for pid in (str(own), *children))


def _pss(pid: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
