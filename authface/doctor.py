"""What is installed, what is missing and how to get it, and whether the main job can run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from authface import console
from authface.doctor_studio import Finding, studio_findings
from authface.settings import WorkspaceOption, find_workspace, open_workspace

if TYPE_CHECKING:
    from authface.sections import Settings

__all__ = ["doctor"]

LEAST_FREE_GB = 5.0

# package, extra that brings it, whether the main job needs it
PACKAGES = (
    ("deltalake", "base", True),
    ("pyarrow", "base", True),
    ("pillow", "base", True),
    ("opencv-python-headless", "curation", True),
    ("scikit-image", "curation", True),
    ("rawpy", "curation", False),
    ("tifffile", "curation", False),
    ("imagehash", "curation", True),
    ("simplejpeg", "curation", True),
    ("pyvips", "curation", True),
    ("pillow-heif", "heif", False),
    ("psd-tools", "psd", False),
    ("imagecodecs", "fast", False),
    ("obstore", "cloud", False),
    ("label-studio-sdk", "annotation", True),
    ("torch", "training", True),
    ("diffusers", "training", True),
    ("transformers", "training", True),
    ("peft", "training", False),
    ("facenet-pytorch", "face", False),
    ("open_clip_torch", "training", True),
    ("duckdb", "tables", False),
    ("gradio", "app", False),
    ("c2pa-python", "c2pa", False),
    ("ray", "scale", False),
)


def doctor(workspace: WorkspaceOption = None) -> None:
    """Say what is installed, what is missing and how to get it; exit 1 if the main job can't run.

    Example: authface doctor
    """
    settings, place = _settings(workspace)
    findings = [
        *_python(),
        *_packages(),
        *place,
        *studio_findings(settings),
        *_browser(),
        *_disk(workspace),
    ]
    console.table(
        "authface doctor",
        ("what", "state", "detail"),
        [(f.what, f.state, f.detail) for f in findings],
    )
    blocking = [f for f in findings if f.blocks]
    if blocking:
        console.fail(
            f"the main job can't run: {'; '.join(f'{f.what}: {f.detail}' for f in blocking)}"
        )
        raise typer.Exit(1)
    console.done("the main job can run")


def _python() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    import importlib.metadata
    import importlib.util

    for package, extra, needed in PACKAGES:
        try:
            yield Finding(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            how = f"pip install -c constraints.txt -e '.[{extra}]'"
            yield Finding(package, "missing" if needed else "optional", how, blocks=needed)
    if importlib.util.find_spec("torch"):
        yield from _device()


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("device", "ok", torch.cuda.get_device_name())
    else:
        yield Finding(
            "device", "ok", "CPU only: enough for the demo, far too slow for an SDXL training"
        )


def _settings(root: Path | None) -> tuple[Settings | None, list[Finding]]:
    from data_manifests.errors import ConfigError

    try:
        folder = find_workspace(root)
    except ConfigError as error:
        return None, [Finding("workspace", "none", str(error), blocks=root is not None)]
    try:
        _, settings = open_workspace(folder)
    except ConfigError as error:
        return None, [Finding("settings", "wrong", str(error), blocks=True)]
    return settings, [Finding("workspace", "ok", str(folder)), *_face_finder(settings)]


def _face_finder(settings: Settings) -> Iterator[Finding]:
    from data_manifests.errors import AuthFaceError

    try:
        from curation.faces import open_finder

        finder = open_finder(settings.ingest.faces)
    except (AuthFaceError, ImportError) as error:
        yield Finding("face finder", "missing", str(error), blocks=True)
        return
    lost = f". {finder.lacks}" if finder.lacks else ""
    if not finder.has_landmarks:
        lost += " It gives no landmarks: faces are boxed but not aligned."
    yield Finding("face finder", "ok", finder.name + lost)


def _browser() -> Iterator[Finding]:
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    yield Finding(
        "browser",
        "ok" if found else "optional",
        found or "apt-get install chromium: for the browser tests",
    )


def _disk(root: Path | None) -> Iterator[Finding]:
    from data_manifests.errors import ConfigError

    try:
        place = find_workspace(root)
    except ConfigError:
        place = Path.cwd()
    free = shutil.disk_usage(place).free / 1e9
    enough = free >= LEAST_FREE_GB
    yield Finding(
        "disk", "ok" if enough else "low", f"{free:.1f} GB free at {place}", blocks=not enough
    )
