"""How much of a device's peak a run uses: model FLOPs utilization, MFU.

Source of the measure: Chowdhery et al. 2022 (PaLM), section 4.1: the operations that the method
itself needs, forward and backward, over what the device could do in that time. Work that is done
twice to save memory, encoding and reading do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.config import PriorConfig, RestorerConfig
from training.estimate import Sizes, estimate

__all__ = ["PEAKS", "Gauge", "make_gauge", "peak_tflops"]

# Dense bfloat16 products with float32 sums, TFLOP/s, by a part of the name that CUDA gives. Of the
# makers' data sheets, without sparsity; the longer name first where one holds the other.
PEAKS: Mapping[str, float] = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "H800": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 5090": 209.5,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a sample costs and what the devices could do."""

    flops: float  # of a sample, forward and backward
    peak: float  # FLOP/s

    def mfu(self, samples_per_s: float) -> float:
        """The share of the peak that is used at this speed."""
        return samples_per_s * self.flops / self.peak


def peak_tflops(device_name: str) -> float | None:
    """The peak of a device by the name that CUDA gives it; none if it is not known."""
    words = f"{device_name} ".replace("-", " ")
    # "L4" must not be found in "L40".
    return next((peak for name, peak in PEAKS.items() if f"{name} " in words), None)


def make_gauge(
    config: PriorConfig | RestorerConfig,
    sizes: Sizes,
    device_name: str | None,
    *,
    devices: int = 1,
) -> Gauge | None:
    """The gauge of a resolved config on so many devices of a kind; none where the peak is unknown.

    Counting SDXL takes some seconds. Without a device's name, on a CPU, `peak_tflops` decides.
    """
    peak = config.peak_tflops or (peak_tflops(device_name) if device_name else None)
    if peak is None:
        return None
    once = config.model_copy(update={"gradient_checkpointing": False})
    return Gauge(float(estimate(once, sizes).flops), devices * peak * 1e12)
