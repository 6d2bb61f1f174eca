"""Trained weights as an ordinary diffusers folder that opens without this project.

What was not trained is copied file by file from the base, so its keys and bytes stay as its
publisher wrote them, unless transformers 4 could not read them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_manifests.seals import file_sha256
from training.bases import FACTS
from training.card import render
from training.checkpoint import replace_folder
from training.text_files import mend_text_files

Sampler = Callable[[dict[str, Any]], dict[str, Any]]

__all__ = ["copied_bytes", "export_prior", "export_restorer", "folder_sha256"]

# Second copies of the same weights, for other frameworks or in half precision.
_LEFT_OUT = shutil.ignore_patterns("*.fp16.*", "*.onnx*", "*.msgpack", "openvino*", "*.part", ".*")


def export_prior(
    unet: Any, base: Path, target: Path, facts: dict[str, Any], sampler: Sampler
) -> Path:
    """A StableDiffusionXLPipeline folder: the base with the trained U-Net in it, LoRA merged.

    A LoRA stands beside it, in lora/, too. `sampler` turns the base's scheduler config into the
    model's. Merging changes the U-Net that was given: export is the last thing a run does.
    """
    with replace_folder(target) as part:
        index = _copy_base(base, part, without=("unet",))
        index |= _fit_sampler(part, sampler)
        if getattr(unet, "peft_config", None):
            from training.lora import write_lora

            write_lora(unet, part, facts)
            unet.fuse_lora()
            unet.unload_lora()
        unet.save_pretrained(part / "unet")
        _finish(part, {**index, "_class_name": "StableDiffusionXLPipeline"}, facts)
    return target


def export_restorer(controlnet: Any, base: Path, target: Path, facts: dict[str, Any]) -> Path:
    """A StableDiffusionXLControlNetPipeline folder: the prior with the trained ControlNet.

    It is sampled as the prior is, whose target it shares.
    """
    with replace_folder(target) as part:
        index = _copy_base(base, part)
        controlnet.save_pretrained(part / "controlnet")
        extra = {
            "_class_name": "StableDiffusionXLControlNetPipeline",
            "controlnet": ["diffusers", "ControlNetModel"],
        }
        _finish(part, {**index, **extra}, facts)
    return target


def folder_sha256(folder: Path) -> str:
    """One hash over the names and bytes of all weights and configs in a model folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.parent != folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def copied_bytes(base: Path, kind: str) -> int:
    """Bytes of a base folder that go into the model of a prior or a restorer."""
    names = _components(_index(base), without=("unet",) if kind == "prior" else ())
    files = (p for name in names for p in (base / name).rglob("*") if p.is_file())
    return sum(p.stat().st_size for p in files if not _LEFT_OUT(str(p.parent), [p.name]))


def _copy_base(base: Path, part: Path, without: tuple[str, ...] = ()) -> dict[str, Any]:
    index = _index(base)
    for name in _components(index, without):
        shutil.copytree(base / name, part / name, ignore=_LEFT_OUT)
    mend_text_files(part)
    return index


def _fit_sampler(part: Path, sampler: Sampler) -> dict[str, Any]:
    """Write the scheduler's config anew if it has to change; its line in the pipeline's index."""
    path = part / "scheduler" / "scheduler_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    fitting = sampler(written)
    if fitting == written:
        return {}
    path.write_text(json.dumps(fitting, indent=2) + "\n", encoding="utf-8")
    return {"scheduler": ["diffusers", fitting["_class_name"]]}


def _index(base: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    return index


def _components(index: dict[str, Any], without: tuple[str, ...]) -> list[str]:
    # A component is listed as [library, class]; [null, null] marks one that the pipeline goes
    # without.
    return [
        k
        for k, v in index.items()
        if isinstance(v, list) and v[0] and k not in (*without, "controlnet")
    ]


def _finish(part: Path, index: dict[str, Any], facts: dict[str, Any]) -> None:
    (part / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    full = {**facts, "model_sha256": folder_sha256(part)}
    (part / FACTS).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    (part / "README.md").write_text(render(full), encoding="utf-8")
