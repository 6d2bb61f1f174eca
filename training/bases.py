"""Where a base model lives: made on the spot, in a local folder, in a run, or on the model hub.

Touches model folders and, for a hub id alone, the network. Light: nothing heavy is imported unless
the tiny model has to be made or the hub asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from data_manifests.errors import InputError

__all__ = [
    "FACTS",
    "TINY",
    "base_model",
    "base_name",
    "find_base",
    "find_prior",
    "folder_facts",
    "hub_revision",
    "is_tiny",
]

# In the root of every model folder we write: what it is and where it comes from.
FACTS = "authface.json"
TINY = "tiny"
# The hub client's layout of its cache.
_IN_HUB_CACHE = re.compile(
    r"/models--(?P<owner>[^/]+)--(?P<name>[^/]+)/snapshots/(?P<revision>[^/]+)"
)


def find_base(base: str, runs: Path) -> Path:
    """The folder of a base model: made once below `runs` for "tiny", as given, or from the hub.

    Raises InputError if there is none or it is not SDXL.
    """
    if base == TINY:
        return _tiny_once(runs / "tiny-base")
    folder = Path(base).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if base.count("/") != 1 or base.startswith((".", "/", "~")):
        raise InputError(
            f"There is no model folder {base}.", "Name a diffusers folder, a hub id, or tiny."
        )
    return _checked(_from_hub(base))


def find_prior(base: str, runs: Path) -> str:
    """What stage 2 stands on: a prior run's model, by name or the newest; else `base` itself."""
    if base and (runs / base / "model").is_dir():
        return str(runs / base / "model")
    if base:
        if (runs / base / "config.json").exists():
            raise InputError(
                f"The run {base} has no model yet.", "Finish it with --resume, then train on it."
            )
        return base
    models = [p for p in runs.glob("*/model") if folder_facts(p).get("kind") == "prior"]
    if not models:
        raise InputError(
            f"There is no trained prior in {runs}.",
            "Run `authface train prior` first, or name a model with --prior.",
        )
    return str(max(models, key=lambda p: p.stat().st_mtime))


def folder_facts(folder: Path) -> dict[str, Any]:
    """What we wrote beside a model of our own; empty for anybody else's."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / FACTS} can't be read: {error}.", "Export the model again."
        ) from error
    return facts


def base_model(folder: Path) -> str | None:
    """The hub id that a model folder comes from, itself or by what we trained it on; else none."""
    told = folder_facts(folder).get("base_model")
    if told:
        return str(told)
    found = _IN_HUB_CACHE.search(folder.as_posix())
    return f"{found['owner']}/{found['name']}" if found else None


def hub_revision(folder: str) -> str | None:
    """Hub id and revision of a folder in the hub's cache, which name its bytes; none elsewhere."""
    found = _IN_HUB_CACHE.search(folder)
    return f"{found['owner']}/{found['name']}@{found['revision']}" if found else None


def base_name(folder: Path) -> str:
    """What may be said of a base in public: its hub id or its kind, never where it lies."""
    facts = folder_facts(folder)
    hub, sha256 = base_model(folder), str(facts.get("model_sha256", ""))
    if facts.get("kind") in ("prior", "restorer"):
        return f"{facts['kind']} {sha256[:12]}"
    return hub or (TINY if facts.get("tiny") else "local model")


def is_tiny(base: str | Path) -> bool:
    """Whether the weights are, or descend from, those of the tiny random model."""
    return base == TINY or bool(folder_facts(Path(base)).get("tiny", False))


def _tiny_once(folder: Path) -> Path:
    if (folder / FACTS).is_file():
        return folder
    from training.tiny import make_tiny

    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        make_tiny(part)
        part.chmod(0o755)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _checked(folder: Path) -> Path:
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is no diffusers model: its model_index.json is missing or can't be read.",
            "Name the folder that holds it; a single .safetensors file must be converted first.",
        ) from error
    name = str(index.get("_class_name"))
    if not name.startswith("StableDiffusionXL"):
        raise InputError(
            f"{folder} is a {name}; training needs an SDXL model.", "Choose another base."
        )
    return folder


def _from_hub(name: str) -> Path:
    from diffusers import DiffusionPipeline

    from training.tiny import quiet

    offline = bool(os.environ.get("HF_HUB_OFFLINE"))
    try:
        with quiet():
            return Path(DiffusionPipeline.download(name, local_files_only=offline))
    except Exception as error:  # the hub's client raises a dozen unrelated types
        why = textwrap.shorten(str(error), 140, placeholder=" ...")
        raise InputError(
            f"The model {name} can't be had from the model hub: {why}",
            "Check the name and the connection, or download it elsewhere and name its folder.",
        ) from error
