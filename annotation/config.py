"""Settings of the annotation part; secrets never stand here but in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from data_manifests.config import Section

__all__ = ["AnnotateConfig"]


class AnnotateConfig(Section):
    """How questions are asked and answers are taken."""

    project: str = Field(
        default="AuthFace",
        min_length=1,
        max_length=40,
        description="title of the projects; workspaces that share a server need one each",
    )
    answers_wanted: int = Field(default=1, ge=1, le=20, description="people asked per task")
    majority: float = Field(
        default=0.5,
        ge=0.5,
        lt=1,
        description="share of voters that the winning decision must exceed",
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
