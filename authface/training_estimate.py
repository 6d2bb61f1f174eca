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


def show_estimate(config: PriorConfig | RestorerConfig, devices: Devices, runs: Path) -> None:
    """Count the run and print it; a base of the hub, or none, is taken as of SDXL's sizes.

    InputError if what the base names is no run, folder or hub id.
    """
    from training.bases import is_tiny
    from training.config import resolve
    from training.estimate import estimate

    base = str(_folder(config.base, runs) or config.base)
    full = resolve(config, is_tiny(base))
    counted = estimate(full, _sizes(base), devices=devices.count)
    samples = (full.steps or 0) * (full.batch or 0)
    at_once = min(full.at_once, -(-(full.batch or 1) // devices.count))
    rows = [*_work(counted), *_memory(counted, at_once), *_time(counted, samples, devices)]
    title = "What this run needs"
    if devices.count > 1:
        title += f", memory on each of {devices.count} GPUs"
    console.table(title, ("what", "counted"), rows)
    if is_tiny(base):
        console.note("tiny random base: name --base to count another")
    elif not Path(base).is_dir() or not base:
        console.note(f"{base or 'no base is named'}: counted at the sizes of SDXL base 1.0")


def _folder(base: str, runs: Path) -> Path | None:
    """Where a base lies, none where nothing is named or it is not on this machine."""
    from data_manifests.errors import InputError
    from training.bases import TINY

    named = Path(base).expanduser()
    for folder in (runs / base / "model", named):
        if base and (folder / "unet" / "config.json").is_file():
            return folder
    if base in ("", TINY) or (base.count("/") == 1 and not base.startswith((".", "/", "~"))):
        return None
    raise InputError(
        f"There is no run and no model folder {base}.", "Name either, a hub id, or tiny."
    )


def _sizes(base: str) -> Sizes:
    from training.bases import TINY as MADE
    from training.estimate import TINY, Sizes, read_sizes

    if base == MADE:
        return TINY
    return read_sizes(Path(base)) if base and Path(base).is_dir() else Sizes()


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
        (f"hours at {many}{devices.tflops:g} TFLOP/s, {devices.mfu:.0%} used", _hours(given)),
        ("hours if crops are encoded each time", _hours(encoded)),
    ]


def _tflop(count: int) -> str:
    return f"{count / 1e12:.3g} TFLOP"


def _hours(count: float) -> str:
    return f"{count:,.3g}" if count >= 0.01 else "under 0.01"


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**27 else f"{count / 2**20:.3g} MiB"
