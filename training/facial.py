"""The time-aware latent facial feature loss: parts of the face, judged knowing the timestep.

Source: AuthFace (arXiv 2410.09864 v2), eq. 5. The paper cuts its patches from the predicted noise;
the default here cuts them from the clean latents that noise implies, because true noise holds
nothing of a face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.config import FacialConfig
from training.critics import FEATURE_WEIGHTS, Critic
from training.losses import critic_error, fooling_error, gram_error
from training.regions import roi_align

__all__ = ["FacialLoss", "FacialTerms"]


@dataclass(frozen=True, slots=True)
class FacialTerms:
    """The loss's terms per sample, zero where a sample does not count."""

    gan_B: Tensor
    gram_B: Tensor
    critic_B: Tensor
    counts_B: Tensor  # whether any part of the sample counts


class FacialLoss(nn.Module):
    """Discriminators: one for both eyes, one for the mouth, if asked for the nose and brows too."""

    def __init__(self, config: FacialConfig, unet: Any) -> None:
        super().__init__()
        self.config = config
        time_width = unet.time_embedding.linear_2.out_features
        channels = unet.config.out_channels
        self.critics = nn.ModuleDict(
            {
                name: Critic(channels=channels, width=config.width, time_width=time_width)
                for name in config.parts
            }
        )
        # Rows of the boxes (training.data.PARTS) that each discriminator sees, and the side of its
        # patches.
        known = {
            "eyes": ((0, 1), config.eye_cells),
            "mouth": ((2,), config.mouth_cells),
            "nose": ((3,), config.nose_cells),
            "brows": ((4, 5), config.brow_cells),
        }
        self.parts = {name: known[name] for name in config.parts}

    def forward(
        self, pair: tuple[Tensor, Tensor], boxes_BP4: Tensor, time_BT: Tensor, alpha_bar_B: Tensor
    ) -> FacialTerms:
        """The terms of a batch; `pair` is (predicted, real) latents, boxes are in latent cells.

        A part counts where its box is known and where the noise leaves a face to be seen: at the
        highest noise levels the predicted clean latents are a blur, and a discriminator would only
        learn to see that.
        """
        seen_BP = (boxes_BP4[..., 2] > boxes_BP4[..., 0]) & (
            alpha_bar_B >= self.config.least_signal
        )[:, None]
        sums = [torch.zeros_like(alpha_bar_B) for _ in range(3)]
        for name, (rows, cells) in self.parts.items():
            for row in rows:
                terms = self._part(self.critics[name], pair, boxes_BP4[:, row], (time_BT, cells))
                share_B = seen_BP[:, row] / len(
                    rows
                )  # both of a pair together weigh as much as the mouth
                sums = [
                    total + torch.where(share_B > 0, share_B * term, 0.0)
                    for total, term in zip(sums, terms, strict=True)
                ]
        gan_B, gram_B, critic_B = sums
        judged = [row for rows, _ in self.parts.values() for row in rows]
        return FacialTerms(gan_B, gram_B, critic_B, seen_BP[:, judged].any(dim=1))

    def _part(
        self,
        critic: nn.Module,
        pair: tuple[Tensor, Tensor],
        boxes_B4: Tensor,
        view: tuple[Tensor, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        time_BT, cells = view
        predicted_BCNN, real_BCNN = (roi_align(latent, boxes_B4, cells) for latent in pair)
        critic.requires_grad_(
            False
        )  # the model's terms must not move the critic they are judged by
        fake_logit_B, fake_features = critic(predicted_BCNN, time_BT)
        critic.requires_grad_(True)
        real_logit_B, real_features = critic(real_BCNN.detach(), time_BT)
        gan_B = fooling_error(fake_logit_B)
        gram_B = gram_error(fake_features, real_features, FEATURE_WEIGHTS)  # which detaches them
        shown_logit_B, _ = critic(predicted_BCNN.detach(), time_BT)
        return gan_B, gram_B, critic_error(real_logit_B, shown_logit_B)
