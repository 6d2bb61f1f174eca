"""The front door: the command line, the settings and what notebooks need, offered lazily."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Name offered here, and the module that holds it: imported on first use, so that `import authface`
# stays cheap.
_OFFERED = {
    "AuthFacePipeline": "restore.pipeline",
    "Store": "data_manifests.store",
    "Workspace": "data_manifests.media",
    "read_photo": "curation.decode",
    "open_finder": "curation.faces",
    "open_restorer": "restore.pipeline",
    "restore_photo": "restore.photo",
}
__all__ = [
    "AuthFacePipeline",
    "Store",
    "Workspace",
    "__version__",
    "open_finder",
    "open_restorer",
    "read_photo",
    "restore_photo",
]


def __getattr__(name: str) -> Any:
    if name in _OFFERED:
        return getattr(importlib.import_module(_OFFERED[name]), name)
    raise AttributeError(f"module 'authface' has no attribute {name!r}")
