from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from authface.train import app
from data_manifests.errors import ConfigError, InputError
from data_manifests.media import Workspace
from data_manifests.store import Store
from training.code_state import code_state
from training.tiny import make_tiny

Filled = tuple[Workspace, Store]


@pytest.fixture
def root(filled: Filled) -> str:
    filled[0].settings.write_text("[prior]\nwarmup = 5\n[restorer.facial]\nwidth = 16\n")
    return str(filled[0].root)


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_dry_run_shows_file_options_and_defaults_together(root: str) -> None:
    text = call("prior", "-w", root, "--dry-run", "--steps", "7", "--set", "lr=2e-3")
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert shown["warmup"] == "5"
    assert shown["steps"] == "7"
    assert shown["lr"] == "0.002"
    assert shown["size"] == "128"
    assert "4 samples of samples@" in text


def test_a_dry_run_writes_nothing(root: str, filled: Filled) -> None:
    before = sorted(str(p) for p in filled[0].root.rglob("*"))
    call("prior", "-w", root, "--dry-run")
    call("restorer", "-w", root, "--dry-run", "--prior", "tiny")
    assert sorted(str(p) for p in filled[0].root.rglob("*")) == before


def test_a_real_base_gets_the_papers_numbers(root: str, filled: Filled) -> None:
    text = call(
        "prior", "-w", root, "--dry-run", "--base", "stabilityai/stable-diffusion-xl-base-1.0"
    )
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert (shown["size"], shown["batch"], shown["lr"], shown["steps"]) == (
        "1024",
        "96",
        "5e-07",
        "20000",
    )


def test_settings_inside_tables_are_set_by_their_path(root: str) -> None:
    settings = ("--set", "facial.gan_weight=0.2", "--set", "identifier_prompt=a face")
    text = call("restorer", "-w", root, "--dry-run", "--prior", "tiny", *settings)
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert shown["facial.gan_weight"] == "0.2"
    assert shown["facial.width"] == "16"
    assert shown["identifier_prompt"] == "a face"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("sise=64", "did you mean 'size'"),
        ("size=100", "multiple of 32"),
        ("lr", "has no value"),
        ("lr.x=1", "is no table"),
        ("loss=v3", "masked"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_reason(root: str, setting: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        call("prior", "-w", root, "--dry-run", "--set", setting)


def test_a_recipe_is_chosen_by_name_and_a_wrong_one_is_refused_at_once(root: str) -> None:
    asked = ("restorer", "-w", root, "--dry-run", "--prior", "tiny")
    for chosen, expected in (((), "authface"), (("--set", "recipe=realesrgan"), "realesrgan")):
        text = call(*asked, *chosen)
        shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
        assert shown["recipe"] == expected
        assert shown["log_recipes"] == "0"
    with pytest.raises(ConfigError, match="no degradation recipe 'gfgpan'") as refused:
        call(*asked, "--set", "recipe=gfgpan")
    assert "codeformer3" in refused.value.todo


def test_a_restorer_without_a_prior_says_what_to_run_first(root: str) -> None:
    with pytest.raises(InputError, match="authface train prior"):
        call("restorer", "-w", root)


def test_a_run_says_what_it_did_and_that_the_model_is_tiny(root: str, filled: Filled) -> None:
    settings = ("--set", "size=64", "--set", "save_every=1", "--steps", "2")
    text = call("prior", "-w", root, *settings)
    assert "steps 1 to 2" in text
    assert "makes no good picture" in text
    assert "nothing to do" in call("prior", "-w", root, *settings, "--resume")
    record = json.loads((filled[0].runs / "prior" / "config.json").read_text())
    assert record["tiny"] is True
    assert record["config"]["steps"] == 2
    assert record["packages"]["torch"]


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if "│" in line]


def test_an_estimate_counts_the_named_base_and_trains_nothing(root: str, filled: Filled) -> None:
    before = sorted(str(p) for p in filled[0].root.rglob("*"))
    text = call("estimate", "restorer", "-w", root, "--base", "org/some-sdxl", "--tflops", "1000")
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert shown["parameters trained"] == "1,251.0 M"
    assert shown["work per sample, forward and backward"] == "4.63 TFLOP"
    assert shown["samples in all"] == "2,880,000"
    assert "tiny" in call("estimate", "prior", "-w", root)
    assert sorted(str(p) for p in filled[0].root.rglob("*")) == before


def test_an_estimate_says_whose_sizes_it_counts(root: str, filled: Filled) -> None:
    made = filled[0].runs / "mine" / "model"
    make_tiny(made)
    asked = ("estimate", "restorer", "-w", root, "--set", "size=128", "--set", "batch=1")
    for base, said in (("org/sdxl", "org/sdxl: counted at the sizes of SDXL"), ("mine", "tiny")):
        assert said in call(*asked, "--prior", base)
    assert "no base is named: counted at" in call(*asked)
    for base in ("mein", "/no/such/folder"):
        with pytest.raises(InputError, match=f"no run and no model folder {base}"):
            call(*asked, "--base", base)


def test_an_estimate_counts_several_gpus_and_a_condition_of_latents(root: str) -> None:
    asked = ("--set", "condition=latent", "--set", "batch=8", "--gpus", "4", "--base", "tiny")
    text = call("estimate", "restorer", "-w", root, *asked)
    for said in ("on each of 4 GPUs", "peak with 2 at once", "4 x 989 TFLOP/s", "its condition"):
        assert said in text
    sharded = ("--set", "parallel=fsdp", "--set", "batch=5", "--set", "at_once=1", "--gpus", "2")
    with pytest.raises(InputError, match="can't be dealt evenly"):
        call("estimate", "prior", "-w", root, *sharded)


def test_an_estimate_of_no_stage_is_refused(root: str) -> None:
    with pytest.raises(InputError, match="no stage 'both'"):
        call("estimate", "both", "-w", root)


def test_a_preset_is_named_at_every_command(root: str) -> None:
    text = call("prior", "-w", root, "--dry-run", "--config", "prior-tiny", "--set", "clip=3")
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert (shown["size"], shown["warmup"], shown["clip"]) == ("64", "5", "3.0")
    asked = ("--config", "restorer-tiny", "--base", "tiny", "--set", "steps=30")
    text = call("estimate", "restorer", "-w", root, *asked)
    shown = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in rows(text)}
    assert shown["samples in all"] == "60"
    with pytest.raises(ConfigError, match="unknown setting 'recipe'"):
        call("prior", "-w", root, "--dry-run", "--config", "restorer-tiny")


def test_the_code_and_the_settings_stand_beside_the_run_and_its_model(
    root: str, filled: Filled
) -> None:
    call("prior", "-w", root, "--config", "prior-tiny", "--steps", "1")
    record = json.loads((filled[0].runs / "prior" / "config.json").read_text())
    facts = json.loads((filled[0].runs / "prior" / "model" / "authface.json").read_text())
    assert record["code"] == facts["code"] == code_state()
    assert record["config"] == facts["config"]
    assert facts["table_versions"] == record["tables"]
