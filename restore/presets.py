"""Settings by one word: the paper's own, and those that few-step weights were distilled for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_manifests.config import parse_section
from data_manifests.errors import ConfigError
from restore.config import RestoreConfig

__all__ = ["PRESETS", "with_preset"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The authors' released script, with which the paper's figures were made: 50 DDPM steps from
    # pure noise at SDXL's own spacing, six faces at once. Source: EthanLiang99/AuthFace.
    "released": {
        "sampler": "ddpm",
        "spacing": "leading",
        "steps": 50,
        "start": "noise",
        "fidelity": 0.0,
        "guidance": 8.0,
        "guidance_rescale": 0.0,
        "control": 1.0,
        "batch": 6,
        "precision": "half",
        "vae_precision": "float32",
        "colour": "wavelet",
    },
    # Weights or a LoRA distilled to few steps without guidance. Sources: Lin et al. 2024
    # (SDXL-Lightning) and Sauer et al. 2023 (Turbo); Luo et al. 2023 (LCM).
    "lightning": {"sampler": "euler", "spacing": "trailing", "steps": 4, "guidance": 1.0},
    "lcm": {"sampler": "lcm", "steps": 4, "guidance": 1.0},
}


def with_preset(config: RestoreConfig, name: str | None) -> RestoreConfig:
    """The settings with a preset's in their place; as they are if none is named.

    Raises ConfigError for a name that is none.
    """
    if name is None:
        return config
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", f"Known are {', '.join(PRESETS)}.")
    return parse_section(RestoreConfig, {**config.model_dump(), **PRESETS[name]}, f"preset {name}")
