"""What can be done before a run with what the run would use: fill its cache, look over its data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data_manifests.errors import AuthFaceError, CheckpointError, InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import preflight
from training.bases import find_base, is_tiny
from training.config import RunConfig, resolve
from training.held_out import HeldOut, held_out_count, pick_held_out
from training.preflight import Fault
from training.run import training_samples, usable_samples

if TYPE_CHECKING:
    from training.encoders import Encoders

__all__ = ["Ahead", "Preflight", "open_cache"]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A run that is not begun: its kind, its settings, what it stands on, and where it would be."""

    kind: str
    config: RunConfig
    base: str
    store: Store
    workspace: Workspace


def open_cache(ahead: Ahead) -> tuple[Encoders, list[Sample]]:
    """The encoders with the run's cache before them, and the samples to fill it for.

    Raises what the run would of samples, consents and base. The U-Net is not loaded.
    """
    from training import speed
    from training.cache import Cache
    from training.encoders import Encoders
    from training.models import load_base, pick_device
    from training.world import here

    place = ahead.workspace
    samples = training_samples(ahead.store, ahead.store.version(Sample), place.media)
    folder = find_base(ahead.base, place.runs)
    config = resolve(ahead.config, is_tiny(folder))
    base = load_base(folder, pick_device(here().device(config.device)), unet=False)
    encoders = Encoders(base, config, Cache(place.cache / ahead.kind))
    speed.prepare_vae(base.pipeline.vae, config, base.device)
    return encoders, samples


class Preflight:
    """Everything that is wrong with a run's data and place, all of it and not the first alone."""

    def __init__(self, ahead: Ahead, name: str | None = None) -> None:
        self.ahead = ahead
        self.folder = ahead.workspace.runs / (name or ahead.kind)
        self.version = _pinned(self.folder) if name else ahead.store.version(Sample)
        trained = usable_samples(ahead.store, self.version)
        count = held_out_count(ahead.config)
        found = pick_held_out(ahead.store.read(Sample, self.version), count) if count else HeldOut()
        self.held_out = found.apart  # what the run is looked at by and doesn't train on
        self.samples = [*trained, *self.held_out]
        self.room: preflight.Room | None = None
        self.config: RunConfig | None = None  # with every open setting, where the base is known

    @property
    def notes(self) -> list[str]:
        """What stops no run and may spoil its pictures, once `faults` has been gone through."""
        size = self.config.size if self.config else None
        small = [s.width for s in self.samples if size and s.width < size]
        if not small:
            return []
        return [
            f"{len(small)} of {len(self.samples)} crops are smaller than size = {size} and will be "
            f"enlarged, the smallest from {min(small)} px"
        ]

    def faults(self) -> Iterator[list[Fault]]:
        """What is wrong with each sample's row and file, one list a sample, then with the rest."""
        media = self.ahead.workspace.media
        for sample, found in preflight.look_at_files(
            self.samples, media, self.ahead.config.readers
        ):
            yield [*preflight.row_faults(sample, self.ahead.config), *found]
        yield preflight.uncovered(self.ahead.store, self.samples, datetime.now(UTC))
        yield self._place()

    def _place(self) -> list[Fault]:
        from training.export import copied_bytes

        ahead = self.ahead
        try:
            base = find_base(ahead.base, ahead.workspace.runs)
            self.config = config = resolve(ahead.config, is_tiny(base))
            self.room = preflight.room(
                self.folder,
                preflight.count_weights(config, base),
                copied=copied_bytes(base, ahead.kind),
                checkpoints=preflight.new_checkpoints(config, self.folder),
                averaged=config.ema > 0,
            )
        except AuthFaceError as error:
            return [Fault("", error.wrong, error.todo)]
        return [self.room.fault] if self.room.fault else []


def _pinned(folder: Path) -> int:
    """The version of the samples table that a run is pinned to."""
    path = folder / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["tables"]["samples"])
    except FileNotFoundError as error:
        raise InputError(
            f"There is no run in {folder}.", "Leave out --name to look at the newest table."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.", "Look without --name.") from error
