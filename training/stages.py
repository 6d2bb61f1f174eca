"""The two stages of the paper, and the only place where they differ."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_manifests.records import Sample
from training import losses, plan, prompts, speed, targets
from training.batch import Batch, Item, Noised
from training.condition import make_controlnet, shown
from training.config import PriorConfig, RestorerConfig
from training.data import Example, aimed
from training.degrade import apply, draw_at, preset, to_json
from training.face_parser import FaceMasks
from training.facial import FacialLoss
from training.models import Base, Words, time_embedding
from training.plan import Stream
from training.stage import Group, Loss, SharedStage
from training.targets import Kind

__all__ = ["Prior", "Restorer", "open_unet"]


class Prior(SharedStage):
    """Stage 1: the U-Net learns portraits from their words. Source: AuthFace section 3.2."""

    config: PriorConfig

    def __init__(self, base: Base, config: PriorConfig, media: Path) -> None:
        super().__init__(base, config, media)
        guided = config.loss == "masked" and config.distill_weight > 0
        self.unet = base.unet
        # A LoRA leaves the base's weights alone: switched off, it is its own teacher.
        self.teacher = copy.deepcopy(self.unet) if guided and not config.lora_rank else self.unet
        if self.teacher is not self.unet:
            speed.freeze(self.teacher, bf16=self.bf16)
            speed.prepare(self.teacher, config, base.device)
        open_unet(self.unet, config)
        speed.prepare(self.unet, config, base.device)
        self.groups = (Group("unet", self.unet, config.lr or 0.0),)
        self.masks: FaceMasks | None = None  # set where a face parser is configured

    def item(self, sample: Sample, step: int, index: int) -> Item:
        """As for both stages, with the words of this step, and the parser's mask if there is one.

        The mask stands in place of the landmarks' ellipse.
        """
        item = super().item(sample, step, index)
        example = item.example
        if prompts.varies(self.config):
            rng = plan.rng(self.config.seed, Stream.WORDS, step, index)
            example = replace(example, sample=prompts.drawn(self.config, sample, rng))
            item = replace(item, example=example)
        if self.masks is None:
            return item
        mask_HW = self.masks.of(sample, self.media, mirror=example.mirrored)
        return item if mask_HW is None else replace(item, example=replace(example, mask_HW=mask_HW))

    def loss(self, batch: Batch, step: int) -> Loss:
        """Plain (v1), or masked and guided by the frozen base (v2). Source: AuthFace eq. 1 to 3."""
        batch = batch.on(self.base.device)
        noised = self._noised(batch)
        spoken = Words.stack([self._words(i) for i in batch.items])
        predicted_BCHW = self._predict(self.unet, noised, spoken, batch.time_ids_B6)
        if self.config.loss == "plain":
            error_B = losses.mean_error(predicted_BCHW, self._target(noised))
            return Loss(self._weighed(error_B, noised), {"noise": error_B.detach()})
        face_B = losses.masked_error(predicted_BCHW, self._target(noised), batch.mask_B1HW)
        if not self.config.distill_weight:
            return Loss(self._weighed(face_B, noised), {"face": face_B.detach()})
        # As noise, whatever either of the two predicts: equation 2 is of noise.
        predicted_BCHW = self._as_noise(self.schedule.kind, predicted_BCHW, noised)
        guide_B = losses.mean_error(predicted_BCHW, self._guide(batch, noised))
        error_B = face_B + self.config.distill_weight * guide_B * batch.has_words_B
        guide = _where(batch.has_words_B, guide_B)
        return Loss(self._weighed(error_B, noised), {"face": face_B.detach(), "guide": guide})

    def _words(self, item: Item) -> Words:
        sample = item.example.sample
        if item.wordless:
            return self.base.words(None)
        return self.base.words(prompts.spoken(self.config, sample))

    @torch.no_grad()
    def _guide(self, batch: Batch, noised: Noised) -> Tensor:
        said = [prompts.guides(self.config, i.example.sample) for i in batch.items]
        with _without_lora(self.teacher, self.config.lora_rank):
            semantic, photographic, negative = (
                self._as_noise(
                    self.base.kind,
                    self._predict(
                        self.teacher,
                        noised,
                        Words.stack([self.base.words(p) for p in group]),
                        batch.time_ids_B6,
                    ),
                    noised,
                )
                for group in zip(*said, strict=True)
            )
        return losses.guided_target(semantic, photographic, negative)

    def _as_noise(self, kind: Kind, predicted_BCHW: Tensor, noised: Noised) -> Tensor:
        return targets.noise_from(kind, predicted_BCHW, noised.noisy_BCHW, noised.level)

    def _predict(self, unet: Any, noised: Noised, spoken: Words, time_ids_B6: Tensor) -> Tensor:
        predicted: Tensor = self._call(
            unet,
            noised.noisy_BCHW,
            noised.timestep_B,
            encoder_hidden_states=spoken.embedding_BSC,
            added_cond_kwargs={"text_embeds": spoken.pooled_BP, "time_ids": time_ids_B6},
        ).sample
        return predicted.float()


class Restorer(SharedStage):
    """Stage 2: a ControlNet on the frozen prior learns to restore. Source: AuthFace section 3.3."""

    config: RestorerConfig

    def __init__(self, base: Base, config: RestorerConfig, media: Path) -> None:
        super().__init__(base, config, media)
        self.ranges = preset(config.recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.torch_rng(config.seed, Stream.WEIGHTS, 0).initial_seed())
            self.controlnet = make_controlnet(base.unet, config.condition).to(base.device).train()
            self.facial = FacialLoss(config.facial, base.unet).to(base.device)
        speed.freeze(base.unet, bf16=self.bf16)
        for model in (base.unet, self.controlnet):
            speed.prepare(model, config, base.device)
        if self.bf16:
            base.settle_words([None, config.identifier_prompt, config.negative_prompt])
        if config.gradient_checkpointing:
            # The frozen U-Net too: the ControlNet's gradient comes through its decoder.
            for model in (self.controlnet, base.unet):
                model.enable_gradient_checkpointing()
        critics = Group("critics", self.facial.critics, config.facial.lr)
        self.judges = config.facial.weighs
        learning = Group("controlnet", self.controlnet, config.lr or 0.0)
        self.groups = (learning, critics) if self.judges else (learning,)

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

    def loss(self, batch: Batch, step: int) -> Loss:
        """Denoising under the degraded picture, plus the facial loss. Source: AuthFace eq. 4, 5."""
        batch = batch.on(self.base.device)
        noised = self._noised(batch)
        predicted_BCHW = self._predict(batch, noised)
        noise_B = losses.mean_error(predicted_BCHW, self._target(noised))
        if not self.judges:  # critics that nothing listens to need not learn either
            return Loss(self._weighed(noise_B, noised), {"noise": noise_B.detach()})
        facial = self.facial.config
        pair = self._judged(predicted_BCHW, noised)
        time_BT = time_embedding(self.base.unet, noised.timestep_B).float()
        terms = self.facial(pair, batch.boxes_BP4, time_BT, noised.level.alpha_bar_B)
        error_B = self._weighed(noise_B, noised)
        if step >= facial.start:
            gan_B, gram_B = facial.gan_weight * terms.gan_B, facial.gram_weight * terms.gram_B
            if facial.timesteps == "logit_normal":
                time_B = self.schedule.time(noised.timestep_B)
                gan_B, gram_B = (targets.logit_normal(time_B) * x for x in (gan_B, gram_B))
            error_B = error_B + gan_B + gram_B
        parts = {"gan": terms.gan_B, "gram": terms.gram_B, "critic": terms.critic_B}
        logged = {name: _where(terms.counts_B, value) for name, value in parts.items()}
        return Loss(error_B, {"noise": noise_B.detach(), **logged}, terms.critic_B)

    def _judged(self, predicted_BCHW: Tensor, noised: Noised) -> tuple[Tensor, Tensor]:
        """What the facial loss compares: predicted and true latents, clean or noise."""
        given = self.schedule.kind, predicted_BCHW, noised.noisy_BCHW, noised.level
        if self.facial.config.on == "noise":
            return targets.noise_from(*given), noised.noise_BCHW
        return targets.clean_from(*given), noised.clean_BCHW

    def _predict(self, batch: Batch, noised: Noised) -> Tensor:
        said = [None if i.wordless else self.config.identifier_prompt for i in batch.items]
        spoken = Words.stack([self.base.words(p) for p in said])
        # The released script's ids: at restoration the true size of the face's original is not
        # known.
        crop_6 = [self._size, self._size, 0, 0, self._size, self._size]
        ids_B6 = torch.stack(
            [torch.full_like(batch.time_ids_B6[:, 0], float(n)) for n in crop_6], dim=1
        )
        shared = {
            "encoder_hidden_states": spoken.embedding_BSC,
            "added_cond_kwargs": {"text_embeds": spoken.pooled_BP, "time_ids": ids_B6},
        }
        if batch.poor_BHWC is None:
            raise ValueError("stage 2 needs degraded pictures")
        poor_BCHW = shown(self.base, batch.poor_BHWC, self.config.condition)
        seen = noised.noisy_BCHW, noised.timestep_B
        down, middle = self._call(
            self.controlnet, *seen, controlnet_cond=poor_BCHW, return_dict=False, **shared
        )
        predicted: Tensor = self._call(
            self.base.unet,
            *seen,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **shared,
        ).sample
        return predicted.float()


def _note(example: Example, recipe: dict[str, Any]) -> dict[str, Any]:
    """Enough to make the degraded copy again: the crop, whether it was mirrored, the recipe."""
    sample_id = example.sample.sample_id
    return {"sample": sample_id, "mirrored": example.mirrored, "recipe": recipe}


def open_unet(unet: Any, config: PriorConfig) -> None:
    """Make the U-Net trainable: all of it, or a LoRA or DoRA on its attention.

    Sources: Hu et al. 2022, eq. 3; Liu et al. 2024 (DoRA), eq. 5.
    """
    if config.lora_rank:
        from peft import LoraConfig

        seed = plan.torch_rng(config.seed, Stream.WEIGHTS, 0).initial_seed()
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet.add_adapter(
                LoraConfig(
                    r=config.lora_rank,
                    lora_alpha=config.lora_alpha or config.lora_rank,
                    target_modules=targets,
                    use_dora=config.dora,
                )
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


def _where(counts_B: Tensor, value_B: Tensor) -> Tensor:
    return torch.where(counts_B, value_B.detach(), torch.nan)
