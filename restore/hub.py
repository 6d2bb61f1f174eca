"""Restorers of the Hugging Face Hub: pinned to a commit, whole or not used. Opens connections.

AUTHFACE_OFFLINE or HF_HUB_OFFLINE forbids that; what is in the hub's cache already is then used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curation.models import is_offline
from data_manifests.errors import AuthFaceError, CheckpointError, ConfigError, RemoteError
from data_manifests.seals import file_sha256
from restore.records import read_record, write_record

__all__ = [
    "Fetched",
    "bring",
    "cached_restorers",
    "cached_snapshots",
    "check_whole",
    "fetch",
    "is_hub_id",
    "is_pickle",
    "wanted_files",
    "weights_fault",
]

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OFFLINE = "--offline, AUTHFACE_OFFLINE or HF_HUB_OFFLINE"
_TOLD = {".json", ".txt", ".model", ".md"}
_PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model in the hub's cache: its id, the commit it was pinned to, its folder."""

    repo: str
    commit: str
    folder: Path


def is_hub_id(name: str) -> bool:
    """Whether a name is OWNER/NAME or OWNER/NAME@REVISION."""
    return _HUB_ID.fullmatch(name) is not None


def is_pickle(name: str) -> bool:
    """Whether a file of that name holds pickled weights, which run code when they are opened."""
    return PurePosixPath(name).suffix.lower() in _PICKLES


def bring(name: str) -> Path:
    """The folder of a hub model: from the cache if that is all it takes, else from the hub.

    A model that is pinned to a commit and was fetched whole needs no network. Raises as `fetch`.
    """
    repo, revision = _split(name)
    if is_offline():
        return _cached(name, f"{_OFFLINE} forbids the network")
    if revision and _COMMIT.fullmatch(revision):
        kept = [f for r, c, f in cached_snapshots() if (r, c) == (repo, revision)]
        if kept and read_record(kept[0]):
            return check_whole(kept[0])
    try:
        return fetch(name).folder
    except RemoteError as error:
        try:
            return _cached(name, "")
        except AuthFaceError:
            raise error from None


def fetch(name: str) -> Fetched:
    """Get a model's newest commit, or the one that its revision names, and take down its files.

    Only safetensors and what describes them are fetched, once each: no second copies in another
    format or precision. Raises ConfigError (offline, no such id), RemoteError (the hub),
    CheckpointError (pickled weights only, or not whole) or StorageError (the disk).
    """
    repo, revision = _split(name)
    if is_offline():
        raise ConfigError(
            f"{_OFFLINE} forbids to get {name}.",
            "Unset it, or give a local folder.",
        )
    commit, files = _ask(repo, revision, name)
    # By the revision, so that the cache knows what it stands for when there is no network.
    folder = _download(repo, revision or "main", wanted_files(files), name)
    if folder.name != commit:
        raise RemoteError(f"{name} was changed while it was fetched.", "Try again.")
    _refuse_damaged(folder)
    check_whole(folder)
    write_record(folder)
    return Fetched(repo, commit, folder)


def cached_snapshots() -> Iterator[tuple[str, str, Path]]:
    """Yield hub id, commit and folder of every model in the hub's cache."""
    from huggingface_hub import constants

    for snapshot in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*")):
        repo = snapshot.parts[-3].removeprefix("models--").replace("--", "/", 1)
        yield repo, snapshot.name, snapshot


def cached_restorers() -> Iterator[tuple[str, str, Path]]:
    """Yield hub id, commit and folder of those models in the cache that can restore."""
    for repo, commit, folder in cached_snapshots():
        if (folder / "model_index.json").is_file() and (folder / "controlnet").is_dir():
            yield repo, commit, folder


def wanted_files(names: Iterable[str]) -> list[str]:
    """Of a model's files those that are needed; CheckpointError if its weights are pickled alone.

    Of a pipeline, what lies beside its parts' folders is left out, if it is weights; so is a
    variant such as fp16 whose plain form is there.
    """
    names = list(names)
    _refuse_pickles(names)
    weights = [n for n in names if n.endswith(".safetensors")]
    if "model_index.json" in names:
        weights = [n for n in weights if "/" in n]
    plain = {(PurePosixPath(n).parent, _stem(n)) for n in weights if not _variant(n)}
    kept = [
        n for n in weights if not _variant(n) or (PurePosixPath(n).parent, _stem(n)) not in plain
    ]
    told = [n for n in names if PurePosixPath(n).suffix in _TOLD]
    return sorted({*kept, *told})


def check_whole(folder: Path) -> Path:
    """The folder, if each part's weights are there to the last byte; else CheckpointError.

    Reads no more than the files' headers: that each byte is right is for `records.faults`.
    """
    for config in [folder / "config.json", *sorted(folder.glob("*/config.json"))]:
        if config.is_file() and (what := weights_fault(config.parent)):
            part = config.parent.relative_to(folder).as_posix()
            raise CheckpointError(
                f"{folder} is not whole: of {part}, {what}.",
                "Get it again with `authface models get`.",
            )
    return folder


def weights_fault(part: Path) -> str:
    """What is wrong with the safetensors in a model's folder, empty if each is there to its end."""
    files = sorted(part.glob("*.safetensors"))
    for index in part.glob("*.safetensors.index.json"):
        try:
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return f"{index.name} can't be read"
        files += [part / shard for shard in sorted(set(shards))]
    broken = next((f for f in files if not _is_whole(f)), None)
    if broken is not None:
        return f"{broken.name} is cut off or missing"
    return "" if files else "no safetensors are there"


def _split(name: str) -> tuple[str, str | None]:
    found = _HUB_ID.fullmatch(name)
    if found is None:
        raise ConfigError(f"{name} is no hub id.", "Write OWNER/NAME or OWNER/NAME@REVISION.")
    return found["repo"], found["revision"]


def _ask(repo: str, revision: str | None, name: str) -> tuple[str, list[str]]:
    """The commit that a revision stands for now, and the names of its files."""
    from huggingface_hub import HfApi

    try:
        told = HfApi().model_info(repo, revision=revision, timeout=20)
    except (OSError, _http_error(), ValueError) as error:
        raise _unreachable(name, error) from error
    return str(told.sha), [s.rfilename for s in told.siblings or ()]


def _download(repo: str, revision: str, files: list[str], name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=files))
    except (OSError, _http_error(), ValueError) as error:
        raise _unreachable(name, error) from error


def _http_error() -> type[Exception]:
    """The error of the library that the hub's client speaks HTTP with: another in each version."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def _cached(name: str, why: str) -> Path:
    """The folder of a model in the cache; the hub's own search wants every file of its list."""
    from huggingface_hub import constants

    repo, revision = _split(name)
    home = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    named = revision or "main"
    ref = home / "refs" / named
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else named
    folder = home / "snapshots" / commit
    if not folder.is_dir():
        if why:
            raise ConfigError(
                f"The model {name} is not in the cache, and {why}.",
                f"Get it first, online, with `authface models get {name}`, or give a local folder.",
            )
        raise _unreachable(name, "not cached")
    return check_whole(folder)


def _refuse_damaged(folder: Path) -> None:
    """Raise RemoteError for a file that is not the one that the hub named, and let go of it.

    The cache keeps each file under the name the hub gave it: its SHA-256, or git's hash of it.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_symlink()):
        blob = path.resolve()
        if len(blob.name) == 64:
            right = file_sha256(blob) == blob.name
        elif _COMMIT.fullmatch(blob.name):
            data = blob.read_bytes()
            head = f"blob {len(data)}\0".encode()
            right = hashlib.sha1(head + data, usedforsecurity=False).hexdigest() == blob.name
        else:
            continue
        if not right:
            path.unlink()
            blob.unlink()
            raise RemoteError(f"{path.name} came damaged and was let go of.", "Get it again.")


def _unreachable(name: str, why: object) -> RemoteError:
    reason = str(why).strip().split("\n")[0].rstrip(".")
    return RemoteError(
        f"The model {name} could not be brought from the hub: {reason}.",
        "Check its name and the network, or give a local folder.",
    )


def _refuse_pickles(names: list[str]) -> None:
    safe = {PurePosixPath(n).parent for n in names if n.endswith(".safetensors")}
    parts = {PurePosixPath(n).parent for n in names if PurePosixPath(n).name == "config.json"}
    for name in names:
        if is_pickle(name) and PurePosixPath(name).parent in parts - safe:
            raise CheckpointError(
                f"{name} holds pickled weights, which can run code when they are opened, and there "
                "are no safetensors beside it.",
                "Ask its publisher for safetensors.",
            )


def _variant(name: str) -> str:
    """`fp16` of model.fp16.safetensors, nothing of model.safetensors or a shard of it."""
    return PurePosixPath(PurePosixPath(name).stem).suffix


def _stem(name: str) -> str:
    return PurePosixPath(name).name.split(".")[0].split("-0")[0]


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file has the length that its header tells."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, 100_000_000)))
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        return file.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
