"""Settings of the ingest: what the gates ask, which face finder, and what a decoder may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_manifests.config import Section

__all__ = ["DecoderConfig", "FacesConfig", "GatesConfig", "IngestConfig"]


class GatesConfig(Section):
    """What a photo and its main face must reach to be kept."""

    least_long_side: int = Field(default=8192, ge=1, description="px; judged from the header alone")
    least_eye_distance: float = Field(default=96, ge=0, description="px in the original, main face")
    least_sharpness: float = Field(
        default=8, ge=0, description="Laplacian variance of the 512 px face"
    )
    most_clipped: float = Field(
        default=0.15, ge=0, le=1, description="share of blown-out face pixels"
    )
    least_brightness: float = Field(
        default=0.2, ge=0, le=1, description="brightest parts of the face"
    )
    near_duplicate_bits: int = Field(
        default=24, ge=0, le=256, description="of 256; 0 finds only equals"
    )


class FacesConfig(Section):
    """How faces are found."""

    finder: Literal["auto", "yunet", "mtcnn", "haar"] = Field(
        default="auto", description="auto takes the best one that is there: YuNet, MTCNN, Haar"
    )
    least_score: float = Field(default=0.8, ge=0, le=1, description="the finder's confidence")
    least_share: float = Field(
        default=0.01, ge=0, le=1, description="face width over photo's long side"
    )
    least_crop: int = Field(
        default=96, ge=32, description="px; smaller faces get a row and no crop"
    )


class DecoderConfig(Section):
    """What one decoding process may use before it is killed."""

    processes: int = Field(default=2, ge=1, description="decoding processes")
    timeout_s: float = Field(default=60, gt=0, description="seconds per file")
    memory_mb: int = Field(default=4096, ge=512, description="address space of one process")
    most_pixels: int = Field(default=250_000_000, ge=1, description="larger pictures are refused")
    files_per_process: int = Field(default=200, ge=1, description="then a fresh process takes over")


class IngestConfig(Section):
    """Settings of `authface ingest`."""

    gates: GatesConfig = GatesConfig()
    faces: FacesConfig = FacesConfig()
    decoder: DecoderConfig = DecoderConfig()
    photographer: str | None = Field(default=None, description="who took the photos")
    licence: str | None = Field(default=None, description="licence of the photos")
    consent_id: str | None = Field(default=None, description="the consent that covers them")
    subject_id: str | None = Field(default=None, description="who is in them, as a pseudonym")
    proxy_long_side: int = Field(
        default=2048, ge=256, description="px; the picture that people look at"
    )
    crop_size: int = Field(default=1024, ge=64, description="px; aligned crops are never larger")
    tile_size: int = Field(
        default=1024, ge=128, description="px; native tiles of faces beyond crop_size"
    )
