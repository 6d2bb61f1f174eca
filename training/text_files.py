"""Text encoders and tokenizers on disk, in the form that transformers 4 and 5 both read.

transformers 5 saves a CLIPTextModel built from a config without the `text_model.` before its keys,
and a tokenizer as tokenizer.json alone. transformers 4 then loads a random text encoder with no
more than a warning, and no tokenizer at all. transformers 5 reads the older form without a fault.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

__all__ = ["mend_text_files"]

_PREFIX = "text_model."
_OTHERS = (_PREFIX, "text_projection.")


def mend_text_files(folder: Path) -> None:
    """Bring a pipeline folder's text encoders and tokenizers into the older form; it may be so."""
    for encoder in ("text_encoder", "text_encoder_2"):
        _prefix_keys(folder / encoder / "model.safetensors")
    for tokenizer in ("tokenizer", "tokenizer_2"):
        _write_vocabulary(folder / tokenizer)


def _prefix_keys(path: Path) -> None:
    if not path.is_file():
        return
    with safe_open(path, "pt") as file:
        keys, about = list(file.keys()), file.metadata()
    if all(key.startswith(_OTHERS) for key in keys):
        return
    tensors = load_file(path)
    named = {k if k.startswith(_OTHERS) else _PREFIX + k: v for k, v in tensors.items()}
    part = path.with_suffix(".part")  # the tensors may still lie in the file that is replaced
    save_file(named, part, metadata=about)
    part.replace(path)


def _write_vocabulary(folder: Path) -> None:
    file = folder / "tokenizer.json"
    if not file.is_file() or (folder / "vocab.json").is_file():
        return
    from tokenizers import Tokenizer

    Tokenizer.from_file(str(file)).model.save(str(folder))
