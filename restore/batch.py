"""One photo or a folder of them: which file becomes which, one outcome per file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.faces import NamedFinder
from curation.sandbox import Sandbox
from curation.scan import find_photos
from data_manifests.errors import AuthFaceError, InputError, StorageError
from restore.containers import format_of
from restore.outcome import Outcome
from restore.photo import restore_photo
from restore.pipeline import Restorer

__all__ = ["Job", "plan_jobs", "restore_jobs"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A photo to restore and where it goes; or something that can't be, and why."""

    source: Path
    target: Path
    problem: str = ""


def plan_jobs(source: Path, target: Path) -> list[Job]:
    """The jobs of restoring `source` into `target`: one, or one per photo of a folder, in order."""
    if not source.exists():
        raise InputError(f"{source} does not exist.", "Check the path.")
    if not source.is_dir():
        return [Job(source, target / _name(source) if target.is_dir() else target)]
    if target.exists() and not target.is_dir():
        raise InputError(
            f"{source} is a folder and {target} is a file.", "Give a folder as output."
        )
    if target.resolve() == source.resolve():
        raise InputError("Input and output are the same folder.", "Give another folder as output.")
    jobs = [_job(found.path, found.problem, source, target) for found in find_photos([source])]
    inside = target.resolve()
    jobs = [job for job in jobs if not job.source.resolve().is_relative_to(inside)]
    if not jobs:
        raise InputError(f"{source} holds no photo.", "Check the folder.")
    return jobs


def restore_jobs(
    jobs: Sequence[Job], *, restorer: Restorer, finder: NamedFinder
) -> Iterator[Outcome]:
    """Yield one outcome per job; only the disk's own failure stops the run."""
    with Sandbox() as sandbox:
        for job in jobs:
            try:
                if job.problem:
                    raise InputError(f"{job.source} {job.problem}.")
                yield restore_photo(
                    job.source, job.target, restorer=restorer, finder=finder, read=sandbox.read
                )
            except StorageError:
                raise
            except AuthFaceError as error:
                log.info("%s: %s", job.source, error)
                yield Outcome(
                    source=job.source, target=job.target, status="failed", problem=str(error)
                )


def _job(path: Path, problem: str, source: Path, target: Path) -> Job:
    relative = path.relative_to(source.absolute())
    return Job(path, target / relative.with_name(_name(path)), problem)


def _name(path: Path) -> str:
    """The output's file name: the input's, with .tif added where its format can't be written."""
    try:
        format_of(path)
    except InputError:
        return path.name + ".tif"
    return path.name
