from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import loop, speed
from training.batch import gather
from training.config import PriorConfig, RestorerConfig, resolve
from training.data import Posterior
from training.models import Base, load_base
from training.stages import Prior, Restorer

Filled = tuple[Workspace, Store]
SMALL = {"size": 64, "steps": 2, "batch": 2, "flip": 0.0, "prompt_dropout": 0.0}
CPU = torch.device("cpu")


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, CPU)


def trained(stage: Prior | Restorer, filled: Filled) -> list[float]:
    samples = filled[1].read(Sample)
    optimizer = loop.make_optimizer(stage.groups, stage.config)
    taken = loop.train(stage, samples, config=stage.config, optimizer=optimizer, done=0)
    return [step.loss for step in taken]


def restorer(base: Base, filled: Filled, **settings: object) -> Restorer:
    config = RestorerConfig.model_validate(SMALL | settings)
    return Restorer(base, resolve(config, tiny=True), filled[0].media)


def test_what_is_frozen_is_half_as_large_in_bf16_and_what_learns_stays_float32(
    base: Base, filled: Filled
) -> None:
    stage = restorer(base, filled, precision="bf16")
    assert {p.dtype for p in base.unet.parameters()} == {torch.bfloat16}
    assert {p.dtype for g in stage.groups for p in g.parameters().values()} == {torch.float32}
    assert {p.dtype for p in base.pipeline.vae.parameters()} == {torch.float32}
    prior = Prior(
        load_base(base.folder, CPU),
        resolve(PriorConfig.model_validate(SMALL | {"precision": "bf16"}), tiny=True),
        filled[0].media,
    )
    assert {p.dtype for p in prior.teacher.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in prior.unet.parameters()} == {torch.float32}


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}])
def test_bf16_learns_what_float32_learns_to_its_rounding(
    base: Base, filled: Filled, settings: dict[str, bool]
) -> None:
    exact = trained(restorer(base, filled, **settings), filled)
    rounded = trained(
        restorer(load_base(base.folder, CPU), filled, precision="bf16", **settings), filled
    )
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded != exact


def test_checkpointing_both_models_of_stage_two_changes_no_bit(base: Base, filled: Filled) -> None:
    plain = trained(restorer(base, filled), filled)
    stage = restorer(load_base(base.folder, CPU), filled, gradient_checkpointing=True)
    assert trained(stage, filled) == plain
    assert any(getattr(m, "gradient_checkpointing", False) for m in stage.base.unet.modules())


def test_stage_two_lets_the_text_encoders_go_once_its_words_are_known(
    base: Base, filled: Filled
) -> None:
    stage = restorer(base, filled, precision="bf16", prompt_dropout=0.5)
    assert base.pipeline.text_encoder is None
    assert all(np.isfinite(trained(stage, filled)))


def test_a_bf16_vae_moves_latents_by_a_few_percent_at_most(base: Base, filled: Filled) -> None:
    pixels_BHWC = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    exact, _ = base.posterior(pixels_BHWC)
    stage = restorer(base, filled, vae_precision="bf16")
    rounded, _ = base.posterior(pixels_BHWC)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.03
    assert all(np.isfinite(trained(stage, filled)))


# Dynamo looks at .grad of what is no leaf while it guards inputs.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_blocks_give_the_same_gradients_under_the_same_names(
    base: Base, checkpointing: bool
) -> None:
    """The compiler's graph capture is run, its code generation left out: that needs a minute."""
    plain, compiled = (ControlNetModel.from_unet(base.unet).train() for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    if checkpointing:
        compiled.enable_gradient_checkpointing()
    assert speed.compile_blocks(compiled, backend="aot_eager") > 5
    assert list(compiled.state_dict()) == list(plain.state_dict())
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(2, 4, 8, 8, generator=generator)
    told = {
        "encoder_hidden_states": torch.randn(2, 77, 64, generator=generator),
        "controlnet_cond": torch.rand(2, 3, 64, 64, generator=generator),
        "added_cond_kwargs": {"text_embeds": torch.zeros(2, 32), "time_ids": torch.ones(2, 6)},
        "return_dict": False,
    }
    for model in (plain, compiled):
        for zero in (*model.controlnet_down_blocks, model.controlnet_mid_block):
            torch.nn.init.constant_(zero.weight, 0.1)
        down, middle = model(seen, torch.tensor([3, 700]), **told)
        (sum(d.square().mean() for d in down) + middle.square().mean()).backward()
    grads = dict(compiled.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(grads[name].grad, parameter.grad, rtol=1e-3, atol=1e-6)


def test_blocks_are_compiled_where_the_config_says_so() -> None:
    assert not speed.uses_compile(RestorerConfig(), CPU)
    assert speed.uses_compile(RestorerConfig(), torch.device("cuda"))
    assert speed.uses_compile(RestorerConfig(compile="on"), CPU)
    assert not speed.uses_compile(RestorerConfig(compile="off"), torch.device("cuda"))


def test_latents_that_come_with_the_items_train_as_the_pixels_they_are_of(
    base: Base, filled: Filled
) -> None:
    stage = restorer(base, filled)
    samples = filled[1].read(Sample)
    items = [stage.item(samples[i], 0, i) for i in range(2)]
    expected = stage.loss(stage.gather(items), 0).error_B
    brought = []
    for item in items:
        mean, logvar = base.posterior(torch.from_numpy(item.example.pixels_HWC[None]))
        posterior = Posterior(mean[0], logvar[0])
        example = replace(item.example, posterior=posterior, pixels_HWC=np.zeros((1, 1, 3), "u1"))
        brought.append(replace(item, example=example))
    batch = gather(brought)
    assert batch.pixels_BHWC is None
    torch.testing.assert_close(stage.loss(batch, 0).error_B, expected, rtol=1e-4, atol=1e-5)


def test_the_number_of_readers_changes_no_bit(base: Base, filled: Filled) -> None:
    one = trained(restorer(base, filled, readers=1), filled)
    for readers in (0, 5):  # 0: the training thread reads
        other = restorer(load_base(base.folder, CPU), filled, readers=readers)
        assert trained(other, filled) == one
