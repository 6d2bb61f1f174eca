"""The restorer as a diffusers pipeline, for notebooks; and how a restorer is opened.

What lies below is one code path: the pipeline, the command line and training's previews all restore
through `restore.restorer.Restorer`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLControlNetPipeline
from diffusers.pipelines.stable_diffusion_xl import StableDiffusionXLPipelineOutput
from numpy.typing import NDArray
from PIL import Image

from data_manifests.config import parse_section
from data_manifests.errors import ConfigError, InputError
from restore.colour import COLOUR_FIXES
from restore.config import RestoreConfig
from restore.latents import decode_faces, encode_faces
from restore.loading import laid_out, load_parts, open_parts, pick_device, settled_facts
from restore.lora import changes_words
from restore.model import ModelFacts, describe_model, unnamed_facts, weights_sha256
from restore.restorer import Restoration, Restorer, as_face
from restore.sampling import face_seed
from restore.words import Words, encode_words

__all__ = [
    "AuthFacePipeline",
    "Restoration",
    "Restorer",
    "as_face",
    "decode_faces",
    "encode_faces",
    "laid_out",
    "load_pipeline",
    "open_restorer",
    "pick_device",
]

Pixels = NDArray[np.uint8]
Picture = Image.Image | Pixels

_TEXT_PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


class AuthFacePipeline(StableDiffusionXLControlNetPipeline):  # type: ignore[misc]
    """Aligned faces in, restored faces out: SDXL with a ControlNet, as a diffusers pipeline.

    Opens and writes what StableDiffusionXLControlNetPipeline does, each the other's. Whole photos
    are for `restore.photo.restore_photo`.

        pipe = AuthFacePipeline.from_pretrained("runs/mine/model")
        pipe(face, fidelity=0.3).images[0]
    """

    # Of `from_pretrained`; a pipeline put together from parts has none of its own.
    facts: ModelFacts | None = None
    settings = RestoreConfig()
    words: Words | None = None
    text_changed = False

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        config: RestoreConfig | None = None,
        device: str | None = None,
        **parts: Any,
    ) -> AuthFacePipeline:
        """The restorer in a local folder or under a hub id; only safetensors, never pickle.

        `config` holds the settings of later calls, and what is merged or put below the ControlNet.
        `parts` are diffusers' components that take the place of the folder's. The prompts are
        encoded and the text encoders let go. Raises ConfigError, CheckpointError or RemoteError.
        """
        config = config or RestoreConfig()
        settled = settled_facts(str(name), config, parts)
        where = pick_device(device or config.device)
        pipe, words = open_parts(_loader(cls), settled, config, where, **parts)
        pipe.facts, pipe.settings, pipe.words = settled[0], config, words
        pipe.text_changed = any(changes_words(lora) for lora in settled[1])
        opened: AuthFacePipeline = pipe
        return opened

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        *,
        seeds: Sequence[int] | None = None,
        fidelity: float | None = None,
        output_type: str = "pil",
        **settings: Any,
    ) -> StableDiffusionXLPipelineOutput:
        """The restored faces as `.images`, in order: PIL pictures, or uint8 HWC for "np".

        `images` are aligned square faces, RGB, of any size: they are brought to the model's. A face
        without a seed gets one from the setting `seed` and its pixels. `settings` are those of
        `RestoreConfig`, for this call. Raises ConfigError for a wrong one, InputError for a picture
        that is no square face, AuthFaceError if a face could not be restored.
        """
        if output_type not in {"pil", "np"}:
            raise ConfigError(f"There is no output type {output_type!r}.", "Use pil or np.")
        restorer = self.restorer(**settings)
        several = [images] if isinstance(images, (Image.Image, np.ndarray)) else list(images)
        faces = [_as_pixels(one, restorer.facts.size) for one in several]
        if seeds is None:
            seeds = [face_seed(restorer.config.seed, _sha256(face), 0) for face in faces]
        made = restorer.restore(faces, seeds=seeds, fidelity=fidelity) if faces else []
        fix = COLOUR_FIXES[restorer.config.colour]
        fixed = [
            np.clip(np.rint(fix(m.astype(np.float32), f.astype(np.float32))), 0, 255)
            for m, f in zip(made, faces, strict=True)
        ]
        pixels = [one.astype(np.uint8) for one in fixed]
        found = pixels if output_type == "np" else [Image.fromarray(one) for one in pixels]
        return StableDiffusionXLPipelineOutput(images=found)

    def restorer(self, **settings: Any) -> Restorer:
        """The pipeline with settings of its own, as `restore_photo` takes it."""
        facts = self.facts or unnamed_facts()
        if self.words is None:
            self.words = encode_words(self, facts.prompt, facts.negative_prompt)
        fixed = sorted(_FIXED & settings.keys())
        if fixed:
            raise ConfigError(
                f"{fixed[0]} is settled when the model is opened.", "Give it to from_pretrained."
            )
        told = {**self.settings.model_dump(), **settings}
        config = parse_section(RestoreConfig, told, "AuthFacePipeline")
        return Restorer(self, facts, config, self.words)

    def save_pretrained(self, folder: str | Path, **how: Any) -> None:
        """Write the model as a StableDiffusionXLControlNetPipeline folder, LoRAs merged.

        As safetensors, in the precision that it is held in; text encoders and tokenizers are copied
        from where they came from. `how` is diffusers' `variant` and `max_shard_size`. The folder
        must be new or empty: it is whole or not there. InputError if it isn't.
        """
        target = Path(folder)
        if self.facts is None or self.text_changed:
            raise ConfigError(
                "This pipeline's text encoders were put in or changed, and let go.",
                "Save it as a StableDiffusionXLControlNetPipeline before its first use.",
            )
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} is there already.", "Name a new folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
        try:
            _contiguous(self)
            super().save_pretrained(part, safe_serialization=True, **how)
            laid_out(self)
            _complete(part, self.facts)
            part.chmod(0o755)
            part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


# Settings that shape the loaded weights and prompts: a call can't change them.
_FIXED = {
    "base",
    "cache_prompts",
    "compile",
    "device",
    "lora",
    "negative_prompt",
    "precision",
    "prompt",
    "vae_precision",
}


def _loader(kind: type[AuthFacePipeline]) -> Callable[..., Any]:
    """Diffusers' own `from_pretrained` of a pipeline's class."""
    return partial(StableDiffusionXLControlNetPipeline.from_pretrained.__func__, kind)


def open_restorer(
    name: str, *, config: RestoreConfig | None = None, device: str | None = None
) -> Restorer:
    """The restorer in a local folder or under a hub id; only safetensors, never pickle."""
    return AuthFacePipeline.from_pretrained(str(name), config=config, device=device).restorer()


def load_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline in a folder with its text encoders, on the CPU, its VAE in float32."""
    return load_parts(_loader(AuthFacePipeline), describe_model(folder), dtype)


def _complete(part: Path, facts: ModelFacts) -> None:
    """What diffusers did not write: the text parts as they came, the class's name, our facts."""
    index = json.loads((part / "model_index.json").read_text(encoding="utf-8"))
    source = json.loads((facts.folder / "model_index.json").read_text(encoding="utf-8"))
    for name in _TEXT_PARTS:
        shutil.rmtree(part / name, ignore_errors=True)
        if (facts.folder / name).is_dir():
            shutil.copytree(facts.folder / name, part / name)
        index[name] = source[name]
    index["_class_name"] = "StableDiffusionXLControlNetPipeline"
    (part / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    note = {
        "kind": "restorer",
        "prompt": facts.prompt,
        "negative_prompt": facts.negative_prompt,
        "size": facts.size,
        "base": facts.base,
        "tiny": facts.tiny,
        "trained_steps": facts.trained_steps,
        "loras": list(facts.loras),
        "made_from": {"name": facts.name, "sha256": facts.sha256},
        "model_sha256": weights_sha256(part),
    }
    (part / "authface.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def _contiguous(pipe: Any) -> None:
    """Weights as safetensors takes them: a GPU's have their channels innermost."""
    for model in (pipe.unet, pipe.controlnet):
        model.to(memory_format=torch.contiguous_format)


def _as_pixels(image: Picture, size: int) -> Pixels:
    pixels_HWC = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    shape = pixels_HWC.shape
    if pixels_HWC.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1]:
        raise InputError(
            f"A picture of shape {shape} and type {pixels_HWC.dtype} is no aligned face.",
            "Give square RGB pictures of 8 bits; whole photos are for restore_photo.",
        )
    if shape[0] == size:
        return np.ascontiguousarray(pixels_HWC)
    resized = Image.fromarray(pixels_HWC).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def _sha256(face_HWC: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(face_HWC).tobytes()).hexdigest()
