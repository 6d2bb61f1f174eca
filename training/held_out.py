"""The samples a run is looked at by: held out of training, the same ones at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_manifests import consent
from data_manifests.errors import InputError
from data_manifests.records import Sample
from data_manifests.store import Store
from training.config import RunConfig

__all__ = ["HeldOut", "held_out_count", "pick_held_out", "require_usable"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Samples in a fixed order, and whether the run trains on them too."""

    samples: tuple[Sample, ...] = ()
    seen: bool = False

    @property
    def apart(self) -> tuple[Sample, ...]:
        """Those that the run doesn't train on."""
        return () if self.seen else self.samples

    @property
    def fingerprint(self) -> str:
        """The same for the same samples in the same order: losses of others can't be compared."""
        told = "\n".join(s.sample_id for s in self.samples)
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def first(self, count: int) -> HeldOut:
        """No more than the first `count` of them."""
        return HeldOut(self.samples[:count], self.seen)


def held_out_count(config: RunConfig) -> int:
    """How many samples a run is validated on and shown by at the most; 0 where it is neither."""
    return max(
        config.validate_on if config.validate_every else 0,
        config.grid_of if config.grid_every else 0,
    )


def pick_held_out(rows: Sequence[Sample], count: int) -> HeldOut:
    """At most `count` samples of the validation split; of the training split if there is none.

    The test split is never touched: it is for the model that comes out. Chosen and ordered by their
    ids, which are hashes, so that the same rows give the same samples. A fall back to what is
    trained on keeps a tiny data set whole; its losses say less, and are marked as seen.
    """
    held = sorted((s for s in rows if s.split == "validation"), key=lambda s: s.sample_id)
    if held:
        return HeldOut(tuple(held[:count]))
    trained = (s for s in rows if s.split == "train" and s.weight > 0)
    return HeldOut(tuple(sorted(trained, key=lambda s: s.sample_id)[:count]), seen=True)


def require_usable(store: Store, samples: Sequence[Sample], media: Path) -> None:
    """Raise ConsentError or InputError unless each has a consent for training and a crop."""
    consent.require(store, samples, "training", datetime.now(UTC))
    missing = [s.crop_path for s in samples if not (media / s.crop_path).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(samples)} crops are missing below {media}: {missing[0]}.",
            "Run `authface ingest` again to cut them.",
        )
