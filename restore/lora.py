"""LoRAs of others or of our own training, merged into a pipeline before it is used."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_manifests.errors import CheckpointError, ConfigError, MissingExtra
from restore.hub import bring, is_hub_id, is_pickle
from restore.records import known_sha256

__all__ = ["Lora", "changes_words", "find_lora", "merge_loras", "with_loras"]

_USUAL = "pytorch_lora_weights.safetensors"  # the name that diffusers and our training write
_MOST_HEADER = 100_000_000  # bytes; the format allows no more


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA's file, and how much of it is merged: 1 is as it was trained."""

    file: Path
    weight: float

    @property
    def told(self) -> str:
        """What the sidecar says of it."""
        return (
            f"{self.file.parent.name}/{self.file.name} x {self.weight:g} {known_sha256(self.file)}"
        )


def find_lora(text: str) -> Lora:
    """The LoRA of a setting such as `folder`, `file.safetensors=0.8` or `owner/name@revision`."""
    name, weight = _split(text)
    path = Path(name).expanduser()
    if path.is_file():
        return Lora(_safe(path), weight)
    if not path.is_dir():
        if not is_hub_id(name):
            raise ConfigError(
                f"{name} is no LoRA: there is no such file or folder.",
                "Name a folder, a .safetensors file or a hub id; a weight behind it is a number, "
                "such as =0.8."
                if "=" in name
                else "Name a folder, a .safetensors file or a hub id.",
            )
        path = bring(name)
    return Lora(_file_in(path), weight)


def with_loras(sha256: str, loras: Sequence[Lora]) -> str:
    """A model's SHA-256 after LoRAs were merged into it: unchanged if there are none."""
    if not loras:
        return sha256
    told = "\n".join([sha256, *(f"{known_sha256(x.file)} {x.weight!r}" for x in loras)])
    return hashlib.sha256(told.encode()).hexdigest()


def changes_words(lora: Lora) -> bool:
    """Whether it holds weights of the text encoders: prompts mean something else with it."""
    try:
        with lora.file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, _MOST_HEADER)))
    except OSError as error:
        raise _unreadable(lora, error) from error
    except ValueError as error:
        raise _unreadable(lora, ValueError("it is no whole safetensors file")) from error
    return any(key.startswith(("text_encoder", "lora_te")) for key in header)


def merge_loras(pipe: Any, loras: Sequence[Lora]) -> None:
    """Add them to the pipeline's weights, in place: from then on they cost nothing.

    Raises MissingExtra without peft, CheckpointError for a LoRA that does not fit.
    """
    if loras and importlib.util.find_spec("peft") is None:
        raise MissingExtra("peft", "restore", "A LoRA")
    for number, lora in enumerate(loras):
        name = f"merged_{number}"
        try:
            pipe.load_lora_weights(
                str(lora.file.parent),
                weight_name=lora.file.name,
                adapter_name=name,
                use_safetensors=True,
                local_files_only=True,
            )
            if name not in {a for of in pipe.get_list_adapters().values() for a in of}:
                raise ValueError("none of its weights belong to an SDXL")
            pipe.fuse_lora(lora_scale=lora.weight, adapter_names=[name], safe_fusing=True)
            pipe.unload_lora_weights()
        except (OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
            raise _unreadable(lora, error) from error


def _split(text: str) -> tuple[str, float]:
    name, found, number = text.rpartition("=")
    if not found:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0  # a path may hold the sign
    if not math.isfinite(weight):
        raise ConfigError(f"lora: {number} is no weight.", "Write a number, such as =0.8.")
    return name, weight


def _safe(file: Path) -> Path:
    if file.suffix == ".safetensors":
        return file
    why = "is pickled, which can run code when it is opened" if is_pickle(file.name) else "is none"
    raise ConfigError(
        f"A LoRA is taken from safetensors only, and {file} {why}.", "Ask for safetensors."
    )


def _file_in(folder: Path) -> Path:
    for place in (folder / _USUAL, folder / "lora" / _USUAL):
        if place.is_file():
            return place
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(f.name for f in files[:5])
        raise ConfigError(f"{folder} holds several files ({names}).", "Name one of them.")
    pickled = next((f for f in sorted(folder.iterdir()) if is_pickle(f.name)), None)
    if pickled is not None:
        return _safe(pickled)
    raise ConfigError(f"{folder} holds no LoRA.", "Name a folder with a .safetensors file.")


def _unreadable(lora: Lora, error: BaseException) -> CheckpointError:
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return CheckpointError(
        f"{lora.file} can't be merged as a LoRA of SDXL's U-Net: {reason}.", "Name another."
    )
