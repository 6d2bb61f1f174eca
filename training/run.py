"""A training run as a folder: opened, locked, pinned to data, checked, and handed to a session.

runs/<name>/ holds config.json, stats.jsonl, checkpoints/step-NNNNNN/ and at the end model/. Holds
the clock and the files; light, so that a wrong setting is told in a second and not after the heavy
imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from data_manifests.errors import InputError
from data_manifests.media import Workspace, write_atomic
from data_manifests.records import Sample
from data_manifests.store import Store
from training import preflight, world
from training.bases import base_model, base_name, find_base, folder_facts, is_tiny
from training.config import PriorConfig, RestorerConfig, RunConfig, resolve
from training.held_out import HeldOut, held_out_count, pick_held_out, require_usable
from training.journal import Step
from training.record import make_record, pinned, read_record, require_match, tell_missing

__all__ = [
    "Run",
    "free_name",
    "held_out_samples",
    "preview",
    "train_prior",
    "train_restorer",
    "training_samples",
    "usable_samples",
]

C = TypeVar("C", bound=RunConfig)


@dataclass(frozen=True, slots=True)
class Run(Generic[C]):
    """An opened run."""

    kind: str
    folder: Path
    config: C  # with every open setting filled in
    base: Path
    media: Path
    cache: Path  # of this kind of run
    store: Store
    samples: list[Sample]
    record: dict[str, Any]  # what config.json says
    held_out: HeldOut = field(default_factory=HeldOut)

    @property
    def facts(self) -> dict[str, Any]:
        """What stands beside the exported model, but for how far it was trained."""
        named = ("kind", "tiny", "base_sha256", "samples", "packages", "code")
        return {
            **{key: self.record[key] for key in named},
            "config": {**self.record["config"], "base": base_name(self.base)},
            "base": base_name(self.base),
            "base_model": base_model(self.base),
            "table_versions": self.record["tables"],
            "prompt": self.config.identifier_prompt,
            "negative_prompt": self.config.negative_prompt,
            "left_out_prompt": "zeros",  # what the model saw where the words were left out
            "size": self.config.size,
        }

    @property
    def complete(self) -> bool:
        """Whether all steps are taken and the model is exported."""
        facts = folder_facts(self.folder / "model")
        return facts.get("trained_steps") == self.config.steps


def train_prior(
    config: PriorConfig, *, store: Store, workspace: Workspace, name: str, resume: bool = False
) -> Iterator[Step]:
    """Train stage 1 into runs/<name> and yield each step; its model/ is an SDXL pipeline folder.

    With `resume` it goes on from the newest whole checkpoint, from the start if there is none, and
    does nothing if the run is complete. Raises Stopped, its state saved, if the process is told to
    stop.
    """
    with _opened(
        "prior", config, config.base, place=(store, workspace, name), resume=resume
    ) as run:
        if not run.complete:
            from training import session

            yield from session.train_prior(run)


def train_restorer(
    config: RestorerConfig,
    *,
    prior: Path | str,
    store: Store,
    workspace: Workspace,
    name: str,
    resume: bool = False,
) -> Iterator[Step]:
    """Train stage 2 on a frozen prior; its model/ is a StableDiffusionXLControlNetPipeline folder.

    `prior` is a model folder, a hub id or "tiny"; otherwise as `train_prior`.
    """
    place = (store, workspace, name)
    with _opened("restorer", config, str(prior), place=place, resume=resume) as run:
        if not run.complete:
            from training import session

            yield from session.train_restorer(run)


def preview(config: C, base: str, *, store: Store, workspace: Workspace) -> tuple[C, int, int]:
    """What a run would use, writing nothing: the full config, the samples and their table version.

    Raises what the run itself would raise about samples, consents and crops.
    """
    version = store.version(Sample)
    samples = training_samples(store, version, workspace.media)
    held_out = held_out_samples(store, version, workspace.media, config)
    preflight.require_rows([*samples, *held_out.apart], config)
    return resolve(config, is_tiny(base)), len(samples), version or 0


def free_name(runs: Path, kind: str) -> str:
    """A name for a new run: its kind, numbered if there is one already."""
    names = [kind, *(f"{kind}-{n}" for n in range(2, 10_000))]
    return next(n for n in names if not (runs / n / "config.json").exists())


def usable_samples(store: Store, version: int | None) -> list[Sample]:
    """The rows of a version of the samples table that are for training; InputError if none is."""
    rows = [] if version is None else store.read(Sample, version)
    samples = [s for s in rows if s.split == "train" and s.weight > 0]
    if not samples:
        raise InputError("There is no sample to train on.", "Run `authface manifest build` first.")
    return samples


def training_samples(store: Store, version: int | None, media: Path) -> list[Sample]:
    """As `usable_samples`, each with a consent and a crop; raises what says otherwise."""
    samples = usable_samples(store, version)
    require_usable(store, samples, media)
    return samples


def held_out_samples(store: Store, version: int | None, media: Path, config: RunConfig) -> HeldOut:
    """What the run is validated on and shown by, each with a consent and a crop; none if neither.

    Raises as `training_samples` does.
    """
    count = held_out_count(config)
    if version is None or not count:
        return HeldOut()
    found = pick_held_out(store.read(Sample, version), count)
    require_usable(store, found.samples, media)
    return found


@contextlib.contextmanager
def _opened(
    kind: str, config: C, base: str, *, place: tuple[Store, Workspace, str], resume: bool
) -> Iterator[Run[C]]:
    """The run as the first process opens it, for all that train it."""
    with world.joined() as ranks, contextlib.ExitStack() as stack:
        ours = _opened_here(kind, config, base, place=place, resume=resume)
        yield ranks.of_first(lambda: stack.enter_context(ours))


@contextlib.contextmanager
def _opened_here(
    kind: str, config: C, base: str, *, place: tuple[Store, Workspace, str], resume: bool
) -> Iterator[Run[C]]:
    """The run's folder, locked, with its config and the samples it is pinned to."""
    store, workspace, name = place
    folder = _run_folder(workspace.runs, name)
    with _locked(folder), _gone_if_refused(folder):
        written = read_record(folder, resume=resume)
        version = written["tables"]["samples"] if written else store.version(Sample)
        with pinned(written):
            samples = training_samples(store, version, workspace.media)
            held_out = held_out_samples(store, version, workspace.media, config)
        preflight.require_rows([*samples, *held_out.apart], config)
        base_folder = find_base(base, workspace.runs)
        full = resolve(config, is_tiny(base_folder))
        record = make_record(kind, full, base_folder, version=version or 0, samples=len(samples))
        if written:
            require_match(written, record)
            tell_missing(written["samples"], len(samples))
        _sweep(folder)
        write_atomic(folder / "config.json", (json.dumps(record, indent=2) + "\n").encode())
        yield Run(
            kind,
            folder,
            full,
            base_folder,
            workspace.media,
            workspace.cache / kind,
            store,
            samples,
            record,
            held_out,
        )


@contextlib.contextmanager
def _gone_if_refused(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a run which was then refused."""
    try:
        yield
    except BaseException:
        if not (folder / "config.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _run_folder(runs: Path, name: str) -> Path:
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"{name!r} can't name a run.", "Use letters, digits and dashes.")
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed while writing left behind."""
    for pattern in (".part-*", ".old-*", "checkpoints/.part-*", "checkpoints/.old-*"):
        for stale in folder.glob(pattern):
            shutil.rmtree(stale, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The kernel lets go of a flock when its holder dies, so a killed run never blocks the next.
    with (folder / ".lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another process is training in {folder}.",
                "Wait for it, or choose another --name.",
            ) from error
        yield
