"""The losses of both stages, as functions of tensors; each names the equation it is.

AuthFace is Liang et al. 2024, arXiv 2410.09864 v2. Everything returns one value per sample (suffix
B), so that samples can be weighed and left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = [
    "critic_error",
    "fooling_error",
    "gram",
    "gram_error",
    "guided_target",
    "masked_error",
    "mean_error",
]


def mean_error(predicted_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean squared error per sample. Source: Ho et al. 2020, eq. 14; AuthFace eq. 4."""
    return (predicted_BCHW - target_BCHW).square().mean(dim=(1, 2, 3))


def masked_error(predicted_BCHW: Tensor, target_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
    """Squared error inside the face, divided by the face's area. Source: AuthFace eq. 1.

    The paper does not say whether it divides; undivided, a small face would count less than a
    large one.
    """
    squared_BHW = (predicted_BCHW - target_BCHW).square().mean(dim=1) * mask_B1HW[:, 0]
    return squared_BHW.sum(dim=(1, 2)) / mask_B1HW[:, 0].sum(dim=(1, 2)).clamp(min=1)


def guided_target(
    semantic_BCHW: Tensor, photographic_BCHW: Tensor, negative_BCHW: Tensor
) -> Tensor:
    """The frozen U-Net's word on the content, pushed to photographic and away from negative words.

    Source: AuthFace eq. 2, the bracket.
    """
    return semantic_BCHW + photographic_BCHW - negative_BCHW


def gram(features_BCHW: Tensor) -> Tensor:
    """Which channels go together: B x C x C, divided by C H W. Source: Gatys et al. 2016, eq. 3."""
    batch, channels, height, width = features_BCHW.shape
    flat_BCN = features_BCHW.reshape(batch, channels, height * width)
    return flat_BCN @ flat_BCN.transpose(1, 2) / (channels * height * width)


def gram_error(
    predicted: Sequence[Tensor], real: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    """Weighted L1 distance of Gram matrices over the scales; no gradient flows into `real`.

    Source: AuthFace eq. 5, second term; the paper leaves the norm open, L1 is GFP-GAN's (eq. 5
    there).
    """
    distances = [
        weight * (gram(p) - gram(r.detach())).abs().mean(dim=(1, 2))
        for p, r, weight in zip(predicted, real, weights, strict=True)
    ]
    return torch.stack(distances).sum(dim=0)


def fooling_error(logit_B: Tensor) -> Tensor:
    """-log D(fake) per sample: the non-saturating form of AuthFace eq. 5, first term.

    The printed log(1 - D) has no slope where the critic is sure. Source: Goodfellow et al. 2014,
    section 3.
    """
    return softplus(-logit_B)


def critic_error(real_logit_B: Tensor, fake_logit_B: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)) per sample. Source: Goodfellow et al. 2014, eq. 1."""
    return softplus(-real_logit_B) + softplus(fake_logit_B)
