"""The two stages of the paper, and the only place where they differ.

A stage turns samples into items (on the CPU, safe in a thread) and items into a loss. Everything
random is drawn from the plan by (seed, step, place in the batch), so a stage holds no state but
its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import ControlNetModel
from numpy.typing import NDArray
from torch import Tensor, nn

from data_manifests.records import Sample
from training import losses, plan
from training.config import PriorConfig, RestorerConfig, RunConfig
from training.data import Example, aimed, load_example, words
from training.degrade import apply, draw_at, preset, to_json
from training.facial import FacialLoss
from training.models import Base, Words, time_embedding
from training.plan import Stream

__all__ = ["Group", "Item", "Loss", "Prior", "Restorer", "Stage"]


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that are optimised together."""

    name: str
    module: nn.Module
    lr: float

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable ones, by a name that is stable across runs."""
        return {f"{self.name}.{n}": p for n, p in self.module.named_parameters() if p.requires_grad}


@dataclass(frozen=True, slots=True)
class Item:
    """One sample of one step."""

    index: int  # place in the batch
    example: Example
    wordless: bool
    poor_HWC: NDArray[np.uint8] | None = None  # the degraded crop
    note: dict[str, Any] | None = None  # what the journal keeps of it


@dataclass(frozen=True, slots=True)
class Loss:
    """What a stage minimises, per sample, and what it is made of; NaN where a part had no say."""

    error_B: Tensor
    parts: dict[str, Tensor]
    rival_B: Tensor | None = None  # what the discriminators minimise, on weights of their own


class Stage(Protocol):
    """What the loop knows of a stage."""

    groups: tuple[Group, ...]

    def item(self, sample: Sample, step: int, index: int) -> Item:
        """A sample as it is seen at this step."""

    def loss(self, items: Sequence[Item], step: int) -> Loss:
        """The loss of some of the step's items."""


@dataclass
class _Shared:
    base: Base
    config: RunConfig
    media: Path
    groups: tuple[Group, ...] = field(init=False)

    def item(self, sample: Sample, step: int, index: int) -> Item:
        rng = plan.rng(self.config.seed, Stream.AUGMENT, step, index)
        mirror, wordless = (
            rng.random() < self.config.flip,
            rng.random() < self.config.prompt_dropout,
        )
        example = load_example(sample, self.media, self._size, mirror=bool(mirror))
        return Item(index, example, bool(wordless))

    @property
    def _size(self) -> int:
        if self.config.size is None:
            raise ValueError("resolve() the config first")
        return self.config.size

    def _noised(self, items: Sequence[Item], step: int) -> _Noised:
        pixels_NHWC = np.stack([i.example.pixels_HWC for i in items])
        cells, channels = self._size // 8, self.base.unet.config.in_channels
        rngs = [plan.torch_rng(self.config.seed, Stream.NOISE, step, i.index) for i in items]
        posterior, noise = (_normal(rngs, (channels, cells, cells)) for _ in range(2))
        timestep_B = torch.cat(
            [torch.randint(len(self.base.alpha_bar_T), (1,), generator=r) for r in rngs]
        )
        timestep_B, noise_BCHW = timestep_B.to(self.base.device), noise.to(self.base.device)
        alpha_bar_B = self.base.alpha_bar_T[timestep_B]
        clean_BCHW = self.base.latents(pixels_NHWC, posterior)
        noisy_BCHW = losses.add_noise(clean_BCHW, noise_BCHW, alpha_bar_B)
        return _Noised(clean_BCHW, noise_BCHW, noisy_BCHW, timestep_B, alpha_bar_B)

    @contextmanager
    def _mixed(self) -> Iterator[None]:
        bf16 = self.config.precision == "bf16" or (
            self.config.precision == "auto"
            and self.base.device.type == "cuda"
            and torch.cuda.is_bf16_supported()
        )
        with torch.autocast(self.base.device.type, torch.bfloat16, enabled=bf16):
            yield

    def _boxes(self, items: Sequence[Item]) -> Tensor:
        return torch.stack([i.example.boxes_P4 for i in items]).to(self.base.device)


@dataclass(frozen=True, slots=True)
class _Noised:
    clean_BCHW: Tensor
    noise_BCHW: Tensor
    noisy_BCHW: Tensor
    timestep_B: Tensor
    alpha_bar_B: Tensor


class Prior(_Shared):
    """Stage 1: the U-Net learns portraits from their words. Source: AuthFace section 3.2."""

    config: PriorConfig

    def __init__(self, base: Base, config: PriorConfig, media: Path) -> None:
        super().__init__(base, config, media)
        guided = config.loss == "masked" and config.distill_weight > 0
        self.unet = base.unet
        # A LoRA leaves the base's weights alone: switched off, it is its own teacher.
        self.teacher = copy.deepcopy(self.unet) if guided and not config.lora_rank else self.unet
        _open(self.unet, config)
        self.groups = (Group("unet", self.unet, config.lr or 0.0),)

    def loss(self, items: Sequence[Item], step: int) -> Loss:
        """Plain (v1), or masked and guided by the frozen base (v2). Source: AuthFace eq. 1 to 3."""
        noised = self._noised(items, step)
        time_ids_B6 = torch.stack([i.example.time_ids_6 for i in items]).to(self.base.device)
        spoken = Words.stack([self._words(i) for i in items])
        predicted_BCHW = self._predict(self.unet, noised, spoken, time_ids_B6)
        if self.config.loss == "plain":
            error_B = losses.mean_error(predicted_BCHW, noised.noise_BCHW)
            return Loss(error_B, {"noise": error_B.detach()})
        mask_B1HW = torch.stack([i.example.mask_HW[None] for i in items]).to(self.base.device)
        face_B = losses.masked_error(predicted_BCHW, noised.noise_BCHW, mask_B1HW)
        if not self.config.distill_weight:
            return Loss(face_B, {"face": face_B.detach()})
        guide_B = losses.mean_error(predicted_BCHW, self._guide(items, noised, time_ids_B6))
        has_words_B = torch.tensor([not i.wordless for i in items], device=self.base.device)
        error_B = face_B + self.config.distill_weight * guide_B * has_words_B
        return Loss(error_B, {"face": face_B.detach(), "guide": _where(has_words_B, guide_B)})

    def _words(self, item: Item) -> Words:
        sample = item.example.sample
        if item.wordless:
            return self.base.words(None)
        if self.config.loss == "plain":
            return self.base.words(
                words(sample.caption, sample.semantic_tags, sample.photographic_tags)
            )
        # The photographic tags reach the student through the teacher, under the one identifier
        # phrase.
        return self.base.words(
            words(self.config.identifier_prompt, sample.caption, sample.semantic_tags)
        )

    @torch.no_grad()
    def _guide(self, items: Sequence[Item], noised: _Noised, time_ids_B6: Tensor) -> Tensor:
        samples = [i.example.sample for i in items]
        prompts = (
            [words(s.caption, s.semantic_tags) for s in samples],
            [words(s.photographic_tags) for s in samples],
            [self.config.negative_prompt] * len(samples),
        )
        with _without_lora(self.teacher, self.config.lora_rank):
            semantic, photographic, negative = (
                self._predict(
                    self.teacher,
                    noised,
                    Words.stack([self.base.words(p) for p in group]),
                    time_ids_B6,
                )
                for group in prompts
            )
        return losses.guided_target(semantic, photographic, negative)

    def _predict(self, unet: Any, noised: _Noised, spoken: Words, time_ids_B6: Tensor) -> Tensor:
        with self._mixed():
            predicted: Tensor = unet(
                noised.noisy_BCHW,
                noised.timestep_B,
                encoder_hidden_states=spoken.embedding_BSC,
                added_cond_kwargs={"text_embeds": spoken.pooled_BP, "time_ids": time_ids_B6},
            ).sample
        return predicted.float()


class Restorer(_Shared):
    """Stage 2: a ControlNet on the frozen prior learns to restore. Source: AuthFace section 3.3."""

    config: RestorerConfig

    def __init__(self, base: Base, config: RestorerConfig, media: Path) -> None:
        super().__init__(base, config, media)
        self.ranges = preset(config.recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.torch_rng(config.seed, Stream.WEIGHTS, 0).initial_seed())
            self.controlnet = ControlNetModel.from_unet(base.unet).to(base.device).train()
            self.facial = FacialLoss(config.facial, base.unet).to(base.device)
        if config.gradient_checkpointing:
            self.controlnet.enable_gradient_checkpointing()
        self.groups = (
            Group("controlnet", self.controlnet, config.lr or 0.0),
            Group("critics", self.facial.critics, config.facial.lr),
        )

    def item(self, sample: Sample, step: int, index: int) -> Item:
        """The sample as its recipe makes it a target, and its degraded copy."""
        item = super().item(sample, step, index)
        clean = item.example
        recipe = draw_at(
            (self.config.seed, step, index), self.ranges, size=(self._size, self._size)
        )
        every = self.config.log_recipes
        note = _note(clean, to_json(recipe)) if every and (step + 1) % every == 0 else None
        poor_HWC = apply(clean.pixels_HWC, recipe)
        return replace(item, example=aimed(clean, recipe), poor_HWC=poor_HWC, note=note)

    def loss(self, items: Sequence[Item], step: int) -> Loss:
        """Denoising under the degraded picture, plus the facial loss. Source: AuthFace eq. 4, 5."""
        noised = self._noised(items, step)
        predicted_BCHW = self._predict(items, noised)
        noise_B = losses.mean_error(predicted_BCHW, noised.noise_BCHW)
        facial = self.facial.config
        if facial.on == "noise":
            pair = predicted_BCHW, noised.noise_BCHW
        else:
            clean_BCHW = losses.predicted_clean(
                noised.noisy_BCHW, predicted_BCHW, noised.alpha_bar_B
            )
            pair = clean_BCHW, noised.clean_BCHW
        time_BT = time_embedding(self.base.unet, noised.timestep_B).float()
        terms = self.facial(pair, self._boxes(items), time_BT, noised.alpha_bar_B)
        error_B = noise_B
        if step >= facial.start:
            error_B = noise_B + facial.gan_weight * terms.gan_B + facial.gram_weight * terms.gram_B
        parts = {"gan": terms.gan_B, "gram": terms.gram_B, "critic": terms.critic_B}
        logged = {name: _where(terms.counts_B, value) for name, value in parts.items()}
        return Loss(error_B, {"noise": noise_B.detach(), **logged}, terms.critic_B)

    def _predict(self, items: Sequence[Item], noised: _Noised) -> Tensor:
        prompts = [None if i.wordless else self.config.identifier_prompt for i in items]
        spoken = Words.stack([self.base.words(p) for p in prompts])
        # The released script's ids: at restoration the true size of the face's original is not
        # known.
        size = torch.tensor(
            [[self._size, self._size, 0, 0, self._size, self._size]], dtype=torch.float32
        )
        shared = {
            "encoder_hidden_states": spoken.embedding_BSC,
            "added_cond_kwargs": {
                "text_embeds": spoken.pooled_BP,
                "time_ids": size.expand(len(items), -1).to(self.base.device),
            },
        }
        poor_NHWC = np.stack([i.poor_HWC for i in items if i.poor_HWC is not None])
        poor_BCHW = (
            torch.from_numpy(poor_NHWC).to(self.base.device).permute(0, 3, 1, 2).float() / 255
        )
        with self._mixed():
            down, middle = self.controlnet(
                noised.noisy_BCHW,
                noised.timestep_B,
                controlnet_cond=poor_BCHW,
                return_dict=False,
                **shared,
            )
            predicted: Tensor = self.base.unet(
                noised.noisy_BCHW,
                noised.timestep_B,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                **shared,
            ).sample
        return predicted.float()


def _note(example: Example, recipe: dict[str, Any]) -> dict[str, Any]:
    """Enough to make the degraded copy again: the crop, whether it was mirrored, the recipe."""
    sample_id = example.sample.sample_id
    return {"sample": sample_id, "mirrored": example.mirrored, "recipe": recipe}


def _open(unet: Any, config: PriorConfig) -> None:
    """Make the U-Net trainable: all of it, or a LoRA on its attention."""
    if config.lora_rank:
        from peft import LoraConfig

        seed = plan.torch_rng(config.seed, Stream.WEIGHTS, 0).initial_seed()
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet.add_adapter(
                LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=targets)
            )
    else:
        unet.requires_grad_(True)
    unet.train()
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()


@contextmanager
def _without_lora(unet: Any, rank: int) -> Iterator[None]:
    if not rank:
        yield
        return
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()


def _normal(rngs: Sequence[torch.Generator], shape: tuple[int, ...]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=r) for r in rngs])


def _where(counts_B: Tensor, value_B: Tensor) -> Tensor:
    return torch.where(counts_B, value_B.detach(), torch.nan)
