"""`authface manifest export`, `import` and `card`: samples for other programs, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from data_manifests.importing import Outcome

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


@app.command("import")
def import_folder(
    format: Annotated[str, typer.Argument(help="authface-hq, captions, coco or label-studio.")],
    path: Annotated[Path, typer.Argument(help="The folder, or the JSON file beside pictures.")],
    consent_id: Annotated[str, typer.Option(help="The consent that covers the pictures.")],
    name: Annotated[
        str | None, typer.Option(help="What the set is called; the folder's name if left out.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the pictures.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take what nobody has judged as accepted.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in an annotated folder: AuthFace-HQ, captions, COCO, Label Studio; exit 3 if not all.

    Pictures stay where they are. The pixels of square ones of 512 px and more are crops, without
    metadata; the others get one from `authface ingest`.

    Example: authface manifest import captions portraits --consent-id release-17
    """
    from datetime import UTC, datetime

    from authface.settling import import_rules
    from data_manifests.import_rows import Origin
    from data_manifests.importing import import_entries, open_source
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    source = open_source(format, path)
    called = path.resolve().name if path.is_dir() else path.stem
    origin = Origin(name or called, consent_id, licence, accept)
    outcomes = import_entries(
        Store(place.tables),
        None if dry_run else place.media,
        source,
        origin,
        import_rules(settings.annotate),
        datetime.now(UTC),
    )
    told = list(console.track(outcomes, label=origin.name))
    _tell_import(told, dry_run=dry_run)
    if any(o.state == "set_aside" for o in told):
        raise typer.Exit(console.PARTIAL)


def _tell_import(told: Sequence[Outcome], *, dry_run: bool) -> None:
    aside = [(console.one_line(o.name), o.reason) for o in told if o.state == "set_aside"]
    if aside:
        console.table("Set aside", ("entry", "why"), aside)
    count = Counter(o.state for o in told)
    would = " (nothing was written)" if dry_run else ""
    console.done(
        f"{len(told)} entries = {count['imported']} imported + {count['answered']} answered"
        f" + {count['known']} known + {count['set_aside']} set aside{would}"
    )
    obstacles = Counter(o.obstacle for o in told if o.obstacle)
    for obstacle, number in obstacles.most_common():
        console.note(f"{number} pictures are {obstacle}: `authface ingest` cuts their crops")
    other = sum(o.other_consent for o in told)
    if other:
        console.note(f"{other} photos were known under another consent, which stays")
