"""Restoring what is broken, and being killed while restoring.

    python benchmarks/restore_faults.py --shared ../shared [--kills 50] [--hostile 100]

Hostile: damaged, truncated, misnamed and enormous files in one folder with a good portrait, through
`restore_jobs` with real decoding, a real face finder and a tiny model. Killed: a batch of 40
photos, SIGKILL at random points from the first read to the last write; after each it is looked at
what lies there, and the batch is run again. The model has random weights: what it makes is no
restoration, but its bytes can be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from skimage.data import astronaut

from curation.config import FacesConfig
from curation.faces import NamedFinder, open_finder
from restore.batch import plan_jobs, restore_jobs
from restore.config import RestoreConfig
from restore.outcome import read_sidecar, sidecar_of
from restore.pipeline import Restorer, open_restorer
from training.export import export_restorer
from training.models import make_tiny

PHOTOS = 40


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--hostile", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        restorer = open_restorer(str(tiny(root)), config=RestoreConfig(steps=2))
        finder = open_finder(FacesConfig(least_score=0.6))
        show_hostile(args.shared / "hostile/images", root, restorer, finder, args.hostile)
        show_kills(root, restorer, finder, args.kills)


def tiny(root: Path) -> Path:
    """A restorer with random weights."""
    base = make_tiny(root / "base")
    controlnet = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(base / "unet"))
    facts = {
        "kind": "restorer",
        "prompt": "",
        "negative_prompt": "",
        "size": 64,
        "base": "tiny",
        "trained_steps": 0,
        "samples": 0,
        "table_versions": {},
        "tiny": True,
    }
    return export_restorer(controlnet, base, root / "run" / "model", facts)


def show_hostile(
    images: Path, root: Path, restorer: Restorer, finder: NamedFinder, most: int
) -> None:
    """Every file an outcome, none a crash, no half picture, no original changed."""
    source = root / "hostile"
    source.mkdir()
    for i, path in enumerate(sorted(p for p in images.rglob("*") if p.is_file())[:most]):
        shutil.copy(path, source / f"{i:03d}-{path.name}")
    Image.fromarray(astronaut()).save(source / "good.png")
    before = hashes(source)
    start = time.perf_counter()
    jobs = plan_jobs(source, root / "hostile-out")
    done = list(restore_jobs(jobs, restorer=restorer, finder=finder))
    took = time.perf_counter() - start
    status = Counter(o.status for o in done)
    print(f"hostile: {len(jobs)} files in {took:.0f} s: {dict(status)}")
    print(f"  without a reason: {sum(o.status == 'failed' and not o.problem for o in done)}")
    print(f"  faults of our own: {sum('fault of AuthFace' in o.problem for o in done)}")
    print(f"  half outputs: {len(list(half(root / 'hostile-out')))}")
    print(f"  originals changed: {sum(before[n] != h for n, h in hashes(source).items())}")
    print(f"  the good one: {next(o.status for o in done if o.source.name == 'good.png')}")


def show_kills(root: Path, restorer: Restorer, finder: NamedFinder, kills: int) -> None:
    """After each kill nothing half is there, and a rerun gives an unbroken run's bytes."""
    source = root / "in"
    source.mkdir()
    for i in range(PHOTOS):
        turned = np.roll(astronaut(), 5 * i, axis=1)
        Image.fromarray(turned).save(source / f"{i:02d}.png")
    start = time.perf_counter()
    run(source, root / "whole", restorer, finder)
    took = time.perf_counter() - start
    wanted = pictures(root / "whole")
    rng, left, broken, wrong, points = random.Random(1), 0, 0, 0, list[int]()
    for turn in range(kills):
        out = root / f"out-{turn}"
        child = forked(source, out, restorer, finder)
        time.sleep(rng.uniform(0.02, 0.9 * took))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        broken += len(list(half(out)))
        points.append(len(pictures(out)))
        again = forked(source, out, restorer, finder)
        _, code = os.waitpid(again, 0)
        wrong += code != 0 or pictures(out) != wanted
        left += len(leftovers(out))
        shutil.rmtree(out)
    print(f"killed: {kills} times in a batch of {PHOTOS} photos of {took:.1f} s")
    print(f"  photos done when killed: {min(points)} to {max(points)}, {sorted(points)}")
    print(f"  half outputs after a kill: {broken}; reruns not equal to an unbroken run: {wrong}")
    print(f"  temporary files left after the rerun: {left}")


def forked(source: Path, out: Path, restorer: Restorer, finder: NamedFinder) -> int:
    """A child that runs the batch; it need not load the model again."""
    child = os.fork()
    if child == 0:
        run(source, out, restorer, finder)
        os._exit(0)
    return child


def run(source: Path, out: Path, restorer: Restorer, finder: NamedFinder) -> None:
    """The batch."""
    torch.set_num_threads(1)
    for outcome in restore_jobs(plan_jobs(source, out), restorer=restorer, finder=finder):
        assert outcome.status == "restored", outcome.summary


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def pictures(folder: Path) -> dict[str, str]:
    """SHA-256 of every picture under its final name."""
    return {name: h for name, h in hashes(folder).items() if name.endswith(".png")}


def half(out: Path) -> Iterator[Path]:
    """Pictures under a final name that are not what their sidecar says, or have none."""
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.suffix.lower() in (".png", ".jpg", ".tif", ".webp"):
            said = read_sidecar(path) if sidecar_of(path).exists() else None
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if said is None or (said["output"] or {}).get("sha256") != sha256:
                yield path


def leftovers(out: Path) -> list[Path]:
    """What is neither picture nor sidecar."""
    return [p for p in out.rglob("*") if p.is_file() and p.suffix not in (".png", ".json")]


if __name__ == "__main__":
    main()
