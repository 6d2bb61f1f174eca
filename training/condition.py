"""What a restorer's ControlNet is shown of the degraded picture: its pixels, or its latents."""

from __future__ import annotations

from typing import Any, Literal

from diffusers import ControlNetModel
from torch import Tensor

from training.models import Base

__all__ = ["Condition", "make_controlnet", "shown"]

Condition = Literal["rgb", "latent"]
# Of the layer between latents and the U-Net's first width: that before the last of the pixels'.
_WIDTH = 256


def make_controlnet(unet: Any, condition: Condition, *, weights: bool = True) -> Any:
    """A new ControlNet on the U-Net's encoder, whose first answer is nothing; `weights`: with its.

    Pixels are brought to the latent grid by strided convolutions, as in the released model;
    latents lie on it, so that they need none. Source: Zhang et al. 2023 (ControlNet), section 3.2.
    """
    made: dict[str, Any] = {"load_weights_from_unet": weights}
    if condition == "latent":
        made["conditioning_channels"] = unet.config.in_channels
        made["conditioning_embedding_out_channels"] = (_WIDTH,)
    return ControlNetModel.from_unet(unet, **made)


def shown(base: Base, poor_BHWC: Tensor, condition: Condition) -> Tensor:
    """The condition of 8-bit sRGB pictures: B x 3 x H x W in 0 to 1, or their scaled latents.

    Of the latents' distribution it is the mean, so that nothing is drawn, as at restoration.
    """
    if condition == "rgb":
        return poor_BHWC.permute(0, 3, 1, 2).float() / 255
    mean_BCHW, _ = base.posterior(poor_BHWC)
    scaled_BCHW: Tensor = mean_BCHW * base.pipeline.vae.config.scaling_factor
    return scaled_BCHW
