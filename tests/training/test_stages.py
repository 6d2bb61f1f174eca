from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import loop, losses
from training.batch import Batch, Item
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.data import Posterior, aimed
from training.degrade import Recipe, apply, draw_at, moved_by
from training.degrade_ops import Move
from training.degrade_presets import Colour
from training.models import Base, load_base
from training.stage import Stage
from training.stages import Prior, Restorer

Filled = tuple[Workspace, Store]
NEVER = {"flip": 0.0, "prompt_dropout": 0.0, "size": 64}


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, torch.device("cpu"))


def items(stage: Stage, filled: Filled, step: int = 0, count: int = 2) -> list[Item]:
    samples = filled[1].read(Sample)
    return [stage.item(samples[i], step, i) for i in range(count)]


def batch(stage: Stage, filled: Filled, step: int = 0) -> Batch:
    return stage.gather(items(stage, filled, step))


def prior(base: Base, filled: Filled, **settings: Any) -> Prior:
    return Prior(base, resolve(PriorConfig(**(NEVER | settings)), tiny=True), filled[0].media)


def restorer(base: Base, filled: Filled, **settings: Any) -> Restorer:
    return Restorer(base, resolve(RestorerConfig(**(NEVER | settings)), tiny=True), filled[0].media)


def test_an_item_is_the_same_whenever_it_is_asked_for(base: Base, filled: Filled) -> None:
    stage = restorer(base, filled, flip=0.5)
    one, other, later = (stage.item(filled[1].read(Sample)[0], step, 1) for step in (6, 6, 7))
    assert one.poor_HWC is not None
    assert other.poor_HWC is not None
    assert (one.poor_HWC == other.poor_HWC).all()
    assert (one.poor_HWC != later.poor_HWC).any()


def test_the_restorer_aims_at_the_recipes_target(base: Base, filled: Filled) -> None:
    """RestoreFormer++ moves picture and target together and turns both grey; boxes follow."""
    stage = restorer(base, filled, recipe="restoreformer++")
    clean = restorer(base, filled, recipe="authface")
    always = replace(stage.ranges.trouble, move=1.0), Colour(grey=1.0, grey_target=True)  # type: ignore[union-attr]
    stage.ranges = replace(stage.ranges, trouble=always[0], colour=always[1])  # type: ignore[type-var]
    sample = filled[1].read(Sample)[0]
    for step in range(4):
        item, plain = stage.item(sample, step, 1), clean.item(sample, step, 1).example
        recipe = draw_at((stage.config.seed, step, 1), stage.ranges, size=(64, 64))
        right, down = moved_by(recipe)
        assert item.poor_HWC is not None
        assert (item.poor_HWC == apply(plain.pixels_HWC, recipe)).all()
        grey_HW = cv2.cvtColor(plain.pixels_HWC, cv2.COLOR_RGB2GRAY)
        moved_HW = np.pad(grey_HW, 4, mode="symmetric")[
            4 - down : 68 - down, 4 - right : 68 - right
        ]
        assert (item.example.pixels_HWC == moved_HW[..., None]).all()
        by = torch.tensor([right, down, right, down]) / 8
        torch.testing.assert_close(item.example.boxes_P4, plain.boxes_P4 + by)
        assert (right, down) == (0, 0) or (item.example.mask_HW != plain.mask_HW).any()
    assert (clean.item(sample, 0, 1).example.pixels_HWC == plain.pixels_HWC).all()


def test_the_loss_is_taken_on_the_target(base: Base, filled: Filled) -> None:
    """What is noised are the latents of the target and not of the crop."""
    stage = restorer(base, filled, recipe="realesrgan")
    noised = stage._noised(stage.gather(items(stage, filled)))
    crops = restorer(base, filled, recipe="authface")
    plain = crops._noised(crops.gather(items(crops, filled)))
    torch.testing.assert_close(noised.noise_BCHW, plain.noise_BCHW)
    assert (noised.clean_BCHW - plain.clean_BCHW).abs().max() > 0.01


def test_a_move_leaves_an_unknown_box_unknown(base: Base, filled: Filled) -> None:
    example = restorer(base, filled).item(filled[1].read(Sample)[0], 0, 0).example
    boxes_P4 = example.boxes_P4.clone()
    boxes_P4[1] = 0
    moved = aimed(replace(example, boxes_P4=boxes_P4), Recipe(shared=(Move(8, -16),)))
    assert (moved.boxes_P4[1] == 0).all()
    torch.testing.assert_close(moved.boxes_P4[0], boxes_P4[0] + torch.tensor([1.0, -2, 1, -2]))
    torch.testing.assert_close(moved.mask_HW[:-2, 1:], example.mask_HW[2:, :-1])


def test_latents_of_the_crop_are_not_taken_for_those_of_the_target(
    base: Base, filled: Filled
) -> None:
    example = restorer(base, filled).item(filled[1].read(Sample)[0], 0, 0).example
    kept = replace(example, posterior=Posterior(torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)))
    assert aimed(kept, Recipe()).posterior is kept.posterior
    assert aimed(kept, Recipe(shared=(Move(8, 0),))).posterior is None


def test_the_loss_does_not_depend_on_the_company(base: Base, filled: Filled) -> None:
    """A sample's loss is its own, whether two are on the device at once or one."""
    stage = prior(base, filled, loss="plain")
    both = items(stage, filled)
    together = stage.loss(stage.gather(both), 0).error_B
    alone = torch.cat([stage.loss(stage.gather([i]), 0).error_B for i in both])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_before_the_first_update_only_the_words_differ_from_the_teacher(
    base: Base, filled: Filled
) -> None:
    """Both copies have equal weights then, so the guide's distance is the guided target's own."""
    stage = prior(base, filled, distill_weight=0.7)
    seen = batch(stage, filled)
    loss = stage.loss(seen, 0)
    torch.testing.assert_close(
        loss.error_B.detach(), loss.parts["face"] + 0.7 * loss.parts["guide"]
    )
    assert (loss.parts["guide"] > 0).all()


def test_a_wordless_sample_is_not_pulled_to_the_guide(base: Base, filled: Filled) -> None:
    stage = prior(base, filled, prompt_dropout=1.0)
    loss = stage.loss(batch(stage, filled), 0)
    assert loss.parts["guide"].isnan().all()
    torch.testing.assert_close(loss.error_B.detach(), loss.parts["face"])


def test_the_teacher_stays_what_the_base_was(base: Base, filled: Filled) -> None:
    stage = prior(base, filled)
    before = {k: v.clone() for k, v in stage.teacher.state_dict().items()}
    optimizer = loop.make_optimizer(stage.groups, stage.config)
    stage.loss(batch(stage, filled), 0).error_B.sum().backward()
    optimizer.step()
    assert all(torch.equal(before[k], v) for k, v in stage.teacher.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in stage.unet.state_dict().items())


def test_a_lora_trains_few_weights_and_is_its_own_teacher(base: Base, filled: Filled) -> None:
    stage = prior(base, filled, lora_rank=2)
    names = stage.groups[0].parameters()
    assert names
    assert all("lora_" in n for n in names)
    seen = batch(stage, filled)
    stage.loss(seen, 0).error_B.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in names.values())


def test_a_new_controlnet_leaves_the_prior_exactly_as_it_is(base: Base, filled: Filled) -> None:
    """Its last layers start at zero, so the first prediction is the frozen prior's, bit for bit."""
    stage = restorer(base, filled)
    seen = batch(stage, filled)
    noised = stage._noised(seen)
    words = base.words(stage.config.identifier_prompt)
    with torch.no_grad():
        expected = base.unet(
            noised.noisy_BCHW,
            noised.timestep_B,
            encoder_hidden_states=words.embedding_BSC.expand(2, -1, -1),
            added_cond_kwargs={
                "text_embeds": words.pooled_BP.expand(2, -1),
                "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
            },
        ).sample
        got = stage._predict(seen, noised)
    assert torch.equal(got, expected)
    torch.testing.assert_close(
        stage.loss(seen, 0).parts["noise"], losses.mean_error(expected, noised.noise_BCHW)
    )


def test_only_controlnet_and_discriminators_learn_in_stage_two(base: Base, filled: Filled) -> None:
    stage = restorer(base, filled, facial=FacialConfig(width=8, least_signal=0.0))
    loss = stage.loss(batch(stage, filled), 0)
    assert loss.rival_B is not None
    (loss.error_B + loss.rival_B).sum().backward()
    assert all(p.grad is None for p in base.unet.parameters())
    grads = {
        g.name: any(p.grad is not None and p.grad.any() for p in g.parameters().values())
        for g in stage.groups
    }
    assert grads == {"controlnet": True, "critics": True}


@pytest.mark.parametrize("on", ["clean", "noise"])
def test_the_facial_terms_enter_by_their_weights_from_their_start(
    base: Base, filled: Filled, on: str
) -> None:
    facial = FacialConfig(
        width=8, on=on, gan_weight=0.3, gram_weight=5.0, start=4, least_signal=0.0
    )
    stage = restorer(base, filled, facial=facial)
    early, later = (stage.loss(batch(stage, filled, n), n) for n in (3, 4))
    torch.testing.assert_close(early.error_B.detach(), early.parts["noise"])
    parts = later.parts
    expected = parts["noise"] + 0.3 * parts["gan"] + 5 * parts["gram"]
    torch.testing.assert_close(later.error_B.detach(), expected)


def test_without_weights_the_facial_terms_cost_nothing_and_move_nothing(
    base: Base, filled: Filled
) -> None:
    """Stage 2 is the plain loop then: the noise's error, and no critics to train."""
    none = FacialConfig(width=8, gan_weight=0.0, gram_weight=0.0, least_signal=0.0)
    stage, usual = restorer(base, filled, facial=none), restorer(base, filled)
    loss = stage.loss(batch(stage, filled, 3), 3)
    assert [group.name for group in stage.groups] == ["controlnet"]
    assert set(loss.parts) == {"noise"}
    assert loss.rival_B is None
    torch.testing.assert_close(loss.error_B, usual.loss(batch(usual, filled, 3), 3).parts["noise"])
    for weights in ({"gan_weight": 0.1}, {"gram_weight": 1.0}):
        one = restorer(base, filled, facial=none.model_copy(update=weights))
        assert [group.name for group in one.groups] == ["controlnet", "critics"]


def test_stage_two_starts_from_the_same_weights_each_time(base: Base, filled: Filled) -> None:
    torch.manual_seed(1)
    one = restorer(base, filled)
    torch.manual_seed(2)
    other = restorer(base, filled)
    for a, b in zip(one.groups, other.groups, strict=True):
        assert all(torch.equal(p, b.parameters()[n]) for n, p in a.parameters().items())
