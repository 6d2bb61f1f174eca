"""What is installed, what is missing and how to get it, and whether the main job can run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from authface import console
from authface.settings import WorkspaceOption, find_workspace, open_workspace

if TYPE_CHECKING:
    from authface.sections import Settings

__all__ = ["Finding", "doctor"]

LEAST_STUDIO = (1, 23)  # older servers have known holes: stored XSS, SSRF
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
    ("ray", "scale", False),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table; `blocks` says that the main job can't run without it."""

    what: str
    state: str
    detail: str
    blocks: bool = False


def doctor(workspace: WorkspaceOption = None) -> None:
    """Say what is installed, what is missing and how to get it; exit 1 if the main job can't run.

    Example: authface doctor
    """
    settings, place = _settings(workspace)
    findings = [
        *_python(),
        *_packages(),
        *place,
        *_studio(settings),
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


def _studio(settings: Settings | None = None) -> Iterator[Finding]:
    url = os.environ.get("LABEL_STUDIO_URL")
    if url:
        yield _studio_at(url)
        return
    yield _local_studio(settings)


def _local_studio(settings: Settings | None) -> Finding:
    import subprocess

    from annotation.config import AnnotateConfig
    from annotation.server import find_program
    from data_manifests.errors import ConfigError

    try:
        program = find_program(settings.annotate if settings else AnnotateConfig())
    except ConfigError as error:
        todo = f"{error} Or set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."
        return Finding("Label Studio", "missing", todo, blocks=True)
    asked = "import importlib.metadata as m; print(m.version('label-studio'))"
    python = program.with_name("python")
    answer = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return _judge_studio(answer.stdout.strip(), str(program))


def _studio_at(url: str) -> Finding:
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/version", timeout=10).json()
        version = str(answer["label-studio-os-package"]["version"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Finding(
            "Label Studio",
            "unreachable",
            f"{url}: {type(error).__name__}; is it running?",
            blocks=True,
        )
    return _judge_studio(version, url)


def _judge_studio(version: str, where: str) -> Finding:
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdigit())
    if numbers < LEAST_STUDIO:
        least = ".".join(map(str, LEAST_STUDIO))
        return Finding(
            "Label Studio",
            "too old",
            f"{version or 'unknown'} at {where}; {least} or newer is needed",
            blocks=True,
        )
    return Finding("Label Studio", "ok", f"{version} at {where}")


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
