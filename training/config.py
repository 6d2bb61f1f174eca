"""What a training run needs to know; what is left open is filled in to fit the base model."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from data_manifests.config import Section
from training.degrade_presets import preset

__all__ = [
    "IDENTIFIER_PROMPT",
    "NEGATIVE_PROMPT",
    "FacialConfig",
    "PriorConfig",
    "RestorerConfig",
    "RunConfig",
    "resolve",
]

# The fixed phrase that stands for "a photograph as our photographers take it", and its opposite.
# The themes follow the paper's section 3 and its released script; the words are ours.
IDENTIFIER_PROMPT = (
    "hyper-realistic close-up portrait photograph, visible skin pores, single hairs, sharp eyes, "
    "professional studio light, high contrast, full-frame DSLR camera, very high resolution"
)
NEGATIVE_PROMPT = (
    "blurry, out of focus, over-smoothed skin, plastic skin, unrealistic texture, JPEG artifacts, "
    "noise, asymmetric eyes, deformed face, painting, drawing, cartoon, 3D render, watermark"
)

# Labels of CelebAMask-HQ (Lee et al. 2020), which public face parsers have; neck, clothes,
# jewellery and hats are no face.
_CELEBA_FACE = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair"),
)

C = TypeVar("C", bound="RunConfig")


class RunConfig(Section):
    """What both stages share. `None` means: what fits the base (see `resolve`)."""

    base: str = Field(
        default="tiny", description="tiny, a local diffusers folder, or a model hub id"
    )
    steps: int | None = Field(default=None, ge=1, description="updates of the weights in all")
    batch: int | None = Field(default=None, ge=1, description="samples per update")
    at_once: int = Field(
        default=4,
        ge=1,
        description="samples on the device at once; does not change what is learned",
    )
    size: int | None = Field(
        default=None, ge=64, multiple_of=32, description="side of the training crop in pixels"
    )
    lr: float | None = Field(
        default=None, gt=0, description="learning rate of the U-Net or ControlNet"
    )
    warmup: int = Field(
        default=0, ge=0, description="updates over which the learning rate rises from zero"
    )
    optimizer: Literal["adamw", "adamw8bit"] = Field(
        default="adamw", description="adamw8bit keeps its moments in 8 bits, by bitsandbytes"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(
        default=1.0, gt=0, description="largest gradient norm of one group of weights"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the weights' moving average, which is exported then; 0: none",
    )
    bad_updates: int = Field(
        default=3,
        ge=1,
        description="steps in a row without a finite loss and gradient that stop the run; "
        "a single one is left out",
    )
    seed: int = Field(
        default=0, ge=0, description="decides order, noise, flips, dropout and degradation"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="how often a crop is mirrored")
    prompt_dropout: float = Field(
        default=0.1, ge=0, le=1, description="how often the words are left out"
    )
    save_every: int | None = Field(default=None, ge=1, description="updates between checkpoints")
    keep: int = Field(default=2, ge=1, description="newest checkpoints to keep")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 on a GPU that has it"
    )
    vae_precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="of the encoder; bf16 is faster on a GPU and moves latents by about 1 percent",
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="compile the models' blocks at the first step; auto: on a GPU alone",
    )
    readers: int | None = Field(
        default=None,
        ge=0,
        description="threads that read samples ahead; 0: the training thread reads them itself; "
        "left out: one per core, at most 8",
    )
    cache: bool = Field(
        default=False, description="keep latents and words on disk, and use those kept before"
    )
    target: Literal["base", "epsilon", "v", "flow"] = Field(
        default="base", description="what the model predicts; base: what the base does"
    )
    zero_terminal: bool = Field(
        default=False, description="stretch the noise levels to end in noise alone; for v"
    )
    min_snr: float = Field(
        default=0.0, ge=0, description="gamma of the min-SNR weight, 5 in its paper; 0: no weight"
    )
    timesteps: Literal["uniform", "logit_normal"] = Field(
        default="uniform",
        description="logit_normal: middle noise levels count most, or for flow are drawn most",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="less memory, about a quarter more work"
    )
    validate_every: int = Field(
        default=0,
        ge=0,
        description="updates between losses on held-out samples, at the first and last too; 0: off",
    )
    validate_on: int = Field(default=16, ge=1, description="held-out samples at the most")
    grid_every: int = Field(
        default=0,
        ge=0,
        description="updates between grids of pictures that the model makes, at the first and last "
        "too; 0: off",
    )
    grid_of: int = Field(default=4, ge=1, le=4, description="held-out samples in a grid")
    tensorboard: bool = Field(default=False, description="also write event files for TensorBoard")
    wandb: bool = Field(
        default=False,
        description="also send figures and settings, no pictures, to Weights & Biases",
    )
    peak_tflops: float | None = Field(
        default=None,
        gt=0,
        description="the device's peak of dense bf16 products, where AuthFace does not know it",
    )
    identifier_prompt: str = Field(default=IDENTIFIER_PROMPT, min_length=1)
    negative_prompt: str = Field(default=NEGATIVE_PROMPT, min_length=1)

    @field_validator("zero_terminal", "min_snr")
    @classmethod
    def _fits(cls, value: float, info: ValidationInfo) -> float:
        target = info.data.get("target")
        refused = ("epsilon", "flow") if info.field_name == "zero_terminal" else ("flow",)
        if value and target in refused:
            raise ValueError(f"not with target = {target}")
        return value


class PriorConfig(RunConfig):
    """Stage 1: the text-to-image U-Net learns faces."""

    loss: Literal["masked", "plain"] = Field(
        default="masked", description="masked: v2 of the paper; plain: v1"
    )
    distill_weight: float = Field(
        default=0.5, ge=0, description="weight of the pull towards the guided base (v2)"
    )
    face_parser: str = Field(
        default="",
        description="face-parsing model whose masks the masked loss takes, a transformers folder or"
        " a hub id; empty: an ellipse about the landmarks",
    )
    face_parts: tuple[str, ...] = Field(
        default=_CELEBA_FACE, min_length=1, description="what of the parser's labels is face"
    )
    mixed_words: bool = Field(
        default=False,
        description="draw at each step: the caption, the tags, or both; else always both",
    )
    tag_shuffle: bool = Field(default=False, description="tags in an order drawn at each step")
    tag_dropout: float = Field(
        default=0.0, ge=0, le=1, description="how often a tag is left out, drawn at each step"
    )
    lora_rank: int = Field(
        default=0, ge=0, description="0 trains the whole U-Net, else LoRA of this rank"
    )
    lora_alpha: float = Field(
        default=0.0, ge=0, description="over the rank it scales a LoRA; 0: as much as the rank"
    )
    dora: bool = Field(
        default=False, description="train the lengths of the weights' rows beside the LoRA"
    )

    @field_validator("lora_alpha", "dora")
    @classmethod
    def _of_a_lora(cls, value: float, info: ValidationInfo) -> float:
        if value and not info.data.get("lora_rank"):
            raise ValueError("set lora_rank too")
        return value

    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="of several processes; ddp: each holds all weights; fsdp: each holds its part",
    )

    @field_validator("parallel")
    @classmethod
    def _shards_all(cls, value: str, info: ValidationInfo) -> str:
        if value == "fsdp" and info.data.get("lora_rank"):
            raise ValueError("fsdp is for the whole U-Net: a LoRA is small, use ddp")
        if value == "fsdp" and info.data.get("optimizer") == "adamw8bit":
            raise ValueError("moments in 8 bits can't be spread over processes: use adamw or ddp")
        return value


class FacialConfig(Section):
    """The time-aware latent facial feature loss of stage 2."""

    on: Literal["clean", "noise"] = Field(
        default="clean", description="clean: predicted latents; noise: the paper's letter"
    )
    parts: tuple[Literal["eyes", "mouth", "nose", "brows"], ...] = Field(
        default=("eyes", "mouth"),
        min_length=1,
        description="which parts are judged; a sample's box says where each is",
    )
    gan_weight: float = Field(
        default=0.05, ge=0, description="adversarial term, relative to the noise error"
    )
    gram_weight: float = Field(
        default=200.0, ge=0, description="texture statistics term; GFP-GAN's weight"
    )
    timesteps: Literal["uniform", "logit_normal"] = Field(
        default="uniform",
        description="logit_normal: the terms count most at middle noise levels, as in v1",
    )
    start: int = Field(default=0, ge=0, description="the update from which the two terms count")
    least_signal: float = Field(
        default=0.05, ge=0, le=1, description="alpha-bar below which a sample is left out"
    )
    eye_cells: int = Field(default=10, ge=4, description="side of an eye's patch in latent cells")
    mouth_cells: int = Field(
        default=15, ge=4, description="side of the mouth's patch in latent cells"
    )
    brow_cells: int = Field(default=10, ge=4, description="side of a brow's patch in latent cells")
    nose_cells: int = Field(
        default=12, ge=4, description="side of the nose's patch in latent cells"
    )
    width: int = Field(
        default=64, ge=8, multiple_of=8, description="channels of the discriminators' first layer"
    )
    lr: float = Field(default=1e-4, gt=0, description="learning rate of the discriminators")

    @property
    def weighs(self) -> bool:
        """Whether either term counts; else there are no discriminators to train."""
        return self.gan_weight > 0 or self.gram_weight > 0


class RestorerConfig(RunConfig):
    """Stage 2: a ControlNet on the frozen prior learns to restore."""

    base: str = Field(
        default="",
        description="a prior run's name (empty: the newest), a folder, a hub id, or tiny",
    )
    condition: Literal["rgb", "latent"] = Field(
        default="rgb",
        description="what the ControlNet sees of the degraded picture: its pixels, or its latents",
    )
    recipe: str = Field(default="authface", description="degradation preset")
    log_recipes: int = Field(
        default=0,
        ge=0,
        description="updates between steps whose recipes the journal keeps; 0: none",
    )
    facial: FacialConfig = FacialConfig()

    @field_validator("recipe")
    @classmethod
    def _known(cls, name: str) -> str:
        preset(name)  # told before the base is loaded
        return name


# What the paper reports where it does (Liang et al. 2024, sections 4.1 and 4.2); stage 2's number
# of updates is not reported. The tiny model gets what shows a falling loss within a minute on a
# laptop.
_PAPER: dict[str, dict[str, Any]] = {
    "PriorConfig": {"size": 1024, "batch": 96, "lr": 5e-7, "steps": 20_000, "save_every": 500},
    "RestorerConfig": {"size": 512, "batch": 48, "lr": 2e-5, "steps": 60_000, "save_every": 1000},
}
_TINY: dict[str, Any] = {"size": 128, "batch": 2, "lr": 1e-3, "steps": 20, "save_every": 10}


def resolve(config: C, tiny: bool) -> C:
    """The config with open numbers filled in: the paper's, or small ones for the tiny model."""
    fitting = _TINY if tiny else _PAPER[type(config).__name__]
    open_ones = {k: v for k, v in fitting.items() if getattr(config, k) is None}
    return config.model_copy(update=open_ones)
