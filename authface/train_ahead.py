"""Commands before a training run: encode its pictures and words ahead, look over its data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from authface import console
from authface.presets import ConfigOption, with_file
from authface.settings import WorkspaceOption, open_workspace
from authface.train import SetOption, listen, make_config

if TYPE_CHECKING:
    from training.ahead import Ahead
    from training.cache import Key
    from training.encoders import Encoders
    from training.preflight import Fault, Room
    from training.world import World

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

FAULTY = 1  # exit code: the look itself worked and found faults
KindArgument = Annotated[
    Literal["prior", "restorer"], typer.Argument(help="Which stage: prior or restorer.")
]
BaseOption = Annotated[
    str | None,
    typer.Option("--base", "--prior", help="As the run itself takes it; else from the settings."),
]


@app.command()
def cache(
    kind: KindArgument,
    file: ConfigOption = None,
    set_: SetOption = None,
    base: BaseOption = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Do the I-th of N parts, counted from 1.")
    ] = "1/1",
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what these settings and samples don't need.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Encode a run's pictures and words ahead and keep them; a run with cache = true reads them.

    Goes on where it was stopped. Several processes may each do a part, by torchrun or by --shard.

    Example: authface train cache restorer --set size=512
    """
    part = _part(shard)
    from training.world import joined

    with joined() as world:
        _fill(_ahead(kind, (file, set_), base, workspace), world, part, prune=prune)


def _fill(ahead: Ahead, world: World, part: tuple[int, int], *, prune: bool) -> None:
    """Do a part of the work, all processes of a world together; the first of them speaks."""
    from training.ahead import open_cache

    if world.first:
        listen()
    encoders, samples = open_cache(ahead)
    which, of = part
    ours = which + of * world.rank, of * world.size
    filling = encoders.fill(samples, ahead.workspace.media, shard=ours)
    if world.first:
        steps = encoders.steps(samples, shard=ours)
        filling = console.track(filling, steps, label=f"cache of the {ahead.kind}")
    every = world.everyone(Counter((found.shelf, found.hit) for found in filling))
    if not world.first:
        return
    met = sum(every, Counter[tuple[str, bool]]())
    rows = [(s, met[s, True], met[s, False]) for s in ("latents", "words")]
    console.table(f"Records in {encoders.cache.folder}", ("of", "hits", "misses, made now"), rows)
    _settle_stale(encoders, encoders.needed(samples), prune=prune)


@app.command()
def preflight(
    kind: KindArgument,
    file: ConfigOption = None,
    set_: SetOption = None,
    base: BaseOption = None,
    name: Annotated[
        str | None, typer.Option(help="A run: look at the table it is pinned to, not the newest.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Look for all that would stop or spoil a run: every crop is read and decoded once.

    Files, hashes, sizes, boxes, masks, words, consents, room for checkpoints; of held-out samples
    too where the run is to be validated or shown by them. Deletes nothing.
    Exit code 1 if anything is wrong.

    Example: authface train preflight prior
    """
    from training.ahead import Preflight

    look = Preflight(_ahead(kind, (file, set_), base, workspace), name)
    found: list[Fault] = []
    for some in console.track(look.faults(), len(look.samples) + 2, label="preflight"):
        found += some
    _say_room(look.room)
    for note in look.notes:
        console.note(note)
    apart = len(look.held_out)
    what = f"{len(look.samples) - apart} samples{f' and {apart} held out' if apart else ''}"
    what += f" of samples@{look.version}"
    if not found:
        console.done(f"{what}: nothing is wrong")
        return
    rows = [(f.row or "-", f.wrong, f.todo) for f in found]
    console.table("Faults", ("sample", "what is wrong", "what to do"), rows)
    counted = "1 fault" if len(found) == 1 else f"{len(found)} faults"
    console.fail(f"{what}: {counted}; nothing was changed")
    raise typer.Exit(FAULTY)


def _ahead(
    kind: str, said: tuple[str | None, list[str] | None], base: str | None, workspace: Path | None
) -> Ahead:
    from data_manifests.store import Store
    from training.ahead import Ahead
    from training.bases import find_prior

    place, settings = open_workspace(workspace)
    file, set_ = said
    section = with_file(settings.prior if kind == "prior" else settings.restorer, file)
    config = make_config(section, {"base": base}, set_ or [])
    stands_on = config.base if kind == "prior" else find_prior(config.base, place.runs)
    return Ahead(kind, config, stands_on, Store(place.tables), place)


def _part(shard: str) -> tuple[int, int]:
    from data_manifests.errors import ConfigError

    which, given, of = shard.partition("/")
    if not (given and which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of)):
        raise ConfigError(
            f"--shard {shard!r} is no part.", "Write it as 2/4: the second of four parts."
        )
    return int(which) - 1, int(of)


def _settle_stale(encoders: Encoders, needed: list[Key], *, prune: bool) -> None:
    if prune:
        count, size = encoders.cache.prune(needed)
        console.done(f"{count} stale files deleted, {size / 1e6:.1f} MB")
        return
    stale = len(encoders.cache.stale(needed))
    console.done(f"{stale} stale files")
    if stale:
        console.note("nothing of this run needs them: --prune deletes them")


def _say_room(room: Room | None) -> None:
    if room is not None:
        console.say(
            f"checkpoints and model take at most {room.needed / 1e9:.2f} GB; "
            f"{room.free / 1e9:.2f} GB are free"
        )
