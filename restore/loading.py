"""A restorer's parts from disk to device. Picks the device."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ControlNetModel

from data_manifests.errors import CheckpointError, ConfigError
from restore.compiling import compile_blocks
from restore.config import RestoreConfig
from restore.lora import Lora, changes_words, find_lora, merge_loras, with_loras
from restore.model import ModelFacts, controlnet_of, describe_model, find_base, find_model
from restore.parts import check_parts, check_weights
from restore.words import Words, encode_words, read_words, words_file, write_words

__all__ = ["laid_out", "load_parts", "open_parts", "pick_device", "pick_dtype", "settled_facts"]

log = logging.getLogger(__name__)


def settled_facts(
    name: str, config: RestoreConfig, given: Collection[str] = ()
) -> tuple[ModelFacts, list[Lora]]:
    """The model that the settings make of a folder or hub id, and the LoRAs to merge into it.

    Raises CheckpointError where a part is missing that is not `given` from elsewhere.
    """
    loras = [find_lora(text) for text in config.lora]
    base = find_base(config.base) if config.base is not None else None
    folder = find_model(name, alone=base is not None)
    if base is None:
        check_parts(folder, given)
    else:
        check_parts(base, {*given, "controlnet"})
        check_weights(controlnet_of(folder))
    facts = describe_model(folder, base=base)
    facts = replace(
        facts,
        sha256=with_loras(facts.sha256, loras),
        loras=tuple(lora.told for lora in loras),
        prompt=facts.prompt if config.prompt is None else config.prompt,
        negative_prompt=(
            facts.negative_prompt if config.negative_prompt is None else config.negative_prompt
        ),
    )
    return facts, loras


def open_parts(
    load: Callable[..., Any],
    settled: tuple[ModelFacts, list[Lora]],
    config: RestoreConfig,
    device: torch.device,
    **parts: Any,
) -> tuple[Any, Words]:
    """A pipeline on the device, LoRAs merged, and its prompts encoded.

    `load` is the `from_pretrained` of its class. Its text encoders are not loaded if the prompts
    were encoded before, else let go afterwards. Raises CheckpointError for a folder that is no SDXL
    ControlNet pipeline.
    """
    facts, loras = settled
    dtype = pick_dtype(config.precision, device)
    # Parts that are given, and LoRAs of the text encoders, make other words of the same prompts.
    usual = not parts.keys() & {"text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"}
    kept: Path | None = None
    if config.cache_prompts and usual and not any(changes_words(lora) for lora in loras):
        prompts = (facts.prompt, facts.negative_prompt)
        kept = words_file(facts.folder, prompts, dtype, device.type)
    words = read_words(kept, device) if kept is not None else None
    if words is not None:
        parts = {**parts, "text_encoder": None, "text_encoder_2": None}
    try:
        pipe = load_parts(load, facts, dtype, getattr(torch, config.vae_precision), **parts)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{facts.folder} can't be opened as an SDXL ControlNet pipeline: {reason}",
            "Train or copy it again; weights must be safetensors.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    merge_loras(pipe, loras)
    pipe = laid_out(pipe.to(device))
    if words is None:
        words = encode_words(pipe, facts.prompt, facts.negative_prompt)
        if kept is not None:
            write_words(kept, words)
    if config.compile:
        compile_blocks(pipe.unet)
        compile_blocks(pipe.controlnet)
    return pipe, words


def load_parts(
    load: Callable[..., Any],
    facts: ModelFacts,
    dtype: torch.dtype,
    vae_dtype: torch.dtype = torch.float32,
    **parts: Any,
) -> Any:
    """The diffusers pipeline of a model, on the CPU: the VAE in `vae_dtype`, the rest in `dtype`.

    From safetensors only, and from the disk only. `parts` take the place of the folder's.
    """
    how: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    with _no_progress_bars(), _heard_when_open() as said:
        if facts.controlnet is not None and "controlnet" not in parts:
            parts["controlnet"] = ControlNetModel.from_pretrained(
                facts.controlnet, dtype=dtype, variant=_variant(facts.controlnet), **how
            )
        pipe = load(
            facts.folder,
            variant=_variant(facts.folder),
            add_watermarker=False,
            # SDXL's VAE overflows in half precision.
            dtype={"default": dtype, "vae": vae_dtype},
            **how,
            **parts,
        )
        _refuse_gaps(pipe, said, facts)
    return pipe


def _refuse_gaps(pipe: Any, said: Sequence[logging.LogRecord], facts: ModelFacts) -> None:
    """Raise CheckpointError if a model's files lack some of its weights.

    Diffusers leaves these without values; transformers draws random ones, and only says so.
    """
    models = {n: m for n, m in pipe.components.items() if isinstance(m, torch.nn.Module)}
    gaps = [n for n, m in models.items() if any(p.is_meta for p in m.parameters())]
    if any("newly initialized" in record.getMessage() for record in said):
        gaps.append("a text encoder")
    if not gaps:
        return
    part = gaps[0]
    raise CheckpointError(
        f"{facts.folder}: some weights of {part} are in none of its files.",
        "Train or copy it again.",
    )


def laid_out(pipe: Any) -> Any:
    """The pipeline, on a GPU with channels innermost: as its convolutions want them."""
    if pipe.device.type == "cuda":
        for model in (pipe.unet, pipe.controlnet):
            model.to(memory_format=torch.channels_last)
    return pipe


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is the best there is. ConfigError if it can't be used."""
    if name == "auto":
        best = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else best)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {name!r} can't be used here.", "Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """U-Net's and ControlNet's precision on a device."""
    if precision == "half":
        return torch.float32 if device.type == "cpu" else torch.float16
    if precision != "auto":
        named: torch.dtype = getattr(torch, precision)
        return named
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _variant(folder: Path) -> str | None:
    """`fp16` if that is the only form in which some part's weights are there."""
    names = {p.parent: set[str]() for p in folder.rglob("*.safetensors")}
    for path in folder.rglob("*.safetensors"):
        names[path.parent].add("fp16" if ".fp16." in path.name else "plain")
    return "fp16" if {"fp16"} in names.values() else None


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Both libraries draw bars while loading; the command line draws its own."""
    diffusers_bars = diffusers.utils.logging.is_progress_bar_enabled()
    transformers_bars = transformers.utils.logging.is_progress_bar_enabled()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if diffusers_bars:
            diffusers.utils.logging.enable_progress_bar()
        if transformers_bars:
            transformers.utils.logging.enable_progress_bar()


class _Kept(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def _heard_when_open() -> Iterator[Sequence[logging.LogRecord]]:
    """What both libraries log about a model that opens is heard then; of one that does not, the
    error says it all, and what they logged is for who debugs."""
    kept, opened = _Kept(), False
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [(one.handlers, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers, one.propagate = [kept], False
    try:
        yield kept.records
        opened = True
    finally:
        for one, (handlers, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
        for record in kept.records:
            if opened:
                logging.getLogger(record.name).handle(record)
            else:
                log.debug("%s: %s", record.name, record.getMessage())
