"""A restorer's folder on disk or on the hub: found, described, named by a hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from data_manifests.errors import CheckpointError, ConfigError
from data_manifests.seals import file_sha256
from restore.hub import bring, is_hub_id
from restore.records import known_sha256, snapshot_of

__all__ = [
    "ModelFacts",
    "controlnet_of",
    "describe_model",
    "find_base",
    "find_model",
    "licence_of",
    "recorded_sha256",
    "unnamed_facts",
    "weights_sha256",
]

# Defaults in the spirit of the paper's fixed prompts, for folders that bring none of their own.
_PROMPT = (
    "hyper-realistic close-up portrait photograph, natural skin texture with visible pores, "
    "fine hair strands, sharp focus, soft cinematic light, full-frame DSLR"
)
_NEGATIVE = (
    "blurry, low quality, jpeg artifacts, over-smoothed plastic skin, deformed face, uneven eyes, "
    "painting, drawing, cartoon, 3d render, watermark, text, frame"
)


class _Note(BaseModel):
    """What authface.json says; other writers may add keys of their own."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    prompt: str = _PROMPT
    negative_prompt: str = _NEGATIVE
    size: int | None = None
    tiny: bool = False
    trained_steps: int | None = None
    base: str | None = None
    model_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the sidecar and the page say about the model."""

    name: str
    folder: Path
    sha256: str
    size: int
    prompt: str
    negative_prompt: str
    tiny: bool
    trained_steps: int | None
    base: str | None
    controlnet: Path | None = None  # where it does not lie in the folder
    loras: tuple[str, ...] = ()  # what was merged: names, weights, SHA-256

    @property
    def warning(self) -> str:
        """A plain sentence if its results are no restoration, else nothing."""
        if not self.tiny:
            return ""
        return (
            "This is the output of a tiny test model with random weights: it shows that every step "
            "runs, not what a restored face looks like."
        )


def find_model(name: str, *, alone: bool = False) -> Path:
    """The folder of a local restorer, or of a hub model brought into the hub's cache first.

    With `alone` it may be a ControlNet's folder, for a base from elsewhere.
    """
    return _checked(_folder_of(name), alone=alone)


def find_base(name: str) -> Path:
    """The folder of an SDXL that a ControlNet is to be put on: a local one or a hub model's."""
    folder = _folder_of(name)
    if not (folder / "model_index.json").is_file():
        raise ConfigError(
            f"{folder} is no diffusers model: it holds no model_index.json.",
            "Name an SDXL in diffusers' layout as base.",
        )
    return folder


def controlnet_of(folder: Path) -> Path:
    """Where the ControlNet's own files lie: in the folder, or in controlnet/ below it."""
    inner = folder / "controlnet"
    return inner if inner.is_dir() else folder


def _folder_of(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(name) or folder.exists():
        raise ConfigError(
            f"{name} is no model folder.",
            "Give the model/ folder of a restorer run, or a hub id such as owner/name@revision.",
        )
    return bring(name)


def _checked(folder: Path, *, alone: bool) -> Path:
    if alone and _is_controlnet(folder):
        return folder
    index = folder / "model_index.json"
    if not index.is_file():
        hint = " Its model/ folder is what you want." if (folder / "model").is_dir() else ""
        if _is_controlnet(folder):
            hint = " It is a ControlNet alone: name its SDXL in the setting base."
        raise ConfigError(
            f"{folder} is no diffusers model: it holds no model_index.json.{hint}",
            "Give the model/ folder of a restorer run.",
        )
    if not (folder / "controlnet").is_dir():
        raise ConfigError(
            f"{folder} holds no ControlNet, so it can't restore.",
            "Give the model/ folder of a restorer run (a prior alone makes pictures from words).",
        )
    return folder


def _is_controlnet(folder: Path) -> bool:
    """Whether a folder is a ControlNet's own, without a pipeline around it."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("_class_name") == "ControlNetModel"


def describe_model(folder: Path, *, base: Path | None = None) -> ModelFacts:
    """What authface.json in the folder says, with defaults where it says nothing or is missing.

    `base` is the folder of the SDXL that the folder's ControlNet is put on, where it is not its
    own.
    """
    note = _read_note(folder / "authface.json")
    facts = ModelFacts(
        name=_name_of(folder),
        folder=folder,
        sha256=note.model_sha256 or weights_sha256(folder),
        size=note.size or 512,  # SDXL restorers, the authors' own included, are trained at 512
        prompt=note.prompt,
        negative_prompt=note.negative_prompt,
        tiny=note.tiny,
        trained_steps=note.trained_steps,
        base=note.base,
    )
    if base is None:
        return facts
    both = f"{weights_sha256(controlnet_of(folder))} on {weights_sha256(base)}"
    return replace(
        facts,
        name=f"{facts.name} on {_name_of(base)}",
        folder=base,
        controlnet=controlnet_of(folder),
        sha256=hashlib.sha256(both.encode()).hexdigest(),
        base=_name_of(base),
        tiny=facts.tiny or _read_note(base / "authface.json").tiny,
    )


def unnamed_facts() -> ModelFacts:
    """Facts of a model that lies in no folder: the defaults."""
    note = _Note()
    return ModelFacts(
        name="unnamed",
        folder=Path(),
        sha256="",
        size=512,
        prompt=note.prompt,
        negative_prompt=note.negative_prompt,
        tiny=False,
        trained_steps=None,
        base=None,
    )


def licence_of(folder: Path) -> str:
    """The licence that a model's card names, by the hub's format; empty if it names none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    said = dict(
        re.findall(r"^(license(?:_name)?):[ \t]*(\S.*?)\s*$", head[1] if head else "", re.M)
    )
    return str(said.get("license_name") or said.get("license") or "").strip("'\"")


def recorded_sha256(folder: Path) -> str:
    """The model's SHA-256 as authface.json beside it says, empty if there is none."""
    return _read_note(folder / "authface.json").model_sha256 or ""


def _name_of(folder: Path) -> str:
    place = snapshot_of(folder)
    if place is not None and place[2] == folder:
        return f"{place[0]}@{place[1]}"
    return f"{folder.parent.name}/{folder.name}"


def _read_note(file: Path) -> _Note:
    if not file.is_file():
        return _Note()
    try:
        return _Note.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        first = str(error).split("\n")[0]
        raise CheckpointError(
            f"{file} can't be read: {first}.", "Train or copy it again."
        ) from error


def weights_sha256(folder: Path, *, afresh: bool = False) -> str:
    """SHA-256 over the names and bytes of all weights and configs: as training names a model.

    Of a pipeline these lie in its parts' folders, of a ControlNet alone in its own. With `afresh`
    every byte is read, and nothing that was taken down is believed.
    """
    sha256_of = file_sha256 if afresh else known_sha256
    digest, alone = hashlib.sha256(), not (folder / "model_index.json").is_file()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.parent != folder or (alone and path.suffix in {".json", ".safetensors"}):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
