"""The restorer, with real diffusers classes and random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data_manifests.errors import AuthFaceError, CheckpointError, ConfigError
from restore.config import RestoreConfig
from restore.model import describe_model, find_model
from restore.pipeline import encode_faces, open_restorer

SEEDS = [11, 12, 13]


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
def test_neither_batch_nor_order_nor_company_changes_a_bit(make_restorer, faces, sampler) -> None:
    together = make_restorer(sampler=sampler, batch=4).restore(faces, seeds=SEEDS)
    restorer = make_restorer(sampler=sampler, batch=2)
    backwards = restorer.restore(faces[::-1], seeds=SEEDS[::-1])[::-1]
    alone = [restorer.restore([f], seeds=[s])[0] for f, s in zip(faces, SEEDS, strict=True)]
    for first, second, third in zip(together, backwards, alone, strict=True):
        assert np.array_equal(first, second)
        assert np.array_equal(first, third)


def test_a_real_batch_differs_by_rounding_at_most(make_restorer, faces) -> None:
    exact = make_restorer().restore(faces, seeds=SEEDS)
    batched = make_restorer(exact=False, batch=3).restore(faces, seeds=SEEDS)
    gaps = [np.abs(a.astype(int) - b.astype(int)) for a, b in zip(exact, batched, strict=True)]
    assert max(g.max() for g in gaps) <= 2
    assert max(g.mean() for g in gaps) < 0.01


def test_seed_sampler_control_and_words_each_have_a_say(make_restorer, faces) -> None:
    def run(seed: int = 1, **settings: object) -> np.ndarray:
        return make_restorer(**settings).restore(faces[:1], seeds=[seed])[0]

    plain = run()
    assert np.array_equal(plain, run())
    others = (run(2), run(sampler="ddpm"), run(control=0.0), run(guidance=1.0), run(steps=2))
    for other in others:
        assert not np.array_equal(plain, other)


def test_more_fidelity_means_closer_to_the_input(make_restorer, faces) -> None:
    restorer = make_restorer()
    image = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        target = encode_faces(restorer._pipe.vae, image)
    away = [
        float((restorer.sample(image, SEEDS, fidelity) - target).square().mean())
        for fidelity in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.01 * away[0]


def test_running_out_of_memory_halves_the_batch_and_loses_no_face(
    make_restorer, faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = make_restorer(exact=False, batch=4)
    encode, sizes = restorer._pipe.vae.encode, []

    def too_small_for_two(image: torch.Tensor) -> object:
        sizes.append(len(image))
        if len(image) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return encode(image)

    monkeypatch.setattr(restorer._pipe.vae, "encode", too_small_for_two)
    found = restorer.restore(faces, seeds=SEEDS)
    assert sizes == [3, 2, 1, 1, 1]
    for one, other in zip(found, make_restorer().restore(faces, seeds=SEEDS), strict=True):
        assert np.array_equal(one, other)


def test_without_memory_for_one_face_it_fails_and_never_hands_back_the_input(
    make_restorer, faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = make_restorer()

    def no_memory(image: torch.Tensor) -> object:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] can't allocate memory: 9 bytes")

    monkeypatch.setattr(restorer._pipe.vae, "encode", no_memory)
    results = list(restorer.restore_each(faces, seeds=SEEDS))
    assert [r.pixels_HWC for r in results] == [None] * 3
    assert all("out of memory" in r.trouble for r in results)
    with pytest.raises(AuthFaceError, match="out of memory"):
        restorer.restore(faces, seeds=SEEDS)


def test_without_memory_for_a_whole_face_the_vae_works_in_tiles_and_the_result_says_so(
    make_restorer, portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = np.ascontiguousarray(portrait[:256, 100:356])
    restorer = make_restorer(steps=1, guidance=1.0)
    vae = restorer._pipe.vae
    whole, decode = next(iter(restorer.restore_each([face], seeds=[1]))), vae.decoder.forward

    def too_small_for_it(latent: torch.Tensor, *more: object) -> torch.Tensor:
        if latent.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return decode(latent, *more)

    monkeypatch.setattr(vae.decoder, "forward", too_small_for_it)
    found = next(iter(restorer.restore_each([face], seeds=[1])))
    assert "tiles of 128 px" in found.note
    assert found.pixels_HWC.shape == face.shape
    assert (whole.note, found.trouble) == ("", "")
    assert np.abs(found.pixels_HWC.astype(int) - whole.pixels_HWC).mean() < 32
    assert not vae.use_tiling
    monkeypatch.setattr(vae.decoder, "forward", decode)
    again = make_restorer(steps=1, guidance=1.0).restore([face], seeds=[1])[0]
    assert np.array_equal(again, whole.pixels_HWC)


def test_another_runtime_error_is_not_taken_for_lack_of_memory(
    make_restorer, faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = make_restorer()

    def broken(image: torch.Tensor) -> object:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(restorer._pipe.vae, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        restorer.restore(faces, seeds=SEEDS)


def test_values_that_are_no_numbers_fail_the_face(restorer_folder: Path, faces) -> None:
    restorer = open_restorer(restorer_folder)
    with torch.no_grad():
        restorer._pipe.vae.decoder.conv_out.bias.fill_(torch.nan)
    result = next(iter(restorer.restore_each(faces[:1], seeds=[1])))
    assert result.pixels_HWC is None
    assert "no numbers" in result.trouble


def test_the_vae_stays_in_full_precision_and_the_encoders_are_let_go(
    restorer_folder: Path, faces
) -> None:
    restorer = open_restorer(restorer_folder, config=RestoreConfig(precision="bfloat16"))
    assert restorer._pipe.unet.dtype == torch.bfloat16
    assert restorer._pipe.vae.dtype == torch.float32
    assert restorer._pipe.text_encoder is restorer._pipe.text_encoder_2 is None
    assert restorer.restore(faces[:1], seeds=[1])[0].shape == faces[0].shape


def test_faces_of_odd_shape_are_a_programmer_s_mistake(make_restorer, faces) -> None:
    with pytest.raises(ValueError, match="one size"):
        make_restorer().restore([faces[0][:60]], seeds=[1])
    with pytest.raises(ValueError, match="seeds"):
        make_restorer().restore(faces, seeds=[1])


def test_the_model_says_that_it_is_a_tiny_one(restorer_folder: Path) -> None:
    facts = describe_model(restorer_folder)
    assert facts.tiny
    assert facts.prompt == "a portrait"
    assert "random weights" in facts.warning


def test_without_authface_json_defaults_hold_and_the_hash_is_the_same(
    restorer_folder: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(restorer_folder, tmp_path / "model")
    (bare / "authface.json").unlink()
    facts = describe_model(bare)
    assert facts.sha256 == describe_model(restorer_folder).sha256
    assert (facts.size, facts.tiny, facts.warning) == (512, False, "")
    assert "portrait" in facts.prompt


def test_pickled_weights_are_refused(restorer_folder: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(restorer_folder, tmp_path / "model")
    weights = bad / "controlnet" / "diffusion_pytorch_model.safetensors"
    torch.save({"weight": torch.zeros(1)}, bad / "controlnet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        open_restorer(bad)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("controlnet", "no ControlNet"),
        ("model_index.json", "model_index.json"),
    ],
)
def test_a_folder_that_is_no_restorer_is_named(
    restorer_folder: Path, tmp_path: Path, harm: str, says: str
) -> None:
    bad = shutil.copytree(restorer_folder, tmp_path / "model")
    target = bad / harm
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(ConfigError, match=says):
        open_restorer(bad)


def test_a_damaged_note_and_damaged_weights_are_checkpoint_errors(
    restorer_folder: Path, tmp_path: Path
) -> None:
    bad = shutil.copytree(restorer_folder, tmp_path / "model")
    weights = bad / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match="is cut off or missing"):
        open_restorer(bad)
    weights.write_bytes(whole)
    (bad / "authface.json").write_text('{"size": "large"}')
    with pytest.raises(CheckpointError, match=r"authface\.json"):
        open_restorer(bad)


def test_a_device_that_is_not_there_is_a_settings_error(restorer_folder: Path) -> None:
    with pytest.raises(ConfigError, match="can't be used here"):
        open_restorer(restorer_folder, device="cuda:99")


def test_a_hub_id_opens_from_the_hub_s_cache_without_a_network(
    restorer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as hub

    revision = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--someone--restorer"
    shutil.copytree(restorer_folder, repo / "snapshots" / revision)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(revision)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    assert find_model("someone/restorer").name == revision
    with pytest.raises(ConfigError, match="forbids the network"):
        find_model("someone/unknown")
    with pytest.raises(ConfigError, match="no model folder"):
        find_model("not/a/hub/id")


def test_the_note_may_hold_more_than_is_read(restorer_folder: Path) -> None:
    said = json.loads((restorer_folder / "authface.json").read_text())
    assert "table_versions" in said
    assert describe_model(restorer_folder).base == "tiny"
