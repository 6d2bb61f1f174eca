"""The sizes of Stable Diffusion XL, for counting and measuring without its weights.

Source: the configs published with stabilityai/stable-diffusion-xl-base-1.0.
"""

from __future__ import annotations

from typing import Any

__all__ = ["POOLED_WIDTH", "TEXT", "TOKENS", "TOKEN_WIDTH", "UNET", "VAE"]

TOKENS = 77  # of a prompt
TOKEN_WIDTH = 2048  # both text encoders side by side
POOLED_WIDTH = 1280

UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),  # in truth the number of heads, 64 wide each
    "use_linear_projection": True,
    "cross_attention_dim": TOKEN_WIDTH,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": POOLED_WIDTH + 6 * 256,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
# Of both text encoders, the second with a projection.
TEXT: tuple[dict[str, Any], dict[str, Any]] = (
    {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
    {
        "hidden_size": POOLED_WIDTH,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": POOLED_WIDTH,
    },
)
