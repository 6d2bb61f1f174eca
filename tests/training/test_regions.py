from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.regions import face_mask, roi_align

# The FFHQ template at 512 px: eyes, nose, corners of the mouth.
FFHQ = np.array([(193.0, 240.0), (318.9, 240.2), (256.6, 314.0), (201.3, 371.4), (313.1, 371.2)])


def plain_roi_align(latent_CHW: np.ndarray, box: list[float], cells: int) -> np.ndarray:
    """Loops over every reading, as Mask R-CNN's text has it; two readings per side of a cell."""
    left, top, right, bottom = box
    patch = np.zeros((len(latent_CHW), cells, cells))
    for i in range(cells):
        for j in range(cells):
            for a in (0.25, 0.75):
                for b in (0.25, 0.75):
                    y = top + (i + a) * (bottom - top) / cells
                    x = left + (j + b) * (right - left) / cells
                    patch[:, i, j] += bilinear(latent_CHW, x, y) / 4
    return patch


def bilinear(latent_CHW: np.ndarray, x: float, y: float) -> np.ndarray:
    """Value at a continuous place; cell centres lie at halves, the border goes on outside."""
    height, width = latent_CHW.shape[1:]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    x0, y0 = math.floor(x), math.floor(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    fx, fy = x - x0, y - y0
    top = (1 - fx) * latent_CHW[:, y0, x0] + fx * latent_CHW[:, y0, x1]
    low = (1 - fx) * latent_CHW[:, y1, x0] + fx * latent_CHW[:, y1, x1]
    return np.asarray((1 - fy) * top + fy * low)


@pytest.mark.parametrize("box", [[3.2, 4.1, 9.9, 11.3], [0, 0, 16, 16], [-2, 10, 6, 18.5]])
def test_roi_align_agrees_with_plain_loops(box: list[float]) -> None:
    latent_BCHW = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    patch_BCNN = roi_align(latent_BCHW, torch.tensor([box, box]), 5)
    assert patch_BCNN.shape == (2, 3, 5, 5)
    for latent, patch in zip(latent_BCHW, patch_BCNN, strict=True):
        expected = plain_roi_align(latent.numpy().astype(float), box, 5)
        np.testing.assert_allclose(patch.numpy(), expected, atol=2e-5)


def test_roi_align_sends_gradient_only_where_it_looked() -> None:
    latent_BCHW = torch.randn(1, 1, 12, 12, requires_grad=True)
    roi_align(latent_BCHW, torch.tensor([[4.0, 4.0, 8.0, 8.0]]), 4).sum().backward()
    assert latent_BCHW.grad is not None
    touched = latent_BCHW.grad[0, 0] != 0
    assert touched[4:8, 4:8].all()
    assert not touched[:3].any()
    assert not touched[:, 9:].any()


def test_mask_covers_the_face_and_not_the_corners() -> None:
    mask_HW = face_mask(FFHQ, 512, 64)
    assert mask_HW.shape == (64, 64)
    for x, y in FFHQ:
        assert mask_HW[int(y / 8), int(x / 8)] == 1
    assert mask_HW[0, 0] == mask_HW[-1, -1] == mask_HW[0, -1] == 0
    assert 0.3 < mask_HW.mean() < 0.75
    assert ((mask_HW > 0) & (mask_HW < 1)).any()


def test_mask_turns_with_the_head() -> None:
    """A face turned by 90 degrees has the turned mask."""
    centre = np.array([256.0, 256.0])
    turned = (FFHQ - centre) @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + centre
    straight, quarter = face_mask(FFHQ, 512, 64), face_mask(turned, 512, 64)
    np.testing.assert_allclose(quarter, np.rot90(straight, -1), atol=1e-5)
