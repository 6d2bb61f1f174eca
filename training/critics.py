"""Discriminators of the face's parts that know how noisy the latents are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FEATURE_WEIGHTS", "Critic"]

FEATURE_WEIGHTS = (
    0.5,
    1.0,
)  # of the two scales in the Gram term. Source: GFP-GAN's published training options


class Critic(nn.Module):
    """Judges a patch of latents, given the time embedding: one logit, two scales of features.

    Source: AuthFace (arXiv 2410.09864 v2), figure 3b: convolution, group normalisation scaled and
    shifted by the time embedding, convolution. Depth and width are not reported; they follow
    GFP-GAN's component discriminators (Wang et al. 2021).
    """

    def __init__(self, *, channels: int = 4, width: int = 64, time_width: int = 1280) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.first = _TimedBlock(width, 2 * width, time_width)
        self.second = _TimedBlock(2 * width, 4 * width, time_width)
        self.tail = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, patch_BCHW: Tensor, time_BT: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logit of each patch (positive: real) and the features after each block."""
        first_BCHW = self.first(self.head(patch_BCHW), time_BT)
        second_BCHW = self.second(nn.functional.avg_pool2d(first_BCHW, 2), time_BT)
        return self.tail(second_BCHW).mean(dim=(1, 2, 3)), [first_BCHW, second_BCHW]


class _TimedBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, time_width: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.GroupNorm(8, channels_out)
        self.scale_shift = nn.Linear(time_width, 2 * channels_out)
        self.after = nn.Conv2d(channels_out, channels_out, 3, padding=1)

    def forward(self, x_BCHW: Tensor, time_BT: Tensor) -> Tensor:
        # Spatial feature transform. Source: Wang et al., CVPR 2018, eq. 3, with time in place of a
        # map.
        scale_BC, shift_BC = self.scale_shift(nn.functional.silu(time_BT)).chunk(2, dim=1)
        normed_BCHW = self.norm(self.before(x_BCHW))
        timed_BCHW = normed_BCHW * (1 + scale_BC[..., None, None]) + shift_BC[..., None, None]
        out: Tensor = torch.nn.functional.leaky_relu(
            self.after(nn.functional.silu(timed_BCHW)), 0.2
        )
        return out
