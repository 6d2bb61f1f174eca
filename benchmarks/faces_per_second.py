"""Faces restored per second on a GPU, by the real SDXL's sizes with random weights.

    python benchmarks/faces_per_second.py [--sizes 512 1024] [--faces 12] [--json FILE]

Our restorer beside the way the authors' released script calls diffusers: half precision, six faces
at once, 50 DDPM steps from pure noise, guidance 8, the VAE in float32. What the weights are does
not change what a step costs. Prompts are encoded before the clock starts, on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray

from restore.compiling import compile_blocks
from restore.config import RestoreConfig
from restore.model import ModelFacts
from restore.pipeline import Restorer, laid_out
from training import sdxl

TURNS = 3
WORDS, WIDTH, POOLED = 77, 2048, 1280  # SDXL's tokens, and the widths of its two embeddings


class Told(StableDiffusionXLControlNetPipeline):
    """SDXL without its text encoders: prompts are numbers drawn once."""

    def encode_prompt(self, *said: Any, **more: Any) -> tuple[torch.Tensor, ...]:
        if more.get("prompt_embeds") is not None:
            found: tuple[torch.Tensor, ...] = super().encode_prompt(*said, **more)
            return found
        rng = torch.Generator("cpu").manual_seed(0)
        long = [torch.randn(1, WORDS, WIDTH, generator=rng) for _ in range(2)]
        pooled = [torch.randn(1, POOLED, generator=rng) for _ in range(2)]
        return tuple(t.to(self.unet.device, self.unet.dtype) for t in (*long, *pooled))


def make_pipe(dtype: torch.dtype) -> Any:
    """A pipeline of the real sizes on the GPU."""
    with torch.device("cuda"):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(**sdxl.UNET).to(dtype).eval()
        controlnet = ControlNetModel.from_unet(unet).to("cuda", dtype).eval()
        vae = AutoencoderKL(**sdxl.VAE).float().eval()
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    pipe = Told(
        vae=vae,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        controlnet=controlnet,
        scheduler=DDPMScheduler(**noise, prediction_type="epsilon"),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def as_released(pipe: Any, faces: list[NDArray[np.uint8]], steps: int) -> None:
    """The released script's way through the pipeline. Source: AuthFace's repository."""
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    for start in range(0, len(faces), 6):
        some = np.stack(faces[start : start + 6])
        image = torch.from_numpy(some).to("cuda").permute(0, 3, 1, 2).float() / 255
        words = dict(zip(names, pipe.encode_prompt(), strict=True))
        found = pipe(
            **{k: v.expand(len(some), *v.shape[1:]) for k, v in words.items()},
            image=image,
            num_inference_steps=steps,
            guidance_scale=8.0,
            generator=torch.Generator("cpu").manual_seed(123),
            height=image.shape[2],
            width=image.shape[3],
            output_type="latent",
        ).images
        decoded = pipe.vae.decode(found.float() / pipe.vae.config.scaling_factor).sample
        (decoded / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


def ways(size: int, faces: list[NDArray[np.uint8]]) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is compared, each with its name."""
    pipe = make_pipe(torch.float16)
    for steps in (50, 20):
        yield f"as released, {steps} DDPM steps", lambda p=pipe, n=steps: as_released(p, faces, n)
    del pipe
    torch.cuda.empty_cache()
    facts = ModelFacts(
        name="random",
        folder=Path(),
        sha256="",
        size=size,
        prompt="",
        negative_prompt="",
        tiny=False,
        trained_steps=None,
        base=None,
    )
    same: dict[str, Any] = {"batch": 6, "steps": 50, "sampler": "ddpm", "guidance": 8.0}
    released = same | {"start": "noise", "spacing": "leading"}
    all_at_once = {"batch": len(faces)}
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("ours, the released settings", "laid out", released),
        ("ours, the same from the noised input", "laid out", same),
        ("ours, defaults", "laid out", {}),
        ("ours, defaults, all faces at once", "laid out", all_at_once),
        ("ours, 4 steps", "laid out", {"steps": 4}),
        ("ours, 1 step without guidance", "laid out", {"steps": 1, "guidance": 1.0}),
        ("released settings, channels outermost", "plain", released),
        ("defaults, channels outermost", "plain", {}),
        ("released settings, compiled", "compiled", released),
        ("defaults, compiled", "compiled", {}),
    ]
    form, pipe = "", None
    for name, wanted, settings in told:
        if wanted != form:
            pipe = None  # before the next is made
            torch.cuda.empty_cache()
            form, pipe = wanted, in_form(wanted)
        restorer = Restorer(pipe, facts, RestoreConfig.model_validate(settings))
        seeds = list(range(len(faces)))
        yield name, lambda r=restorer, s=seeds: list(r.restore_each(faces, seeds=s)) and None


def in_form(form: str) -> Any:
    """Our pipeline, plain, laid out as restore.loading does it, or compiled on top."""
    pipe = make_pipe(torch.bfloat16)
    if form == "plain":
        return pipe
    pipe = laid_out(pipe)
    if form == "compiled":
        compile_blocks(pipe.unet)
        compile_blocks(pipe.controlnet)
    return pipe


def timed(what: Callable[[], None]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    what()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    asked.add_argument("--faces", type=int, default=12)
    asked.add_argument("--json", type=Path)
    told = asked.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device here: faces per second are a GPU's figure.")
    rows = []
    print(torch.cuda.get_device_name(), torch.__version__)
    for size in told.sizes:
        rng = np.random.default_rng(0)
        faces = [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(told.faces)]
        for name, what in ways(size, faces):
            with torch.no_grad():
                timed(what)  # kernels are chosen at the first call
                seconds = statistics.median(timed(what) for _ in range(TURNS))
            peak = torch.cuda.max_memory_allocated() / 2**30
            torch.cuda.reset_peak_memory_stats()
            row = {"size": size, "way": name, "faces_s": len(faces) / seconds, "peak_gib": peak}
            rows.append(row)
            print(
                f"{size:5d}  {name:36s} {row['faces_s']:8.2f} faces/s  {peak:6.1f} GiB", flush=True
            )
    if told.json:
        told.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
