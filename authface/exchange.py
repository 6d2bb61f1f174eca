"""`authface manifest export`, `import` and `card`: samples for other programs, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

__all__ = ["app"]

app = typer.Typer()

VersionOption = Annotated[
    int | None, typer.Option("--at", help="Version of Samples; the newest if left out.")
]


@app.command()
def export(
    format: Annotated[str, typer.Argument(help="parquet, datasets or webdataset.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    at: VersionOption = None,
    split: Annotated[
        list[str] | None, typer.Option(help="train, validation or test; may be repeated.")
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="What consent must cover; `publish` for giving it away.")
    ] = "training",
    shard_samples: Annotated[int, typer.Option(min=1, help="Samples in a file, at most.")] = 10_000,
    shard_mb: Annotated[int, typer.Option(min=1, help="A file is closed at this size.")] = 500,
    overwrite: Annotated[bool, typer.Option(help="Replace an export that is there.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Write samples as Parquet, for `datasets`, or as WebDataset shards; exit 3 if a crop is bad.

    A sample goes out if its consent covers the purpose now. The folder holds a dataset card,
    checksums and, for Parquet, Croissant.

    Example: authface manifest export datasets portraits --purpose publish
    """
    from datetime import UTC, datetime

    from data_manifests.export import Order
    from data_manifests.export import export as export_samples
    from data_manifests.outgoing import SPLITS, ExportConfig
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    config = ExportConfig(
        splits=tuple(split or SPLITS),
        purpose=purpose,
        shard_samples=shard_samples,
        shard_bytes=shard_mb * 1_000_000,
    )
    order = Order(format, folder, at, overwrite)
    done = export_samples(Store(place.tables), place.media, order, config, datetime.now(UTC))
    left = sum(done.left_out.values())
    if left:
        console.table("Left out", ("samples", "why"), [(n, w) for w, n in done.left_out.items()])
    console.done(
        f"{done.total} samples = {done.total - left} exported + {left} left out"
        f" ({', '.join(f'{n} {name}' for name, n in done.splits.items())})"
    )
    console.done(f"{folder}: {format} of samples@{done.row.samples_version}")
    if any(reason.startswith("crop_") for reason in done.left_out):
        raise typer.Exit(console.PARTIAL)


@app.command()
def card(
    out: Annotated[Path | None, typer.Option(help="File to write; printed if left out.")] = None,
    at: VersionOption = None,
    name: Annotated[
        str | None, typer.Option(help="Title; the workspace's name if left out.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Print the dataset card of all samples: counts, consents, licences, gaps, how it was judged.

    Example: authface manifest card --out CARD.md
    """
    from data_manifests.card_page import render
    from data_manifests.export import card_of
    from data_manifests.media import write_atomic
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    made = card_of(Store(place.tables), name=name or place.root.name, version=at)
    page = render(made)
    if out is None:
        typer.echo(page)
        return
    write_atomic(out.absolute(), page.encode())
    console.done(f"{out}: the card of {made.samples} samples")
