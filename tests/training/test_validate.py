"""Losses on held-out samples: fixed, by bucket, and without a trace in the training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from data_manifests.consent import grant, withdraw
from data_manifests.errors import ConsentError
from data_manifests.media import Workspace
from data_manifests.records import Consent, Sample
from data_manifests.store import Store
from training.checkpoint import newest
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.held_out import HeldOut, pick_held_out
from training.journal import Step, cut_back, read_journal
from training.models import load_base
from training.prompts import spoken
from training.run import train_prior, train_restorer
from training.stages import Prior
from training.validate import BUCKETS, Validator, timestep

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "steps": 3, "save_every": 2, "keep": 3}


def run(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> Iterator[Step]:
    workspace, store = filled
    resume = more.pop("resume", False)
    named: dict[str, Any] = {"store": store, "workspace": workspace, "name": name, "resume": resume}
    if kind == "prior":
        return train_prior(PriorConfig(base=str(base), **SMALL | more), **named)
    facial = FacialConfig(width=8, least_signal=0.0)
    return train_restorer(RestorerConfig(facial=facial, **SMALL | more), prior=base, **named)


def hold_out(store: Store, count: int = 2) -> list[Sample]:
    """Move some samples to the validation split."""
    rows = sorted(store.read(Sample), key=lambda s: s.sample_id)
    held = [replace(s, split="validation") for s in rows[:count]]
    store.upsert(Sample, held, why="held out")
    return held


def validations(filled: Filled, name: str) -> list[dict[str, Any]]:
    rows = read_journal(filled[0].runs / name, "validation")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def ends(filled: Filled, name: str) -> tuple[dict[str, dict[str, torch.Tensor]], list[Any]]:
    end = newest(filled[0].runs / name / "checkpoints")
    assert end is not None
    rows = read_journal(filled[0].runs / name)
    return end.tensors, [(r["step"], r["loss"], r["parts"], r["lr"]) for r in rows]


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_a_validated_run_learns_the_same_bit_for_bit(
    kind: str, filled: Filled, tiny_base: Path
) -> None:
    hold_out(filled[1])
    list(run(kind, filled, tiny_base, "plain"))
    list(run(kind, filled, tiny_base, "looked", validate_every=1, validate_on=2))
    (plain, steps), (looked, again) = (ends(filled, name) for name in ("plain", "looked"))
    assert steps == again
    for group, tensors in plain.items():
        assert all(torch.equal(value, looked[group][key]) for key, value in tensors.items())
    rows = validations(filled, "looked")
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    main = "noise" if kind == "restorer" else "face"
    curve = [row["losses"][main] for row in rows]
    assert all(len(means) == BUCKETS for means in curve)
    assert curve[0] != curve[1] != curve[2]
    assert not rows[0]["seen"]
    assert validations(filled, "plain") == []
    use = [row["condition_use"] for row in rows]
    if kind == "prior":
        assert use == [None] * 4
    else:
        # A fresh ControlNet adds nothing, so it can't tell one condition from another.
        assert use[0] == [0.0] * BUCKETS
        assert any(use[-1])


def test_a_resumed_run_has_the_validations_of_the_unbroken_one(
    filled: Filled, tiny_base: Path
) -> None:
    """Killed after step 3, with the checkpoint of step 2: step 3's is dropped and made again."""
    settings: dict[str, Any] = {"steps": 4, "validate_every": 3, "validate_on": 2}
    list(run("restorer", filled, tiny_base, "whole", **settings))
    with contextlib.closing(run("restorer", filled, tiny_base, "broken", **settings)) as steps:  # type: ignore[type-var]
        next(step for step in steps if step.step == 3)
    list(run("restorer", filled, tiny_base, "broken", resume=True, **settings))
    assert [row["step"] for row in validations(filled, "whole")] == [0, 3, 4]
    assert validations(filled, "whole") == validations(filled, "broken")
    assert all(row["seen"] for row in validations(filled, "whole"))
    folder = filled[0].runs / "whole"
    cut_back(folder, 3)
    assert [row["step"] for row in read_journal(folder)] == [1, 2, 3]
    assert [row["step"] for row in read_journal(folder, "validation")] == [0, 3]


def test_the_loss_of_a_bucket_is_the_plain_formula_at_its_timesteps(
    filled: Filled, tiny_base: Path
) -> None:
    """Noised by hand, predicted by the U-Net, squared and averaged."""
    config = resolve(PriorConfig(size=64, loss="plain", at_once=1, seed=5), tiny=True)
    stage = Prior(load_base(tiny_base, torch.device("cpu")), config, filled[0].media)
    held = pick_held_out(filled[1].read(Sample), 2)
    validator = Validator(stage, held)
    found = validator.validate(7)
    base, bucket = stage.base, 3
    errors = []
    for place, item in enumerate(validator._given()):
        at = torch.tensor([timestep(bucket, place, 2, 1000)])
        batch = stage.gather([item])
        with torch.no_grad():
            assert batch.pixels_BHWC is not None
            mean, logvar = base.posterior(batch.pixels_BHWC)
            clean = base.drawn(mean, logvar, batch.posterior_BCHW)
            alpha = base.alpha_bar_T[at]
            noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * batch.noise_BCHW
            words = base.words(spoken(config, item.example.sample))
            predicted = base.unet(
                noisy,
                at,
                encoder_hidden_states=words.embedding_BSC,
                added_cond_kwargs={
                    "text_embeds": words.pooled_BP,
                    "time_ids": batch.time_ids_B6,
                },
            ).sample
        errors.append(float((predicted - batch.noise_BCHW).square().mean()))
    assert found.losses["noise"][bucket] == pytest.approx(sum(errors) / 2, rel=1e-5)
    assert found.means["noise"] == pytest.approx(
        sum(v for v in found.losses["noise"] if v is not None) / BUCKETS
    )
    again = Validator(stage, held).validate(7)
    assert again.losses == found.losses


def test_timesteps_are_spread_over_each_bucket_and_cover_the_schedule() -> None:
    every = [timestep(b, i, 4, 1000) for b in range(BUCKETS) for i in range(4)]
    assert every[:4] == [25, 75, 125, 175]
    assert every == sorted(every)
    assert every[-1] == 975


def test_the_validation_split_is_taken_and_the_test_split_never(filled: Filled) -> None:
    rows = filled[1].read(Sample)
    held = [replace(rows[0], split="validation"), replace(rows[1], split="test"), *rows[2:]]
    assert pick_held_out(held, 8) == HeldOut((held[0],))
    without = [replace(rows[0], split="test"), *rows[1:]]
    fallen_back = pick_held_out(without, 2)
    assert fallen_back.seen
    assert fallen_back.samples == tuple(sorted(rows[1:], key=lambda s: s.sample_id)[:2])
    assert pick_held_out(list(reversed(without)), 2) == fallen_back


def test_a_held_out_person_who_withdrew_is_not_looked_at(filled: Filled, tiny_base: Path) -> None:
    store = filled[1]
    terms = Consent(
        consent_id="late",
        purposes=("training",),
        basis="release",
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
    )
    grant(store, terms)
    held = hold_out(store, 1)
    store.upsert(Sample, [replace(held[0], consent_id="late")], why="of another consent")
    withdraw(store, "late", datetime.now(UTC))
    with pytest.raises(ConsentError, match=held[0].sample_id[:12]):
        list(run("prior", filled, tiny_base, "looked", validate_every=1))
    # Nobody looks at it in a run that validates nothing.
    assert len(list(run("prior", filled, tiny_base, "plain", steps=1))) == 1
