"""Faces into a VAE's latents and back, in one piece or in tiles.

Legend: B faces, C channels, H rows, W columns. Faces are float32 0 to 1; latents are in the VAE's
scaled units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["LEAST_TILE", "decode_faces", "encode_faces", "latent_shape", "tiled"]

LEAST_TILE = 128  # px; a tile of less sees too little of a face for its VAE to draw it


def encode_faces(vae: Any, image_BCHW: Tensor) -> Tensor:
    """Scaled latents of faces in 0 to 1: the mode of the VAE's posterior, so nothing is random."""
    latent_BCHW: Tensor = vae.encode(image_BCHW.to(vae.dtype) * 2 - 1).latent_dist.mode()
    if vae.dtype != torch.float32:
        latent_BCHW = latent_BCHW.float()  # noise is added in full precision
    mean, std = _latent_norm(vae, latent_BCHW)
    scaled_BCHW: Tensor = (latent_BCHW - mean) / std * vae.config.scaling_factor
    return scaled_BCHW


def latent_shape(vae: Any, size: Sequence[int]) -> tuple[int, int, int]:
    """Channels, rows and columns of the latents of a face of so many rows and columns."""
    side = 2 ** (len(vae.config.block_out_channels) - 1)
    return vae.config.latent_channels, size[0] // side, size[1] // side


def decode_faces(vae: Any, latent_BCHW: Tensor) -> Tensor:
    """Faces of scaled latents, about 0 to 1 and not clipped."""
    latent_BCHW = latent_BCHW.to(vae.dtype)
    mean, std = _latent_norm(vae, latent_BCHW)
    image_BCHW: Tensor = vae.decode(latent_BCHW / vae.config.scaling_factor * std + mean).sample
    if vae.dtype != torch.float32:
        image_BCHW = image_BCHW.float()  # bfloat16 holds no 256 levels near white
    return image_BCHW / 2 + 0.5


@contextmanager
def tiled(vae: Any, tile: int | None) -> Iterator[None]:
    """While it holds, the VAE works on tiles of that many pixels, blended where they overlap.

    None leaves the VAE as it is. Tiles take less memory and change the result: normalisation sees
    one tile at a time. The VAE may be shared, so that all is put back at the end.
    """
    if tile is None:
        yield
        return
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    before = {name: getattr(vae, name) for name in names}
    latent_tile = latent_shape(vae, (tile, tile))[1]
    for name, value in zip(names, (True, tile, latent_tile), strict=True):
        setattr(vae, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def _latent_norm(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is None or std is None:
        return like.new_zeros(()), like.new_ones(())
    return like.new_tensor(mean).view(1, -1, 1, 1), like.new_tensor(std).view(1, -1, 1, 1)
