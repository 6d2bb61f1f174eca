"""The table of `authface train estimate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from authface import console

if TYPE_CHECKING:
    from training.config import PriorConfig, RestorerConfig
    from training.estimate import Estimate, Sizes

__all__ = ["Devices", "show_estimate"]


@dataclass(frozen=True, slots=True)
class Devices:
    """How many GPUs train together, the peak of each in TFLOP/s, and the share of it in use."""

    count: int
    tflops: float
    mfu: float


def show_estimate(config: PriorConfig | RestorerConfig, devices: Devices) -> None:
    """Count the run and print it; a base that is no folder here is taken as SDXL's size."""
    from training.bases import is_tiny
    from training.config import resolve
    from training.estimate import estimate

    small = is_tiny(config.base)
    full = resolve(config, small)
    counted = estimate(full, _sizes(config.base, small), devices=devices.count)
    samples = (full.steps or 0) * (full.batch or 0)
    at_once = min(full.at_once, -(-(full.batch or 1) // devices.count))
    rows = [*_work(counted), *_memory(counted, at_once), *_time(counted, samples, devices)]
    title = "What this run needs"
    if devices.count > 1:
        title += f", memory on each of {devices.count} GPUs"
    console.table(title, ("what", "counted"), rows)
    if small:
        console.note("tiny random base: name --base to count another")


def _sizes(base: str, small: bool) -> Sizes:
    from training.estimate import TINY, Sizes, read_sizes

    folder = Path(base).expanduser()
    if base and (folder / "unet" / "config.json").is_file():
        return read_sizes(folder)
    return TINY if small else Sizes()


def _work(counted: Estimate) -> list[tuple[str, str]]:
    rows = [
        ("parameters trained", f"{counted.trained / 1e6:,.1f} M"),
        ("parameters frozen", f"{counted.frozen / 1e6:,.1f} M"),
        ("work per sample, forward and backward", _tflop(counted.flops)),
        ("work per sample to encode its crop", _tflop(counted.encode_flops)),
    ]
    if counted.condition_flops:
        rows.append(("work per sample to encode its condition", _tflop(counted.condition_flops)))
    return rows


def _memory(counted: Estimate, at_once: int) -> list[tuple[str, str]]:
    return [
        ("weights", _gib(counted.weight_bytes)),
        ("optimizer", _gib(counted.optimizer_bytes)),
        ("gradients", _gib(counted.gradient_bytes)),
        ("activations per sample", _gib(counted.activation_bytes)),
        (f"peak with {at_once} at once", _gib(counted.peak_bytes)),
        ("encoders' weights besides", _gib(counted.encoder_bytes)),
    ]


def _time(counted: Estimate, samples: int, devices: Devices) -> list[tuple[str, str]]:
    given, encoded = (
        counted.hours(samples, tflops=devices.tflops, mfu=devices.mfu, encode=encode)
        for encode in (False, True)
    )
    many = f"{devices.count} x " if devices.count > 1 else ""
    return [
        ("samples in all", f"{samples:,}"),
        (f"hours at {many}{devices.tflops:g} TFLOP/s, {devices.mfu:.0%} used", f"{given:,.3g}"),
        ("hours if crops are encoded each time", f"{encoded:,.3g}"),
    ]


def _tflop(count: int) -> str:
    return f"{count / 1e12:.3g} TFLOP"


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
