"""What would stop or spoil a run later, found before its first step; nothing is ever deleted.

The cheap part reads rows and the disk's size, and a run does it by itself. The whole of it reads
and decodes every crop once. Light to import, as the start of a run is.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data_manifests import consent
from data_manifests.errors import InputError, MissingExtra, StorageError
from data_manifests.ledger import read_view
from data_manifests.records import Box, Sample
from data_manifests.store import Store
from training.config import PriorConfig, RunConfig
from training.readers import open_pool, reader_count

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Fault",
    "Room",
    "count_weights",
    "file_faults",
    "look_at_files",
    "model_numbers",
    "new_checkpoints",
    "require_room",
    "require_rows",
    "room",
    "row_faults",
    "uncovered",
]

_BUILD = "Run `authface manifest build` again, or mend the row."
_INGEST = "Run `authface ingest` and `authface manifest build` again."
_WORDS = "Answer its questions or set its caption, then run `authface manifest build`."
_FLOAT = 4  # bytes
_LANDMARKS = 5  # or none at all


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the sample's id, empty where it is no sample's, and what to do."""

    row: str
    wrong: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a run's checkpoints, model and cache will take at their most; those free."""

    needed: int
    free: int

    @property
    def fault(self) -> Fault | None:
        """What to say if it is too little."""
        if self.free >= self.needed:
            return None
        return Fault(
            "",
            f"Checkpoints, model and cache need {self.needed / 1e9:.2f} GB "
            f"and the disk has {self.free / 1e9:.2f} GB left.",
            "Free space, or set a smaller keep.",
        )


def row_faults(sample: Sample, config: RunConfig) -> list[Fault]:
    """What a row alone shows: sizes, boxes, landmarks, words. Boxes as `authface manifest check`
    judges them: a part may reach over the crop's edge but not lie beyond it.
    """
    found = [
        Fault(sample.sample_id, wrong, _BUILD)
        for faults in (_size_faults, _box_faults, _landmark_faults)
        for wrong in faults(sample)
    ]
    if isinstance(config, PriorConfig) and not _speaks(sample):
        found.append(Fault(sample.sample_id, "it has neither caption nor tags", _WORDS))
    return found


def uncovered(store: Store, samples: Sequence[Sample], now: datetime) -> list[Fault]:
    """Samples that no consent covers for training at this time."""
    ledger = read_view(store)
    todo = "Run `authface manifest build` again to leave it out, or renew the consent."
    return [
        Fault(sample.sample_id, f"no valid consent: {why}", todo)
        for sample in samples
        if (why := consent.refusal(ledger.get(sample.consent_id), "training", now))
    ]


def require_rows(samples: Sequence[Sample], config: RunConfig) -> None:
    """Raise InputError, naming the first few, if rows alone show that samples can't be used."""
    found = [fault for sample in samples for fault in row_faults(sample, config)]
    if found:
        named = "; ".join(f"{f.row[:12]}: {f.wrong}" for f in found[:5])
        raise InputError(
            f"{len(found)} faults in the samples: {named}.",
            "See all of them by `authface train preflight`.",
        )


def look_at_files(
    samples: Sequence[Sample], media: Path, readers: int | None = None
) -> Iterator[tuple[Sample, list[Fault]]]:
    """Read, prove and decode every crop once, several at a time: each with what is wrong of it."""
    with open_pool(reader_count(readers), "preflight") as pool:
        yield from zip(samples, pool.map(lambda s: file_faults(s, media), samples), strict=True)


def file_faults(sample: Sample, media: Path) -> list[Fault]:
    """What is wrong with a crop's file, its picture and size, and with its face mask."""
    from training.data import bare_example, crop_bytes

    try:
        data = crop_bytes(sample, media)
    except InputError as error:
        return [Fault(sample.sample_id, error.wrong, error.todo)]
    said = [f"its crop {sample.crop_path} is {why}" for why in _picture_faults(sample, data)]
    if _square(sample) and not any(_landmark_faults(sample)):
        mask_HW = bare_example(sample, 512, mirror=False).mask_HW
        if not float(mask_HW.sum()) > 0:
            said.append("its landmarks leave no face in the crop")
    return [Fault(sample.sample_id, why, _INGEST) for why in said]


def room(
    folder: Path,
    weights: tuple[int, int],
    *,
    copied: int,
    checkpoints: int,
    averaged: bool = False,
    cached: int = 0,
) -> Room:
    """What a run in `folder` takes at its most and what its disk has.

    `weights` are how many are trained and how many the model has (`model_numbers`), `copied` the
    bytes of the base that go into it, `checkpoints` how many more there will be, `cached` the
    bytes that its cache still lacks. A trained weight has two moments beside it, and its average
    where one is kept.
    """
    trained, exported = weights
    standing = next(p for p in (folder, *folder.parents) if p.exists())
    numbers = 4 if averaged else 3
    needed = checkpoints * numbers * _FLOAT * trained + _FLOAT * exported + copied
    needed += cached
    return Room(needed, shutil.disk_usage(standing).free)


def new_checkpoints(config: RunConfig, folder: Path) -> int:
    """How many more checkpoints a run's folder may have to hold at once than it does.

    A new one is written before the oldest goes, and a stop writes one out of turn.
    """
    if config.steps is None or config.save_every is None:
        raise ValueError("resolve() the config first")
    ever = math.ceil(config.steps / config.save_every) + 1
    return max(0, min(config.keep + 1, ever) - len(list(folder.glob("checkpoints/step-*"))))


def require_room(found: Room) -> None:
    """Raise StorageError if there is too little."""
    if found.fault is not None:
        raise StorageError(found.fault.wrong, found.fault.todo)


def model_numbers(model: nn.Module) -> int:
    """How many float32 numbers a run's own part of the exported model takes on the disk.

    A LoRA is merged into the weights and lies beside them twice: once by diffusers' keys and once
    by kohya's.
    """
    adapters = sum(p.numel() for n, p in model.named_parameters() if ".lora_" in n)
    return sum(p.numel() for p in model.parameters()) + adapters


def count_weights(config: RunConfig, base: Path) -> tuple[int, int]:
    """How many weights a run would train and how many its model has, as `model_numbers` counts.

    Counted on the models' shapes: nothing is loaded, and a second is enough.
    """
    import torch
    from diffusers import UNet2DConditionModel

    from training.condition import make_controlnet
    from training.config import RestorerConfig
    from training.facial import FacialLoss
    from training.stages import open_unet

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base / "unet"))
        exported = unet
        trained = [unet]
        if isinstance(config, RestorerConfig):
            exported = make_controlnet(unet, config.condition, weights=False)
            trained = [exported]
            if config.facial.weighs:
                trained.append(FacialLoss(config.facial, unet).critics)
        elif isinstance(config, PriorConfig):
            open_unet(unet, config)
    counted = sum(p.numel() for m in trained for p in m.parameters() if p.requires_grad)
    return counted, model_numbers(exported)


def _picture_faults(sample: Sample, data: bytes) -> Iterator[str]:
    from curation.lossless import decode_lossless

    try:
        shape = decode_lossless(data, Path(sample.crop_path).suffix).shape
    except MissingExtra as error:
        yield f"not to be read here: {error}"
        return
    except Exception as error:  # every decoder has errors of its own
        yield f"damaged: {error or type(error).__name__}"
        return
    if shape != (sample.height, sample.width, 3):
        found, row = (
            " x ".join(map(str, sides)) for sides in (shape, (sample.height, sample.width, 3))
        )
        yield f"{found} (height, width, channels) and not {row}, as its row says"


def _square(sample: Sample) -> bool:
    return sample.width == sample.height > 0


def _speaks(sample: Sample) -> bool:
    return any(said.strip() for said in (sample.caption, *sample.semantic_tags))


def _size_faults(sample: Sample) -> Iterator[str]:
    if not _square(sample):
        yield f"its crop is {sample.width} x {sample.height}, not square"
    native = sample.native_width, sample.native_height
    if not all(math.isfinite(side) and side > 0 for side in native):
        yield f"its size in the original is {native[0]} x {native[1]}"


def _box_faults(sample: Sample) -> Iterator[str]:
    for part in ("left_eye", "right_eye", "nose", "mouth"):
        box: Box | None = getattr(sample, f"{part}_box")
        if box is not None and not _inside(box, sample):
            yield f"its {part.replace('_', ' ')} box lies outside the crop"


def _inside(box: Box, sample: Sample) -> bool:
    across = box.left < box.right and box.left < sample.width and box.right > 0
    return across and box.top < box.bottom and box.top < sample.height and box.bottom > 0


def _landmark_faults(sample: Sample) -> Iterator[str]:
    if len(sample.landmarks) not in (0, _LANDMARKS):
        yield f"it has {len(sample.landmarks)} landmarks, not {_LANDMARKS}"
    if not all(math.isfinite(p.x) and math.isfinite(p.y) for p in sample.landmarks):
        yield "its landmarks are not finite"
