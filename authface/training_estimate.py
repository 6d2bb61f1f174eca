"""The table of `authface train estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from authface import console

if TYPE_CHECKING:
    from training.config import PriorConfig, RestorerConfig

__all__ = ["show_estimate"]


def show_estimate(config: PriorConfig | RestorerConfig, *, tflops: float, mfu: float) -> None:
    """Count the run and print it; a base that is no folder here is taken as SDXL's size."""
    from training.bases import is_tiny
    from training.config import resolve
    from training.estimate import Sizes, estimate, read_sizes
    from training.tiny import UNET, VAE

    folder = Path(config.base).expanduser()
    small = is_tiny(config.base)
    sizes = Sizes()
    if config.base and (folder / "unet" / "config.json").is_file():
        sizes = read_sizes(folder)
    elif small:
        sizes = Sizes(UNET, VAE)
    full = resolve(config, small)
    counted = estimate(full, sizes)
    samples = (full.steps or 0) * (full.batch or 0)
    given, encoded = (
        counted.hours(samples, tflops=tflops, mfu=mfu, encode=encode) for encode in (False, True)
    )
    rows = [
        ("parameters trained", f"{counted.trained / 1e6:,.1f} M"),
        ("parameters frozen", f"{counted.frozen / 1e6:,.1f} M"),
        ("work per sample, forward and backward", f"{counted.flops / 1e12:.3g} TFLOP"),
        ("work per sample to encode its crop", f"{counted.encode_flops / 1e12:.3g} TFLOP"),
        ("weights", _gib(counted.weight_bytes)),
        ("optimizer", _gib(counted.optimizer_bytes)),
        ("gradients", _gib(counted.gradient_bytes)),
        ("activations per sample", _gib(counted.activation_bytes)),
        (f"peak with {min(full.at_once, full.batch or 1)} at once", _gib(counted.peak_bytes)),
        ("samples in all", f"{samples:,}"),
        (f"hours at {tflops:g} TFLOP/s, {mfu:.0%} used", f"{given:,.3g}"),
        ("hours if crops are encoded each time", f"{encoded:,.3g}"),
    ]
    console.table("What this run needs", ("what", "counted"), rows)
    if small:
        console.note("tiny random base: name --base to count another")


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
