"""The main job from the first command to the last, on a built-in portrait or the user's photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import TEMPLATE, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from authface.walk import Walk

__all__ = ["demo", "report"]

SETTINGS = """\
# Settings of the demo workspace. Written once by `authface demo`; change them as you like.

[ingest]
photographer = "{photographer}"
licence = "{licence}"
consent_id = "demo"
{subject}
[ingest.gates]
least_long_side = {least_long_side}

[annotate]
answers_wanted = 2       # two demo reviewers answer each task

[manifest]
validation_share = 0.0   # so few photos: all of them train
test_share = 0.0

[prior]
base = "tiny"            # random weights, SDXL-shaped: proves the code path, paints nothing good
steps = {steps}

[restorer]
steps = {steps}
"""
BUILT_IN = {
    "photographer": "NASA",
    "licence": "public domain",
    "subject": 'subject_id = "demo-astronaut"\n',
    "least_long_side": 8192,
}
OWN = {
    "photographer": "unknown",
    "licence": "all rights reserved",
    "subject": "",
    "least_long_side": 1024,  # camera and phone photos may walk through; the real default is 8192
}
BUILT_IN_BASIS = "public domain: NASA portrait of Eileen Collins that ships inside scikit-image"
OWN_BASIS = "own photos: whoever ran the demo on them vouches for them, in this workspace only"


def demo(
    workspace: WorkspaceOption = None,
    photos: Annotated[
        Path | None, typer.Option(help="A folder of your photos; else a built-in portrait.")
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Wait for you to answer in the browser instead.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="Training steps of each stage.")] = 20,
) -> None:
    """Walk one photo through the whole house: ingest, annotate, build, train, restore, report.

    Example: authface demo --workspace demo-workspace
    """
    from authface.demo_reviewers import review, wait_for_person
    from authface.walk import Walk

    root = (workspace or Path("demo-workspace")).absolute()
    walk = Walk(root)
    walk.run("init", str(root))
    originals = _originals(root, photos)
    _settle(walk, own=photos is not None, steps=steps)
    walk.run("ingest", str(originals), fine=(0, console.PARTIAL))
    server = walk.serve("annotate", "serve", ready="ready at", timeout_s=360)
    try:
        walk.run("annotate", "push")
        (wait_for_person if interactive else review)(root)
        walk.run("annotate", "pull")
        walk.run("manifest", "build")
        walk.run("manifest", "check")
        _restore(walk, _train(walk))
        walk.run("annotate", "push")  # doubtful faces go back to the photographers
    finally:
        server.stop()
    walk.save(root / "demo.json")
    walk.run("report", "--title", "AuthFace demo")
    console.done(f"the whole walk; open {root / 'report.html'} in a browser")


def report(
    workspace: WorkspaceOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; else report.html in the workspace.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "AuthFace report",
) -> None:
    """Write one HTML page, readable from disk, that shows what the workspace holds.

    Example: authface report
    """
    from authface.report_page import render_report
    from data_manifests.media import write_atomic

    place, _ = open_workspace(workspace)
    target = out or place.root / "report.html"
    log_file = place.root / "demo.json"
    log = json.loads(log_file.read_text()) if log_file.exists() else []
    page = render_report(place, title=title, log=log)
    write_atomic(target, page.encode())
    console.done(f"report: {target} ({len(page) / 1e6:.1f} MB)")


def _originals(root: Path, photos: Path | None) -> Path:
    from data_manifests.errors import InputError

    if photos is None:
        from authface.demo_photos import make_originals

        folder = root / "originals"
        console.heading("making originals: a public-domain portrait, enlarged with grain to 8K")
        for path in make_originals(folder):
            console.say(f"  {path.name}: {path.stat().st_size / 1e6:.1f} MB")
        return folder
    if not photos.is_dir():
        raise InputError(f"{photos} is no folder.", "Give --photos a folder that holds photos.")
    return photos.absolute()


def _settle(walk: Walk, *, own: bool, steps: int) -> None:
    """Write the demo's settings where only the template stands, and record its consent."""
    file = walk.workspace / "authface.toml"
    if file.read_text() == TEMPLATE:
        file.write_text(SETTINGS.format(steps=steps, **(OWN if own else BUILT_IN)))
        console.done(f"settings for the demo written to {file}")
    basis = OWN_BASIS if own else BUILT_IN_BASIS
    purposes = [part for p in ("curation", "annotation", "training") for part in ("--purpose", p)]
    walk.run("consent", "add", "demo", "--basis", basis, *purposes)


def _train(walk: Walk) -> Path:
    """Train both stages on the newest samples; the restorer's model folder.

    The runs are named after the version of the samples that they pin, so that new answers start new
    runs, and a second demo on the same samples finds its runs complete.
    """
    from data_manifests.media import Workspace
    from data_manifests.records import Sample
    from data_manifests.store import Store

    version = Store(Workspace(walk.workspace).tables).version(Sample)
    prior, restorer = f"prior-samples{version}", f"restorer-samples{version}"
    walk.run("train", "prior", "--name", prior, "--resume")
    walk.run("train", "restorer", "--name", restorer, "--prior", prior, "--resume")
    return walk.workspace / "runs" / restorer / "model"


def _restore(walk: Walk, model: Path) -> None:
    from authface.demo_restore import make_degraded

    root = walk.workspace
    console.heading("making a degraded copy of a photo, with the training's own degradation")
    for path in make_degraded(root):
        console.say(f"  {path}")
    folders = str(root / "degraded"), str(root / "restored")
    walk.run("restore", *folders, "--model", str(model), fine=(0, console.PARTIAL))
    walk.run("evaluate", str(root / "restored"), str(root / "reference"), fine=(0, console.PARTIAL))
