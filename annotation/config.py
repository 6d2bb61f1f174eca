"""Settings of the annotation part; secrets never stand here but in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from data_manifests.config import Section

__all__ = ["AnnotateConfig"]


Desk = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=20)]


class AnnotateConfig(Section):
    """How questions are asked and answers are taken."""

    project: str = Field(
        default="AuthFace",
        min_length=1,
        max_length=40,
        description="title of the projects; workspaces that share a server need one each",
    )
    answers_wanted: int = Field(default=1, ge=1, le=20, description="people asked per task")
    desks: tuple[Desk, ...] = Field(
        default=(),
        description="names of photographers' own projects, so that nobody sees others' answers;"
        " names of places, not of people. Empty: all share one project",
    )
    overlap: int = Field(
        default=1, ge=1, le=20, description="desks that each photo is shown at, if there are any"
    )
    majority: float = Field(
        default=0.5,
        ge=0.5,
        lt=1,
        description="share of voters that the winning decision must exceed",
    )
    voters_may_settle: bool = Field(
        default=False,
        description="whether who voted on a photo may settle what its voters disagree on",
    )
    questions_file: Path | None = Field(
        default=None,
        description="TOML file with the team's own questions and words, from the workspace on",
    )
    people_file: Path | None = Field(
        default=None,
        description="TOML file that says who is who: names, users of the server, desks, roles",
    )
    port: int = Field(
        default=8080, ge=1024, le=65535, description="port of the local server, on loopback"
    )
    label_studio: Path | None = Field(
        default=None,
        description="the label-studio program; else the one in .venv-label-studio or on PATH",
    )
    start_timeout_s: float = Field(
        default=300,
        gt=0,
        description="how long to wait for the local server; its first start migrates",
    )
    request_timeout_s: float = Field(
        default=120, gt=0, description="how long to wait for one answer"
    )
    batch: int = Field(default=250, ge=1, le=2000, description="tasks sent in one request")
    page: int = Field(default=500, ge=1, le=1000, description="tasks read in one request")
    webhooks: bool = Field(
        default=False,
        description="let the local server call this machine, so that watch is woken at once; its"
        " users could then make it ask other programs of this machine, too",
    )
    overlap_s: float = Field(
        default=60,
        ge=0,
        description="how far before the newest change seen a pull looks again, in seconds",
    )
    largest_drop: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of tasks that may vanish from the server unasked",
    )
    media_url: str = Field(
        default="/data/local-files/?d=media/{path}",
        description="address of a picture as the browser asks for it; {path} is relative to media/",
    )
    server_media: str | None = Field(
        default=None, description="where a remote server sees media/, for its local-files storage"
    )
    xmp_labels: dict[str, Literal["accept", "retouch", "reject"]] = Field(
        default={"Red": "retouch"},
        description="what colour labels in XMP mean; their names are those of the photographer's"
        " program and language, and others are kept as they are",
    )
    xmp_accept_stars: int = Field(
        default=0,
        ge=0,
        le=5,
        description="stars in XMP that mean accept where no flag, label or keyword decides; 0:"
        " stars alone never decide",
    )
    allow_http: bool = Field(
        default=False, description="send the token over plain http to another machine"
    )

    @model_validator(mode="after")
    def _enough_desks(self) -> Self:
        if len(set(self.desks)) < len(self.desks):
            raise ValueError("two desks have one name")
        if self.desks and self.overlap > len(self.desks):
            raise ValueError(f"overlap = {self.overlap} needs as many desks")
        return self
