"""A restorer's folder on disk or on the hub: found, described, named by a hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from data_manifests.errors import CheckpointError, ConfigError, RemoteError
from data_manifests.seals import file_sha256

__all__ = ["ModelFacts", "describe_model", "find_model"]

# Defaults in the spirit of the paper's fixed prompts, for folders that bring none of their own.
_PROMPT = (
    "hyper-realistic close-up portrait photograph, natural skin texture with visible pores, "
    "fine hair strands, sharp focus, soft cinematic light, full-frame DSLR"
)
_NEGATIVE = (
    "blurry, low quality, jpeg artifacts, over-smoothed plastic skin, deformed face, uneven eyes, "
    "painting, drawing, cartoon, 3d render, watermark, text, frame"
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")


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

    @property
    def warning(self) -> str:
        """A plain sentence if its results are no restoration, else nothing."""
        if not self.tiny:
            return ""
        return (
            "This is the output of a tiny test model with random weights: it shows that every step "
            "runs, not what a restored face looks like."
        )


def find_model(name: str) -> Path:
    """The folder of a local restorer, or of a hub model brought into the hub's cache first."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if not _HUB_ID.fullmatch(name) or folder.exists():
        raise ConfigError(
            f"{name} is no model folder.",
            "Give the model/ folder of a restorer run, or a hub id such as owner/name@revision.",
        )
    return _checked(_download(name))


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        found = snapshot_download(repo, revision=revision or None, allow_patterns=list(_WANTED))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RemoteError(
            f"The model {name} could not be brought from the hub: {reason}",
            "Check its name and the network, or give a local folder.",
        ) from error
    return Path(found)


def _checked(folder: Path) -> Path:
    index = folder / "model_index.json"
    if not index.is_file():
        hint = " Its model/ folder is what you want." if (folder / "model").is_dir() else ""
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


def describe_model(folder: Path) -> ModelFacts:
    """What authface.json in the folder says, with defaults where it says nothing or is missing."""
    note = _read_note(folder / "authface.json")
    return ModelFacts(
        name=f"{folder.parent.name}/{folder.name}",
        folder=folder,
        sha256=note.model_sha256 or _weights_sha256(folder),
        size=note.size or 512,  # SDXL restorers, the authors' own included, are trained at 512
        prompt=note.prompt,
        negative_prompt=note.negative_prompt,
        tiny=note.tiny,
        trained_steps=note.trained_steps,
        base=note.base,
    )


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


def _weights_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of all weights and configs: as training names a model."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.parent != folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
