"""What a restoration may be told: the [restore] table of authface.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from data_manifests.config import Section
from restore.wanted import EXAMPLES, parse_wanted

__all__ = ["C2paConfig", "DoubtConfig", "GoodConfig", "GuardConfig", "RestoreConfig"]


class GuardConfig(Section):
    """When a restored face is too unlike its input to be taken; limits by benchmarks/guard.py."""

    enabled: bool = Field(
        default=True,
        description="try a face that is too unlike its input again, blend it or leave it",
    )
    most_drift: float = Field(
        default=0.1, gt=0, description="disagreement with the input at the input's own resolution"
    )
    most_landmark_shift: float | None = Field(
        default=None,
        gt=0,
        description="mean landmark shift, in eye distances; none refuses nothing, since finders"
        " misplace the landmarks of poor faces",
    )
    identity: bool = Field(
        default=False,
        description="compare faces by SFace's vectors too, in memory; biometric, so off unless"
        " asked for",
    )
    least_identity: float = Field(
        default=0.363, ge=-1, le=1, description="cosine of SFace vectors of one person"
    )
    ladder: tuple[float, ...] = Field(
        default=(0.3, 0.6), description="added to the fidelity, one try after the other"
    )
    least_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="of the restored face in a blend with the input; 1 blends nothing",
    )


class GoodConfig(Section):
    """When a face is good enough to be left alone; measured on the aligned crop."""

    most_scale: float = Field(
        default=1.0, gt=0, description="model pixels per photo pixel: beyond it the photo has fewer"
    )
    least_resolution: float = Field(
        default=-24.5, description="dB; blur and enlargement lower it (effective_resolution)"
    )
    least_eye_sharpness: float = Field(default=15.0, ge=0, description="of the sharper eye")
    most_noise: float = Field(default=4.0, ge=0, description="of 255, on smooth skin")
    least_jpeg_quality: int = Field(
        default=50, ge=0, le=100, description="by the file's quantisation tables, if it is a JPEG"
    )


class DoubtConfig(Section):
    """When a restored or an evaluated face is so doubtful that a person should look at it."""

    landmark_shift: float = Field(
        default=0.12, gt=0, description="largest mean landmark shift, in eye distances"
    )
    psnr_db: float = Field(default=16.0, description="least PSNR of the face region, in dB")
    least_identity: float = Field(
        default=0.5, ge=-1, le=1, description="cosine of SFace vectors, where it was measured"
    )
    most_drift: float = Field(
        default=0.08, gt=0, description="disagreement with the input at its own resolution"
    )
    input_shift: float = Field(
        default=0.24, gt=0, description="landmark shift against the input, in eye distances"
    )
    seeds: int = Field(
        default=0,
        ge=0,
        le=8,
        description="seeds that each face is restored with to see whether they agree; costs as"
        " many restorations; 0 asks nothing",
    )
    most_spread: float = Field(
        default=3.0, gt=0, description="standard deviation over seeds, CIELAB, of the worst part"
    )


class C2paConfig(Section):
    """Signing of outputs with a key of your own; off unless a certificate is named.

    A signature holds its time and random bytes: photos that are restored anew have the same pixels
    in other bytes. What was signed before is found done like any other output.
    """

    certificate: str | None = Field(
        default=None,
        description="chain of certificates in PEM, the signer's first; signed files differ in "
        "bytes from run to run, not in pixels",
    )
    key: str | None = Field(
        default=None, description="its private key in PEM; AUTHFACE_C2PA_KEY goes before it"
    )
    timestamp: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="server that certifies the time of each signature; none is asked by default",
    )


class RestoreConfig(Section):
    """How faces are sampled, chosen, pasted back and written."""

    steps: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="denoising steps; 20, or 4 for a tiny test model, if none",
    )
    sampler: Literal["dpm++", "ddpm", "euler", "lcm"] = Field(
        default="dpm++",
        description="DPM-Solver++ 2M, DDPM, Euler, or LCM; euler and lcm are for few-step weights",
    )
    spacing: Literal["trailing", "leading"] = Field(
        default="trailing",
        description="of the steps: from the top of the noise schedule, or from one step below it, "
        "as SDXL's own settings have it; lcm has steps of its own",
    )
    guidance: float = Field(
        default=4.0, ge=0, le=30, description="classifier-free guidance; 1 is off"
    )
    guidance_rescale: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how far guided values are brought back to the spread of unguided ones; "
        "0 is off",
    )
    control: float = Field(default=1.0, ge=0, le=2, description="strength of the ControlNet")
    fidelity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the noise schedule that is left out: 0 starts from the input under "
        "full noise, 1 from the input itself",
    )
    start: Literal["input", "noise"] = Field(
        default="input",
        description="what lies under the full noise of fidelity 0: the input, or nothing, as in "
        "the paper",
    )
    prompt: str | None = Field(
        default=None, description="words for every face; those the model was trained with if none"
    )
    negative_prompt: str | None = Field(
        default=None, description="words to lead away from; the model's own if none"
    )
    cache_prompts: bool = Field(
        default=True,
        description="keep encoded prompts in the user's cache, so that later runs need no text "
        "encoders",
    )
    base: str | None = Field(
        default=None,
        description="an SDXL folder or hub id, where the model is a ControlNet alone",
    )
    lora: tuple[str, ...] = Field(
        default=(),
        description="LoRAs to merge into the U-Net: folders, files or hub ids, each with =0.8 "
        "behind it for another weight than 1",
    )
    seed: int = Field(default=0, ge=0, description="one seed; each face gets its own from it")
    batch: int = Field(
        default=6, ge=1, le=64, description="faces restored together on an accelerator"
    )
    exact: bool | None = Field(
        default=None,
        description="every face alone through the model, so that no batch changes a bit of it; "
        "if none: on the CPU, where batching gains little",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    precision: Literal["auto", "half", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="of U-Net and ControlNet; auto: bfloat16 with CUDA, half: float16 on an "
        "accelerator, each else float32",
    )
    vae_precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the VAE, which overflows in float16"
    )
    compile: bool = Field(
        default=False, description="compile the blocks of U-Net and ControlNet at the first face"
    )
    faces: str = Field(
        default="all", description=f"which faces to restore: {EXAMPLES}; 0 is the largest"
    )
    aligned: bool = Field(
        default=False, description="each input is one aligned face: nothing is found or pasted"
    )
    region: Literal["face", "head"] = Field(
        default="face",
        description="what of a restored face goes into the photo: brow to chin, or the head with "
        "its hair, which the guard does not judge",
    )
    upscale: float = Field(
        default=1.0, ge=1, le=8, description="enlarge the whole photo before faces are pasted in"
    )
    least_score: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="the finder's confidence: less than for an ingest, degraded faces score less",
    )
    least_eye_distance: float = Field(
        default=8.0, ge=0, description="faces with eyes closer than this many pixels are skipped"
    )
    most_yaw: float = Field(
        default=0.9, gt=0, description="faces turned further are skipped; 1 is about a profile"
    )
    colour: Literal["wavelet", "adain", "none"] = Field(
        default="wavelet", description="where the colour of a restored face is taken from the input"
    )
    jpeg_quality: int = Field(
        default=95, ge=1, le=100, description="quality of JPEG and WebP outputs"
    )
    upscaler: str | None = Field(
        default=None,
        description="a super-resolution model's safetensors file that enlarges instead of Lanczos,"
        " by its own factor where upscale is 1",
    )
    max_memory_mb: int = Field(
        default=4096,
        ge=1,
        description="for the photos that are held at once, in MB; the model's own comes on top",
    )
    keep_private: bool = Field(
        default=False, description="keep GPS position, serial numbers and owner's name of the input"
    )
    mark: bool = Field(
        default=True,
        description="say in the output's metadata that a model made a face in it, which and how",
    )
    overwrite: bool = Field(default=False, description="replace files that AuthFace did not write")
    improve_good: bool = Field(
        default=False, description="restore faces that are good already, too"
    )
    good: GoodConfig = GoodConfig()
    guard: GuardConfig = GuardConfig()
    doubt: DoubtConfig = DoubtConfig()
    c2pa: C2paConfig = C2paConfig()

    @field_validator("faces")
    @classmethod
    def _names_faces(cls, said: str) -> str:
        try:
            parse_wanted(said)
        except ValueError as error:  # pydantic would put "Value error" before what it says
            raise PydanticCustomError("faces", "{why}", {"why": str(error)}) from error
        return said

    def steps_for(self, *, tiny: bool) -> int:
        """The number of denoising steps for a model."""
        if self.steps is not None:
            return self.steps
        return 4 if tiny else 20
