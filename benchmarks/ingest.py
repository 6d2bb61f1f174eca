"""Whole ingest of 8K JPEGs, side by side with what else people run, in one go.

    python benchmarks/ingest.py [--cleanvision PYTHON] [--runs 5] [--only PARTS]

PARTS are some of speed,workers,memory,encoders.

Prints medians of CPU time on one core, and the ratios that count. `PYTHON` is the interpreter of an
environment with cleanvision (0.3.7 was used); its pins conflict with the toolkit's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import imagehash
import numpy as np
import simplejpeg
from pictures import SIZES, portrait, write_jpeg
from PIL import Image

from curation.config import CropsConfig, FacesConfig, IngestConfig
from curation.faces import open_finder
from curation.source import open_source
from curation.worker import Worker

Image.MAX_IMAGE_PIXELS = None  # the pictures are our own
GRAIN = 6.0  # gives about 20 MB at 50 MP, as a camera's own files are


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cleanvision", help="a Python with cleanvision installed")
    asked.add_argument("--runs", type=int, default=5)
    asked.add_argument("--only", default="speed,workers,memory,encoders")
    told = asked.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = _make(Path(folder), told.only)
        if "speed" in told.only:
            speed(files, told.runs, told.cleanvision)
        if "encoders" in told.only:
            encoders(files["50 MP"], told.runs)
        if "workers" in told.only:
            workers(Path(folder))
        if "memory" in told.only:
            memory(files)


def _make(folder: Path, only: str) -> dict[str, Path]:
    made = {}
    for name, (width, height) in SIZES.items():
        pixels = portrait(width, height, grain=GRAIN)
        made[name] = write_jpeg(folder / f"{width}.jpg", pixels)
        if name == "50 MP" and "speed" in only:
            made["50 MP progressive"] = write_jpeg(
                folder / f"{width}-progressive.jpg", pixels, progressive=True
            )
    return made


def speed(files: dict[str, Path], runs: int, cleanvision: str | None) -> None:
    for name, file in files.items():
        data = file.read_bytes()
        print(f"\n{name}: {len(data) / 1e6:.1f} MB")
        ways: dict[str, Callable[[], object]] = {
            "libjpeg-turbo 1/8 (floor)": lambda d=data: simplejpeg.decode_jpeg(
                d, "RGB", min_height=1, min_width=1, min_factor=8
            ),
            "libjpeg-turbo 1/1, nothing else": lambda d=data: simplejpeg.decode_jpeg(d, "RGB"),
            "ingest, crop as JPEG XL": _ingest(file, "jxl"),
            "ingest, crop as PNG": _ingest(file, "png"),
        }
        times = {n: [] for n in ways}
        for _ in range(runs):  # in turns, so that a busy minute hits all of them
            for way, work in ways.items():
                times[way].append(_cpu(work))
        times["Pillow at each stage"] = [_cpu(lambda f=file: naive(f)) for _ in range(2)]
        if cleanvision and name == "50 MP":
            times["CleanVision, default issues"] = [_cleanvision(cleanvision, file)]
        _tell(times)


def _tell(times: dict[str, list[float]]) -> None:
    middle = {n: statistics.median(t) for n, t in times.items()}
    floor, ours = middle["libjpeg-turbo 1/8 (floor)"], middle["ingest, crop as JPEG XL"]
    for name, value in middle.items():
        print(
            f"  {name:32s} {value * 1000:8.0f} ms   {value / floor:6.2f} x floor"
            f"   {value / ours:6.2f} x ingest"
        )


def _ingest(file: Path, codec: str) -> Callable[[], object]:
    """Hash, decode, gates, faces, one 2048 px crop, proxy, thumb and row of one file."""
    crops = CropsConfig(size=2048, small=False, tiles=False, codec=codec)
    worker = Worker(IngestConfig(crops=crops, faces=FacesConfig(finder="yunet", fetch=False)))

    def work() -> object:
        taken = worker.take(open_source(file))
        if taken.photo.state != "kept" or len(taken.faces) != 1 or not taken.faces[0].crops:
            raise SystemExit(f"the benchmark's picture was not kept: {taken.photo.reasons}")
        return taken

    work()  # loads the finder
    return work


def naive(path: Path) -> None:
    """The usual script: every stage opens the file with Pillow and does its own full decode."""
    import hashlib
    import io

    hashlib.sha256(path.read_bytes()).hexdigest()
    _ = Image.open(path).size
    Image.open(path).verify()
    Image.open(path).load()
    imagehash.phash(Image.open(path), hash_size=16)
    grey = np.asarray(Image.open(path).convert("L"))
    cv2.Laplacian(grey, cv2.CV_64F).var()
    np.bincount(np.asarray(Image.open(path).convert("L")).ravel(), minlength=256)
    small = Image.open(path).convert("RGB")
    small.thumbnail((640, 640), Image.Resampling.LANCZOS)
    _FINDER(np.asarray(small))
    crop = Image.open(path).convert("RGB").crop((2000, 1000, 4048, 3048))
    crop.save(io.BytesIO(), "PNG")
    proxy = Image.open(path).convert("RGB")
    proxy.thumbnail((2048, 2048), Image.Resampling.LANCZOS)
    proxy.save(io.BytesIO(), "JPEG", quality=92)


def _cleanvision(python: str, file: Path) -> float:
    """CPU seconds of CleanVision's default issues on a folder with this one picture."""
    code = (
        "import sys, time\nfrom cleanvision import Imagelab\n"
        "from PIL import Image\nImage.MAX_IMAGE_PIXELS = None\n"
        "start = time.process_time()\n"
        "Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=1, verbose=False)\n"
        "print(time.process_time() - start)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file)
        told = subprocess.run(
            [python, "-W", "ignore", "-c", code, folder], capture_output=True, text=True, check=True
        )
    return float(told.stdout.split()[-1])


def encoders(file: Path, runs: int) -> None:
    """What writing one 2048 px crop costs."""
    from curation.lossless import encode_lossless

    pixels = np.ascontiguousarray(
        simplejpeg.decode_jpeg(file.read_bytes(), "RGB")[1000:3048, 2000:4048]
    )
    plain = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    ways = {
        "PNG as written": lambda: encode_lossless(pixels, "png")[0],
        "PNG, zlib level 1": lambda: bytes(cv2.imencode(".png", pixels[..., ::-1], plain)[1]),
        "JPEG XL, effort 1": lambda: encode_lossless(pixels, "jxl")[0],
    }
    print("\none 2048 px crop")
    for name, work in ways.items():
        size = len(work())
        taken = statistics.median(_cpu(work) for _ in range(runs))
        print(f"  {name:20s} {taken * 1000:7.0f} ms {size / 1e6:6.2f} MB")


def workers(folder: Path) -> None:
    """Wall time of a folder of 16 pictures with one worker and with two."""
    from curation.pipeline import ingest
    from data_manifests.media import Workspace

    shoot = folder / "shoot"
    shoot.mkdir()
    base = portrait(*SIZES["50 MP"], grain=GRAIN)
    for i in range(16):
        write_jpeg(shoot / f"{i:02d}.jpg", np.roll(base, 8 * i, axis=1))
    took = {}
    for turn in range(2):
        for count in (1, 2):
            crops = CropsConfig(size=2048, small=False, tiles=False, codec="jxl")
            config = IngestConfig(crops=crops, faces=FacesConfig(finder="yunet", fetch=False))
            decoder = config.decoder.model_copy(update={"processes": count})
            config = config.model_copy(update={"decoder": decoder})
            place = Workspace(folder / f"w{turn}{count}")
            start = time.perf_counter()
            items = list(ingest([shoot], workspace=place, config=config, known={}))
            took.setdefault(count, []).append(time.perf_counter() - start)
            kept = sum(i.photo is not None and i.photo.state == "kept" for i in items)
            print(f"  {count} worker(s): {took[count][-1]:.1f} s for {kept} kept of {len(items)}")
    best = {n: min(t) for n, t in took.items()}
    print(
        f"\ntwo workers against one: {best[1] / best[2]:.2f} x "
        f"({16 * 60 / best[2]:.0f} photos a minute with two)"
    )


def memory(files: dict[str, Path]) -> None:
    """Peak resident memory of one worker process, which does nothing else."""
    print()
    for name in SIZES:
        told = subprocess.run(
            [sys.executable, __file__, "--one", str(files[name])],
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"peak memory of a worker, {name}: {told.stdout.strip()} MB")


def _one(file: str) -> None:
    cv2.setNumThreads(1)
    work = _ingest(Path(file), "png")
    work()
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    print(round(int(peak.split()[1]) * 1024 / 1e6))


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    if "--one" in sys.argv:
        _one(sys.argv[2])
    else:
        _FINDER = open_finder(FacesConfig(finder="yunet", fetch=False))
        main()
