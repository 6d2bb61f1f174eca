"""Exports: samples as Parquet, for `datasets`, or as WebDataset; and forgetting people there.

An export is written to a hidden folder beside its place and then renamed, so a folder under its
final name is whole. Its row in the tables comes before its first byte: an erasure finds every copy,
a half-written one too.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from data_manifests.card import About, Card, describe
from data_manifests.card_page import render
from data_manifests.consent import PURPOSES
from data_manifests.croissant import croissant
from data_manifests.errors import ConfigError, ManifestError, StorageError
from data_manifests.export_datasets import (
    forget_datasets,
    ids_datasets,
    shared_schema,
    write_datasets,
)
from data_manifests.export_folder import (
    FACTS,
    changed_folder,
    data_files,
    new_folder,
    read_facts,
    sweep,
    write_json,
    write_sums,
)
from data_manifests.export_parquet import forget_parquet, ids_parquet, write_parquet
from data_manifests.export_webdataset import forget_webdataset, ids_webdataset, write_webdataset
from data_manifests.media import write_atomic
from data_manifests.outgoing import (
    SPLITS,
    ExportConfig,
    Outgoing,
    Selection,
    select,
    with_pictures,
)
from data_manifests.records import Export, Sample
from data_manifests.schema import arrow_schema
from data_manifests.store import Store

__all__ = ["FORMATS", "Exported", "Format", "Order", "card_of", "export", "forget"]


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of export is written, listed and forgotten; `files` says where a split lies."""

    write: Callable[[Path, str, Iterable[Outgoing], ExportConfig], int]
    ids: Callable[[Path], set[str]]
    forget: Callable[[Path, frozenset[str]], int]
    files: str
    schema: Callable[[], pa.Schema] | None = None  # of Parquet files, which Croissant describes


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "parquet": Format(
            write_parquet,
            ids_parquet,
            forget_parquet,
            "{split}.parquet",
            lambda: arrow_schema(Sample),
        ),
        "datasets": Format(
            write_datasets, ids_datasets, forget_datasets, "data/{split}-*.parquet", shared_schema
        ),
        "webdataset": Format(write_webdataset, ids_webdataset, forget_webdataset, "{split}-*.tar"),
    }
)


@dataclass(frozen=True, slots=True)
class Order:
    """What to export, and where to: a version of Samples, none for the newest."""

    format: str
    folder: Path
    version: int | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds by split, and what was left out: total = the sum of both."""

    row: Export
    splits: Mapping[str, int]
    left_out: Mapping[str, int]
    total: int


def export(
    store: Store, media: Path, order: Order, config: ExportConfig, now: datetime
) -> Exported:
    """Write an export and its row.

    Raises InputError if the place is taken, ManifestError if no sample may go out.
    """
    form = _format(order.format, config)
    version = order.version if order.version is not None else store.version(Sample)
    if version is None:
        raise ManifestError("There are no samples.", "Run `authface manifest build`.")
    row = _row(order, config, version, now)
    with new_folder(Path(row.path), overwrite=order.overwrite) as part:
        standing = [e for e in store.read(Export) if e.export_id == row.export_id]
        store.upsert(Export, [row], why=f"export to {order.format}")
        try:
            selection = select(store, config, at=version, now=now)
            splits = _write(part, form, selection, media, config)
            facts = _facts(row, config, splits, selection.left_out)
            _tell(part, facts, _rows_of(store, version), store)
        except Exception:
            _take_back(store, row, standing)
            raise
    others = [e for e in store.read(Export) if e.path == row.path and e.export_id != row.export_id]
    store.remove(Export, [e.export_id for e in others], why="overwritten by another format")
    return Exported(row, splits, dict(sorted(selection.left_out.items())), selection.total)


def forget(export: Export, sample_ids: frozenset[str], store: Store, media: Path) -> str:
    """Take samples out of an export where it lies; one sentence on what was done.

    The folder is replaced whole, so a killed run is done again by the next. Card, sums and
    Croissant are made again. Raises ManifestError while an export is being written there, and if
    the folder holds no export, or data that its sums don't tell of: it could hide samples.
    """
    folder = Path(export.path)
    sweep(folder)
    if not folder.exists():
        return f"{folder} is not there any more: nothing to forget, unless it was moved."
    facts = read_facts(folder)
    if facts is None:
        raise ManifestError(
            f"{folder} holds no export that can be read: nothing in it was touched.",
            "Look what lies there, delete it or move it elsewhere, and run the command again.",
        )
    form = FORMATS[facts["format"]]
    with changed_folder(folder) as part:
        gone = form.forget(part, sample_ids)
        _tell(part, facts, _rows_of(store, facts["samples_version"]), store)
        left = facts["samples"] - len(form.ids(part))
    return f"{folder}: {gone} samples forgotten, {left} in all since it was made."


def card_of(store: Store, *, name: str, version: int | None = None) -> Card:
    """The card of all samples of a version, the newest if none."""
    at = version if version is not None else store.version(Sample)
    samples = store.read(Sample, at) if at is not None else []
    return describe(store, samples, About(name, at))


def _format(name: str, config: ExportConfig) -> Format:
    if name not in FORMATS:
        raise ConfigError(f"There is no format {name!r}.", f"Known are: {', '.join(FORMATS)}.")
    if config.purpose not in PURPOSES:
        raise ConfigError(
            f"There is no purpose {config.purpose!r}.", f"Known are: {', '.join(PURPOSES)}."
        )
    unknown = [s for s in config.splits if s not in SPLITS]
    if unknown:
        raise ConfigError(f"There is no split {unknown[0]!r}.", f"Known are: {', '.join(SPLITS)}.")
    return FORMATS[name]


def _row(order: Order, config: ExportConfig, version: int, now: datetime) -> Export:
    path = str(order.folder.resolve())
    return Export(
        export_id=hashlib.sha256(f"{path}:{order.format}".encode()).hexdigest()[:32],
        path=path,
        format=order.format,
        samples_version=version,
        made_at=now,
        options=json.dumps(config.model_dump(mode="json"), sort_keys=True),
    )


def _write(
    part: Path, form: Format, selection: Selection, media: Path, config: ExportConfig
) -> dict[str, int]:
    splits = {
        split: form.write(part, split, with_pictures(selection, media, split), config)
        for split in SPLITS
        if split in config.splits
    }
    if not any(splits.values()):
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(selection.left_out.items()))
        raise ManifestError(
            f"None of {selection.total} samples may go out: {why or 'the table is empty'}.",
            "See `authface consent list` and `authface manifest check`.",
        )
    return splits


def _facts(
    row: Export, config: ExportConfig, splits: Mapping[str, int], left_out: Counter[str]
) -> dict[str, Any]:
    return {
        "format": row.format,
        "name": Path(row.path).name,
        "samples_version": row.samples_version,
        "made_at": row.made_at.isoformat(),
        "samples": sum(splits.values()),
        "left_out": dict(sorted(left_out.items())),
        "options": config.model_dump(mode="json"),
    }


def _tell(folder: Path, facts: dict[str, Any], samples: list[Sample], store: Store) -> None:
    """Write what stands beside the data: export.json, Croissant, the card, the sums."""
    form = FORMATS[facts["format"]]
    held = form.ids(folder)
    files = data_files(folder)
    described = [s for s in samples if s.sample_id in held]
    about = About(
        name=facts["name"],
        version=facts["samples_version"],
        left_out=facts["left_out"],
        forgotten=facts["samples"] - len(held),
        undescribed=len(held) - len(described),
    )
    card = describe(store, described, about)
    patterns = {split: form.files.format(split=split) for split in SPLITS}
    there = {split: pattern for split, pattern in patterns.items() if any(folder.glob(pattern))}
    write_atomic(folder / "README.md", render(card, files=there).encode())
    if form.schema is not None and files:
        made_at = datetime.fromisoformat(facts["made_at"])
        told = croissant(folder, files, form.schema(), card, made_at=made_at)
        write_json(folder / "croissant.json", told)
    else:
        (folder / "croissant.json").unlink(missing_ok=True)
    write_json(folder / FACTS, facts)
    write_sums(folder)


def _rows_of(store: Store, version: int) -> list[Sample]:
    """The samples of a version; the newest ones where an erasure has taken the version away."""
    try:
        return store.read(Sample, version)
    except (ManifestError, StorageError, OSError):  # its log may outlive its files
        return store.read(Sample)


def _take_back(store: Store, row: Export, standing: list[Export]) -> None:
    """The tables as they were before an export that failed."""
    if standing:
        store.upsert(Export, standing, why="an export failed")
    else:
        store.remove(Export, [row.export_id], why="an export failed")
