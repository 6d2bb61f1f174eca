"""The degradations that face restorers were trained with, by name, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from data_manifests.errors import ConfigError

__all__ = ["PRESETS", "Colour", "Family", "Order", "Ranges", "SecondOrder", "Trouble", "preset"]

Family: TypeAlias = Literal["gaussian", "generalized", "plateau", "sinc"]  # of blur kernels
Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Colour:
    """Changes of colour after the picture has its size again; how often, and how far."""

    shift: float = 0.0  # how often each channel is moved
    most_shift: float = 20.0  # by how much at most, on the 0 to 255 scale
    jitter: float = 0.0  # how often the next four come, in any order
    brightness: Pair = (0.5, 1.5)
    contrast: Pair = (0.5, 1.5)
    saturation: Pair = (0.0, 1.5)
    hue: Pair = (-0.1, 0.1)  # turns
    grey: float = 0.0  # how often the colour is lost
    grey_target: bool = False  # whether the restorer then aims at a grey picture


@dataclass(frozen=True, slots=True)
class Trouble:
    """What RestoreFormer++ adds: how often, and how much."""

    move: float = 0.0  # picture and target are shifted, as by a poor alignment
    most_move: int = 32  # pixels of a 512 px face
    uneven: float = 0.0  # a square has a degradation of its own
    square: tuple[int, int] = (128, 256)  # its side, in pixels of a 512 px face
    haze: float = 0.0
    alpha: Pair = (0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Ranges:
    """First order: blur, reduction, noise, JPEG, and back to size. Every draw is uniform.

    Source: Wang et al., GFP-GAN, CVPR 2021, eq. 1.
    """

    source: str  # where the numbers stand
    sigma: Pair  # of the blur, in pixels of a 512 px face
    down: Pair  # how many times smaller; below 1 enlarges
    noise: Pair  # standard deviation, on the 0 to 255 scale
    jpeg: tuple[int, int]  # quality, both ends included
    kernel: tuple[int, int] = (41, 41)  # side of the blur kernel at 512 px, odd
    anisotropic: float = 0.5  # how often the blur is an ellipse
    colour: Colour = Colour()
    trouble: Trouble = Trouble()


@dataclass(frozen=True, slots=True)
class Order:
    """One of the two rounds of a second-order degradation."""

    sigma: Pair
    blurred: float  # how often there is a blur at all
    resize: tuple[float, float, float]  # how often larger, smaller, the same
    scale: Pair
    noise: Pair
    poisson: Pair  # strength of the Poisson noise
    jpeg: tuple[int, int] = (30, 95)
    gaussian: float = 0.5  # how often the noise is Gaussian
    grey_noise: float = 0.4
    sinc: float = 0.1  # how often the blur is a sinc filter
    kernel: tuple[int, int] = (7, 21)  # side, odd
    families: tuple[tuple[Family, bool, float], ...] = (  # family, whether an ellipse, how often
        ("gaussian", False, 0.45),
        ("gaussian", True, 0.25),
        ("generalized", False, 0.12),
        ("generalized", True, 0.03),
        ("plateau", False, 0.12),
        ("plateau", True, 0.03),
    )
    generalized_beta: Pair = (0.5, 4.0)
    plateau_beta: Pair = (1.0, 2.0)


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """Two rounds of blur, resizing, noise and JPEG, with a sinc filter at the end.

    Source: Wang et al., Real-ESRGAN, ICCVW 2021, section 3. There PyTorch resizes and a
    differentiable JPEG stands in for the codec; here OpenCV does both.
    """

    source: str
    first: Order
    second: Order
    down: float  # how many times smaller the second round is than the picture
    final_sinc: float = 0.8
    sharpened: bool = True  # whether the target is the sharpened picture


_GFPGAN = "GFP-GAN, options/train_gfpgan_v1.yml"

PRESETS: dict[str, Ranges | SecondOrder] = {
    # AuthFace takes "type and degree" from GFP-GAN and BFRffusion; the latter changes no colour.
    "authface": Ranges(
        source=f"{_GFPGAN}, without its changes of colour",
        sigma=(0.1, 10.0),
        down=(0.8, 8.0),
        noise=(0.0, 20.0),
        jpeg=(60, 100),
    ),
    "gfpgan": Ranges(
        source=_GFPGAN,
        sigma=(0.1, 10.0),
        down=(0.8, 8.0),
        noise=(0.0, 20.0),
        jpeg=(60, 100),
        colour=Colour(shift=0.3, jitter=0.3, grey=0.01),
    ),
    "bfrffusion": Ranges(
        source="BFRffusion, options/train.yaml; its code reads no_degradation_prob nowhere",
        sigma=(0.1, 10.0),
        down=(0.8, 8.0),
        noise=(0.0, 20.0),
        jpeg=(60, 100),
    ),
    "codeformer2": Ranges(
        source="CodeFormer, options/CodeFormer_stage2.yml",
        sigma=(1.0, 15.0),
        down=(4.0, 30.0),
        noise=(0.0, 20.0),
        jpeg=(30, 80),
    ),
    "codeformer3": Ranges(
        source="CodeFormer, options/CodeFormer_stage3.yml, the small degradation",
        sigma=(0.1, 10.0),
        down=(1.0, 12.0),
        noise=(0.0, 15.0),
        jpeg=(60, 100),
    ),
    "vqfr": Ranges(
        source="VQFR, options/train/VQFR/train_vqfr_v2_B16_200K.yml",
        sigma=(1.0, 15.0),
        down=(1.0, 30.0),
        noise=(0.0, 20.0),
        jpeg=(30, 90),
    ),
    "diffbir1": Ranges(
        source="DiffBIR, configs/train/train_stage2.yaml",
        sigma=(0.1, 12.0),
        down=(1.0, 12.0),
        noise=(0.0, 15.0),
        jpeg=(30, 100),
    ),
    "faceme": Ranges(
        source="FaceMe, dataset.py",
        sigma=(0.2, 10.0),
        down=(1.0, 16.0),
        noise=(0.0, 15.0),
        jpeg=(30, 100),
    ),
    "restoreformer++": Ranges(
        source="RestoreFormer++, configs/RestoreFormerPlusPlus.yaml",
        sigma=(0.1, 10.0),
        down=(0.8, 8.0),
        noise=(0.0, 20.0),
        jpeg=(60, 100),
        kernel=(39, 41),
        colour=Colour(grey=0.008, grey_target=True),
        trouble=Trouble(move=0.2, uneven=0.1, haze=0.008),
    ),
    "realesrgan": SecondOrder(
        source="DiffBIR, configs/train/train_stage2_v2.1.yaml, Real-ESRGAN's numbers",
        first=Order(
            sigma=(0.2, 3.0),
            blurred=1.0,
            resize=(0.2, 0.7, 0.1),
            scale=(0.15, 1.5),
            noise=(1.0, 30.0),
            poisson=(0.05, 3.0),
        ),
        second=Order(
            sigma=(0.2, 1.5),
            blurred=0.8,
            resize=(0.3, 0.4, 0.3),
            scale=(0.3, 1.2),
            noise=(1.0, 25.0),
            poisson=(0.05, 2.5),
        ),
        down=4.0,
    ),
}


def preset(name: str) -> Ranges | SecondOrder:
    """The ranges of a named degradation; ConfigError names the known ones."""
    if name not in PRESETS:
        raise ConfigError(
            f"There is no degradation recipe {name!r}.", f"Known are: {', '.join(sorted(PRESETS))}."
        )
    return PRESETS[name]
