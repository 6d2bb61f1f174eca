"""A run's config.json: what it began with, and whether it may go on under other settings."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_manifests.config import flat
from data_manifests.errors import CheckpointError, ConsentError, InputError
from training.bases import TINY, folder_facts, hub_revision, is_tiny
from training.code_state import code_state
from training.config import PriorConfig, RestorerConfig, RunConfig

__all__ = ["make_record", "pinned", "read_record", "require_match", "tell_missing"]

log = logging.getLogger(__name__)

# Settings that may differ between a run and its resumption: they do not change what a step learns.
_FREE = {
    "steps",
    "at_once",
    "save_every",
    "keep",
    "device",
    "tensorboard",
    "base",
    "readers",
    "compile",
    "cache",
    "log_recipes",
    "validate_every",
    "validate_on",
    "bad_updates",
    "grid_every",
    "grid_of",
    "wandb",
    "peak_tflops",
    "parallel",
}
_MOST_SHOWN = 40  # letters of a setting in a message: prompts are long
_PACKAGES = ("authface", "torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


def make_record(
    kind: str, config: RunConfig, base: Path, *, version: int, samples: int
) -> dict[str, Any]:
    """What is written down of a run with a resolved config, on a version of the samples table."""
    return {
        "kind": kind,
        "config": config.model_dump(mode="json"),
        "base": str(base),
        "base_sha256": folder_facts(base).get("model_sha256"),
        "tiny": is_tiny(base),
        "tables": {"samples": version},
        "samples": samples,
        "code": code_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def read_record(folder: Path, *, resume: bool) -> dict[str, Any] | None:
    """What a run's folder says of it, none where no run was begun.

    InputError if there is one and it is not to be resumed, CheckpointError if it can't be read.
    """
    path = folder / "config.json"
    if not path.exists():
        return None
    if not resume:
        raise InputError(
            f"There is a run in {folder} already.",
            "Go on with it by --resume, or choose another --name.",
        )
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged: {error}.", "Start a new run under another --name."
        ) from error
    return record


def require_match(written: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise CheckpointError if a run was begun as another kind, on another base, or under other
    settings that decide what a step learns.
    """
    if written["kind"] != now["kind"]:
        raise CheckpointError(
            f"That run trains a {written['kind']}, not a {now['kind']}.", "Choose another --name."
        )
    # A setting younger than the run had no other value then than the one it has by default.
    by_default = {"prior": PriorConfig, "restorer": RestorerConfig}[now["kind"]]().model_dump(
        mode="json"
    )
    before, after = _filled(written["config"], by_default), now["config"]
    fixed, set_now = (
        dict(flat({k: v for k, v in values.items() if k not in _FREE}))
        for values in (before, after)
    )
    changed = [
        f"{k} was {_shown(fixed[k])} and is {_shown(set_now.get(k))}"
        for k in sorted(fixed)
        if fixed[k] != set_now.get(k)
    ]
    if _stands_on(written) != _stands_on(now):
        changed.append(f"base was {written['base']} and is {now['base']}")
    if changed:
        raise CheckpointError(
            f"The run began with other settings: {'; '.join(changed)}.",
            "Set them as they were, or start a new run under another --name.",
        )


def _stands_on(record: dict[str, Any]) -> str:
    """A base by its bytes or its revision on the hub where they are known, so that a workspace or
    the hub's cache may be moved.
    """
    made = TINY if record["tiny"] else None  # the same wherever it is made
    return record["base_sha256"] or hub_revision(record["base"]) or made or record["base"]


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _filled(values: dict[str, Any], by_default: dict[str, Any]) -> dict[str, Any]:
    """The values with defaults for those that are not there, in tables within them too."""
    found = by_default | values
    for key, default in by_default.items():
        if isinstance(default, dict) and isinstance(values.get(key), dict):
            found[key] = _filled(values[key], default)
    return found


@contextlib.contextmanager
def pinned(written: dict[str, Any] | None) -> Iterator[None]:
    """Say of a run that goes on what can be done: a table that is built now is not the run's."""
    try:
        yield
    except ConsentError as error:
        if written is None:
            raise
        raise ConsentError(
            error.wrong,
            "A run keeps the samples it began with: renew the consent, or run `authface manifest "
            "build` and start a new run under another --name.",
        ) from error


def tell_missing(before: int, now: int) -> None:
    """Somebody may have been erased from the version that a run is pinned to."""
    if before != now:
        log.warning(
            "The run began on %d samples and its table holds %d now, as after an erasure: from here"
            " on its steps are others than they would have been.",
            before,
            now,
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
