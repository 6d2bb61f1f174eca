"""A tiny random model in SDXL's exact folder layout: every code path in seconds, without a hub.

Only the tokenizers are real: they are built from the CLIP vocabulary that open_clip ships.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from data_manifests.errors import MissingExtra
from training.bases import FACTS
from training.text_files import mend_text_files

__all__ = ["TEXT", "UNET", "VAE", "make_tiny", "make_tokenizer", "quiet"]

_CARD = """\
---
library_name: diffusers
license: apache-2.0
---
# Tiny SDXL-shaped model

Random weights, for testing code paths. It has the classes, the folder layout and the tokenizers of
Stable Diffusion XL and about 5 million parameters that were never trained: it makes no picture of
anything.
"""

# SDXL base 1.0's own values where size does not matter: scheduler and prediction type.
_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
_TEXT_WIDTH = 32
UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "cross_attention_dim": 2 * _TEXT_WIDTH,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": _TEXT_WIDTH + 6 * 8,
}
TEXT: dict[str, Any] = {  # of both text encoders
    "hidden_size": _TEXT_WIDTH,
    "intermediate_size": 2 * _TEXT_WIDTH,
    "projection_dim": _TEXT_WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "bos_token_id": 49406,
    "eos_token_id": 49407,  # the pooled vector is read at this token
    "pad_token_id": 1,
}
VAE: dict[str, Any] = {
    "block_out_channels": (16, 16, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "latent_channels": 4,
    "sample_size": 128,
    "scaling_factor": 4.0,  # brings the untrained encoder's latents to about unit deviation
    "force_upcast": True,
}


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """The folder, holding a whole StableDiffusionXLPipeline with random weights drawn from `seed`.

    Latents are an eighth of the picture's side, as in SDXL. Takes a few seconds and 30 MB.
    """
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        pipeline = StableDiffusionXLPipeline(
            vae=_make_vae(),
            text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)),
            text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**TEXT)),
            tokenizer=make_tokenizer("<|endoftext|>"),
            tokenizer_2=make_tokenizer("!"),  # SDXL's second tokenizer pads with token 0
            unet=UNet2DConditionModel(**UNET),
            scheduler=EulerDiscreteScheduler(**_SCHEDULER),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )
        pipeline.save_pretrained(folder)
        mend_text_files(folder)
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
    facts = {
        "kind": "base",
        "tiny": True,
        "about": "random weights, for testing code paths",
        "seed": seed,
    }
    (folder / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars of diffusers and transformers while they read and write weights."""
    shown = [
        log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()
    ]
    for log in shown:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in shown:
            log.enable_progress_bar()


def _make_vae() -> AutoencoderKL:
    vae = AutoencoderKL(**VAE)
    with torch.no_grad():
        # Rows 4 to 8 give the log-variance; untrained it is about 0, which would drown the picture
        # in noise.
        vae.quant_conv.weight[4:].zero_()
        vae.quant_conv.bias[4:].fill_(-8.0)
    return vae


def make_tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer, from open_clip's vocabulary; `pad` fills up to 77 tokens."""
    merges = _read_merges()
    letters = _byte_letters()
    words = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77)


def _read_merges() -> list[tuple[str, str]]:
    # find_spec does not run open_clip, whose import needs seconds and a working torchvision.
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("open_clip_torch", "training", "The tiny model's tokenizer")
    path = Path(spec.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    kept = lines[1 : 49152 - 256 - 2 + 1]  # line 0 is a header; CLIP stops at 49152 tokens
    return [(a, b) for a, _, b in (line.partition(" ") for line in kept)]


def _byte_letters() -> list[str]:
    """A printable letter for each byte, in CLIP's order. Source: Radford et al. 2019, GPT-2."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
