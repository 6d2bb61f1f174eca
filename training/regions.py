"""Where the face and its parts are, on the latent grid.

A latent cell (i, j) covers the square [8 j, 8 j + 8) x [8 i, 8 i + 8) of the crop, so dividing
crop coordinates by the VAE's factor gives continuous latent coordinates in which cell centres lie
at halves.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = ["face_mask", "roi_align"]

# Half axes of the ellipse in units of the distance from the eyes' middle to the mouth's, measured
# on the FFHQ template: hairline to chin along it, ear to ear with a margin of hair across it.
_ALONG, _ACROSS, _CENTRE = 1.65, 1.30, 0.20
_EDGE = 0.15  # half width of the soft edge, in radii


def face_mask(landmarks_52: NDArray[np.float64], size: int, cells: int) -> NDArray[np.float32]:
    """How much each latent cell is face, 0 to 1: a soft ellipse with a margin for the hair.

    Landmarks are five points in pixels of a square crop of side `size`; the mask is cells x cells.
    """
    eyes, mouth = landmarks_52[:2].mean(axis=0), landmarks_52[3:5].mean(axis=0)
    down = mouth - eyes
    apart = float(np.linalg.norm(landmarks_52[1] - landmarks_52[0]))
    unit = max(
        float(np.linalg.norm(down)), apart, 1e-6
    )  # a profile's eyes are close, a chin-down mouth is near
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    centres = (np.arange(cells) + 0.5) * size / cells
    offset = np.stack(np.meshgrid(centres, centres), axis=-1) - (eyes + _CENTRE * unit * down)
    along = offset @ down / (_ALONG * unit)
    across = offset @ np.array([-down[1], down[0]]) / (_ACROSS * unit)
    radius = np.hypot(along, across)
    ramp = np.clip((1 + _EDGE - radius) / (2 * _EDGE), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def roi_align(latent_BCHW: Tensor, boxes_B4: Tensor, cells: int, *, points: int = 2) -> Tensor:
    """One patch per sample, B x C x cells x cells; a cell is the mean of points x points readings.

    Boxes are (left, top, right, bottom) in continuous latent coordinates; readings outside the
    latent take its border. Differentiable in the latent. Source: He et al. 2017, Mask R-CNN,
    section 3 (RoIAlign).
    """
    height, width = latent_BCHW.shape[-2:]
    reading_N = (torch.arange(cells * points, device=latent_BCHW.device) + 0.5) / (cells * points)
    left_B1, top_B1, right_B1, bottom_B1 = boxes_B4.to(reading_N).unsqueeze(-1).unbind(dim=1)
    x_BN = left_B1 + reading_N * (right_B1 - left_B1)
    y_BN = top_B1 + reading_N * (bottom_B1 - top_B1)
    grid_x_BNN = (2 * x_BN / width - 1)[:, None, :].expand(-1, cells * points, -1)
    grid_y_BNN = (2 * y_BN / height - 1)[:, :, None].expand(-1, -1, cells * points)
    grid_BNN2 = torch.stack((grid_x_BNN, grid_y_BNN), dim=-1).to(latent_BCHW)
    # align_corners=False puts -1 and 1 on the outer edges, which is where our continuous
    # coordinates have 0 and W.
    read_BCNN = grid_sample(
        latent_BCHW, grid_BNN2, mode="bilinear", padding_mode="border", align_corners=False
    )
    return torch.nn.functional.avg_pool2d(read_BCNN, points)
