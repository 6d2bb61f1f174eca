"""Prompts as numbers: encoded once, kept in the user's cache. Touches the disk.

SDXL's two text encoders hold 817 million weights, 1.6 GB in half precision; with a prompt that was
encoded before they are not even loaded. Legend: B prompts, S tokens, C and P channels.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save
from torch import Tensor

from data_manifests.errors import AuthFaceError
from data_manifests.media import write_atomic
from restore.records import known_sha256

__all__ = ["Words", "encode_words", "read_words", "words_file", "words_used", "write_words"]

log = logging.getLogger(__name__)

Words = dict[str, Tensor]

_NAMES = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
_PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


def encode_words(pipe: Any, prompt: str, negative_prompt: str) -> Words:
    """The prompts by diffusers' names, BSC and BP; the pipeline's text encoders are let go."""
    with torch.no_grad():
        found = pipe.encode_prompt(
            prompt,
            device=pipe.unet.device,
            do_classifier_free_guidance=True,
            negative_prompt=negative_prompt,
        )
    pipe.text_encoder = pipe.text_encoder_2 = None
    return dict(zip(_NAMES, found, strict=True))


def words_used(words: Words, *, guided: bool) -> Words:
    """Those that a pipeline is given: without guidance there is nothing to lead away from."""
    return {k: v for k, v in words.items() if guided or not k.startswith("negative")}


def words_file(folder: Path, prompts: tuple[str, str], dtype: torch.dtype, device: str) -> Path:
    """Where a model folder's encoded prompts are kept.

    The name is a hash over the bytes of text encoders and tokenizers, the prompts, and what else
    moves the bits of the result: precision, kind of device, versions of torch and transformers.
    """
    files = {
        p.relative_to(folder).as_posix(): known_sha256(p)
        for part in _PARTS
        for p in sorted((folder / part).glob("*"))
        if p.is_file()
    }
    versions = [torch.__version__, transformers.__version__]
    told = json.dumps([files, prompts, str(dtype), device, versions])
    name = hashlib.sha256(told.encode()).hexdigest()
    return platformdirs.user_cache_path("authface") / "words" / f"{name}.safetensors"


def read_words(file: Path, device: torch.device) -> Words | None:
    """The prompts that were kept there, none if there are none or a byte of them is damaged."""
    try:
        words: Words = load_file(file)
        with safetensors.safe_open(file, "pt") as opened:
            said = opened.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return None
    if set(words) != set(_NAMES) or said.get("sha256") != _tensors_sha256(words):
        log.warning("%s is damaged; the prompts are encoded anew", file)
        return None
    return {name: words[name].to(device) for name in _NAMES}


def write_words(file: Path, words: Words) -> None:
    """Keep encoded prompts; that they can't be kept is no reason to stop."""
    there = {k: v.detach().cpu().contiguous() for k, v in words.items()}
    try:
        write_atomic(file, save(there, {"sha256": _tensors_sha256(there)}))
    except AuthFaceError as error:
        log.warning("encoded prompts are not kept: %s", error)


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
