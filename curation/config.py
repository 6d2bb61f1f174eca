"""Settings of the ingest: what the gates ask, which face finder, and what a decoder may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_manifests.config import Section

__all__ = [
    "CropsConfig",
    "DecoderConfig",
    "EmbedConfig",
    "FacesConfig",
    "GatesConfig",
    "IdentityConfig",
    "IngestConfig",
]


class GatesConfig(Section):
    """What a photo and its main face must reach to be kept. A limit of 0 or none asks nothing."""

    least_long_side: int = Field(default=8192, ge=1, description="px; judged from the header alone")
    least_megapixels: float = Field(default=0, ge=0, description="judged from the header alone")
    least_eye_distance: float = Field(default=96, ge=0, description="px in the original, main face")
    least_sharpness: float = Field(
        default=8, ge=0, description="Laplacian variance of the 512 px face"
    )
    least_eye_sharpness: float = Field(
        default=8, ge=0, description="Laplacian variance of the sharper eye in the 512 px face"
    )
    least_roll_off: float | None = Field(
        default=None,
        description="dB; effective resolution: high against middle frequencies at native scale; "
        "off, since sharp photos of real cameras lie anywhere from -32 to -13",
    )
    most_motion_blur: float = Field(
        default=0.74,
        ge=0,
        le=1,
        description="0 none, 1 sharp along one direction only; 1 asks nothing",
    )
    most_noise: float = Field(
        default=12, ge=0, description="standard deviation on smooth skin, of 255, at native scale"
    )
    most_clipped: float = Field(
        default=0.15, ge=0, le=1, description="share of blown-out face pixels, all channels"
    )
    most_clipped_channel: float = Field(
        default=1,
        ge=0,
        le=1,
        description="share of skin clipped in its worst channel; 1 asks nothing",
    )
    least_brightness: float = Field(
        default=0.2, ge=0, le=1, description="brightest parts of the face"
    )
    most_darkness: float = Field(
        default=0.65, ge=0, le=1, description="darkest parts of the face: higher is washed out"
    )
    least_jpeg_quality: int = Field(
        default=50, ge=0, le=100, description="estimated from the file's quantisation tables"
    )
    most_occlusion: float = Field(
        default=0.7, ge=0, le=1, description="share of eyes or nose bridge covered; 1 asks nothing"
    )
    most_yaw: float = Field(
        default=1, ge=0, le=1, description="0 frontal, 1 about a profile, asks nothing"
    )
    most_faces: int = Field(
        default=0, ge=0, description="faces at least half as wide as the main one, with it; 0: any"
    )
    near_duplicate_bits: int = Field(
        default=80, ge=0, le=256, description="of 256; colours must agree too; 0 finds only equals"
    )
    least_likeness: float = Field(
        default=0.955,
        ge=-1,
        le=1,
        description="cosine of colours at equal hashes; towards near_duplicate_bits it rises",
    )
    burst_s: float = Field(default=1, ge=0, description="seconds between frames of one burst")
    honour_rejects: bool = Field(
        default=True, description="set aside what the photographer flagged as rejected"
    )
    honour_data_mining: bool = Field(
        default=True, description="set aside what its metadata forbids to train on"
    )


class FacesConfig(Section):
    """How faces are found."""

    finder: Literal["auto", "yunet", "mtcnn", "haar", "dlib", "mediapipe"] = Field(
        default="auto", description="auto takes the best one that is there: YuNet, MTCNN, Haar"
    )
    least_score: float = Field(default=0.8, ge=0, le=1, description="the finder's confidence")
    least_share: float = Field(
        default=0.01, ge=0, le=1, description="face width over photo's long side"
    )
    rotations: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="search turned by 90, 180 and 270 degrees; auto: if none is found upright,"
        " or one looks surer turned",
    )
    small_faces: bool = Field(default=False, description="search tiles for small faces too")
    fetch: bool = Field(
        default=True, description="fetch YuNet's file once from its publisher if it is missing"
    )
    least_crop: int = Field(
        default=96, ge=32, description="px; smaller faces get a row and no crop"
    )


class CropsConfig(Section):
    """What is cut and how it is written."""

    size: int = Field(default=1024, ge=64, description="px; aligned crops are never enlarged")
    small: bool = Field(default=True, description="a 512 px aligned crop too")
    native: bool = Field(default=False, description="the aligned crop at native size too")
    tiles: bool = Field(default=True, description="native tiles of faces beyond `size`")
    tile_size: int = Field(default=1024, ge=128, description="px")
    codec: Literal["png", "jxl"] = Field(
        default="png", description="lossless; jxl is smaller and needs imagecodecs to be read"
    )
    deep: bool = Field(default=True, description="16-bit crops of photos with 16 bits")


class EmbedConfig(Section):
    """The open_clip model behind suggestions and near-duplicate checks; off without a model."""

    model: str | None = Field(default=None, description="open_clip model name, such as ViT-B-32")
    pretrained: str | None = Field(
        default=None, description="open_clip tag (fetched by open_clip) or a local weights file"
    )
    batch: int = Field(default=16, ge=1, description="photos at once")
    least_score: float = Field(default=0.4, ge=0, le=1, description="weaker suggestions are left")
    watermark_gate: bool = Field(default=False, description="set aside what looks watermarked")
    most_watermark: float = Field(default=0.8, ge=0, le=1, description="probability of a watermark")


class IdentityConfig(Section):
    """Grouping faces of one person; needs the purpose identity_embedding in each consent."""

    enabled: bool = Field(default=False, description="off unless asked for")
    least_likeness: float = Field(
        default=0.363, ge=-1, le=1, description="cosine of SFace vectors of one person"
    )


class DecoderConfig(Section):
    """What one worker process may use before it is killed."""

    processes: int = Field(default=2, ge=1, description="worker processes")
    timeout_s: float = Field(default=60, gt=0, description="seconds per file")
    memory_mb: int = Field(default=4096, ge=512, description="address space of one process")
    most_pixels: int = Field(default=250_000_000, ge=1, description="larger pictures are refused")
    files_per_process: int = Field(default=200, ge=1, description="then a fresh process takes over")
    raw_preview: bool = Field(
        default=False, description="use a RAW's embedded preview where it can't be developed"
    )


class IngestConfig(Section):
    """Settings of `authface ingest`."""

    gates: GatesConfig = GatesConfig()
    faces: FacesConfig = FacesConfig()
    crops: CropsConfig = CropsConfig()
    decoder: DecoderConfig = DecoderConfig()
    embed: EmbedConfig = EmbedConfig()
    identity: IdentityConfig = IdentityConfig()
    photographer: str | None = Field(default=None, description="who took the photos")
    licence: str | None = Field(default=None, description="licence of the photos")
    consent_id: str | None = Field(default=None, description="the consent that covers them")
    subject_id: str | None = Field(default=None, description="who is in them, as a pseudonym")
    keep_gps: bool = Field(default=False, description="keep the place where a photo was taken")
    media_url: str | None = Field(
        default=None,
        description="keep crops, tiles and proxies at this address too (s3://...); media/ is its"
        " cache",
    )
    proxy_long_side: int = Field(
        default=2048, ge=256, description="px; the picture that people look at"
    )
