"""The project of each form on the server: found by our key, made once, in step with the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.config import AnnotateConfig
from annotation.labeling import lint, to_xml
from annotation.questions import Form
from annotation.studio import Studio
from annotation.tasks import MODEL_VERSION

__all__ = ["Project", "ensure_project", "find_project"]


@dataclass(frozen=True, slots=True)
class Project:
    """A project on the server and where a person finds it."""

    id: int
    kind: str
    url: str
    desk: str = ""

    @property
    def title(self) -> str:
        """What it is for, and for whom if it is not for all."""
        return f"{self.kind}, {self.desk}" if self.desk else self.kind


def find_project(
    studio: Studio,
    form: Form,
    config: AnnotateConfig,
    *,
    desk: str = "",
    standing: Mapping[int, Mapping[str, Any]] | None = None,
) -> Project | None:
    """The oldest project with our key, none if there is none; a desk has its own projects.

    `standing` is what `studio.projects()` said; without it the server is asked.
    """
    key = _key(form, config, desk)
    listed = studio.projects() if standing is None else standing
    found = [i for i, p in listed.items() if key in (p.get("description") or "").split()]
    return _project(studio, form, min(found), desk) if found else None


def ensure_project(
    studio: Studio, form: Form, config: AnnotateConfig, *, desk: str = ""
) -> Project:
    """The project of the form: made if missing, its questions renewed if the form has changed."""
    faults = lint(form)
    if faults:
        raise ValueError(f"the form {form.kind} can't be trusted: {'; '.join(faults)}")
    description = (
        f"AuthFace finds the project by this line: {_key(form, config, desk)} {form.version}"
    )
    standing = find_project(studio, form, config, desk=desk)
    if standing is None:
        made = studio.make_project(
            " ".join(filter(None, (config.project, form.title, desk))),
            description,
            to_xml(form),
            answers_wanted=_wanted(config, desk),
            suggests=MODEL_VERSION,
        )
        standing = _project(studio, form, made, desk)
    else:
        _renew(studio, standing, form, description, config)
    studio.serve_media(standing.id)
    return standing


def _renew(
    studio: Studio, project: Project, form: Form, description: str, config: AnnotateConfig
) -> None:
    now = studio.projects()[project.id]
    if now.get("description") != description:
        studio.change_project(project.id, label_config=to_xml(form), description=description)
    wanted = _wanted(config, project.desk)
    if now.get("maximum_annotations") != wanted:
        studio.change_project(project.id, maximum_annotations=wanted)


def _wanted(config: AnnotateConfig, desk: str) -> int:
    """A desk is one person's: its project wants one answer."""
    return 1 if desk else config.answers_wanted


def _key(form: Form, config: AnnotateConfig, desk: str) -> str:
    parts = (config.project, form.kind, desk)
    return "authface-key=" + "/".join("_".join(p.split()) for p in parts if p)


def _project(studio: Studio, form: Form, project_id: int, desk: str) -> Project:
    return Project(project_id, form.kind, f"{studio.url}/projects/{project_id}/data", desk)
