"""Whether a restorer's files are the ones that were fetched or trained, by reading every byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_manifests.errors import ConfigError
from restore.hub import cached_snapshots, check_whole, is_hub_id, is_pickle
from restore.model import recorded_sha256, weights_sha256
from restore.parts import check_parts
from restore.records import faults, read_record, snapshot_of

__all__ = ["Checked", "check_restorer", "quick_sha256"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found; `against` names what the files were compared with, empty if nothing."""

    folder: Path
    sha256: str
    against: str
    faults: tuple[str, ...]


def check_restorer(name: str) -> Checked:
    """Check a folder, or a hub model in the cache by its id: no network is used.

    A hub model is compared with what was taken down when it was fetched, one of our own with the
    SHA-256 in its authface.json. Pickled weights are a fault wherever they lie. Raises ConfigError
    if there is no such model here, CheckpointError if a part is missing or its weights are cut off.
    """
    folder = check_whole(_here(name))
    if (folder / "model_index.json").is_file():
        check_parts(folder)
    found = [
        f"{p.relative_to(folder).as_posix()} is pickled: it can run code, and is never opened"
        for p in sorted(folder.rglob("*"))
        if p.is_file() and is_pickle(p.name)
    ]
    entries = read_record(folder) if snapshot_of(folder) else {}
    sha256, told = weights_sha256(folder, afresh=True), recorded_sha256(folder)
    if entries:
        found += faults(folder, entries)
        return Checked(folder, sha256, "the record of its fetching", tuple(found))
    if told and told != sha256:
        found.append("its weights are not the ones that authface.json names")
    return Checked(folder, sha256, "authface.json" if told else "", tuple(found))


def quick_sha256(folder: Path) -> str:
    """The model's SHA-256 where it is known without reading its weights, else empty."""
    known = recorded_sha256(folder)
    if known or snapshot_of(folder) is None or not read_record(folder):
        return known
    return weights_sha256(folder)


def _here(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any(p.suffix == ".safetensors" or is_pickle(p.name) for p in folder.rglob("*")):
            raise ConfigError(f"{folder} holds no model's weights.", "Name a restorer's folder.")
        return folder
    repo, _, commit = name.partition("@")
    kept = [f for r, c, f in cached_snapshots() if r == repo and c.startswith(commit)]
    if not is_hub_id(name) or not kept:
        raise ConfigError(
            f"There is no model {name} here.",
            f"Name a folder, or run: authface models get {name}"
            if is_hub_id(name)
            else "Name a folder or a hub id.",
        )
    if len(kept) > 1:
        commits = ", ".join(f.name[:12] for f in kept)
        raise ConfigError(f"Of {repo} several commits are here: {commits}.", "Name one after @.")
    return kept[0]
