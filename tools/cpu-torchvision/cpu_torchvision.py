"""Make PyPI's torchvision importable where torch is a CPU build.

PyPI's torchvision links against CUDA. Beside a CPU torch its extension can't be loaded, and
torchvision's own Python then fails, because it registers fake kernels for operators that the
extension would have defined. This module, loaded by a .pth file, waits until torchvision is first
imported; only if torch has no CUDA and the extension can't be loaded does it define those
operators, with a plain CPU kernel for non-maximum suppression. It does nothing beside a CUDA build.
Not covered: roi_align and image reading.
"""

from __future__ import annotations

import importlib.machinery
import pathlib
import sys

_libraries: list[object] = []  # torch frees a library's operators with its Python object


class _BeforeTorchvision:
    """A meta-path finder that finds nothing itself: it only sees torchvision go by."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name == "torchvision.ops.boxes" and _libraries:
            # torchvision has finished its own registrations by now: let its nms use the kernel
            # below.
            sys.modules["torchvision.extension"]._has_ops = lambda: True
        if name == "torchvision" and not _libraries:
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            if spec is not None and spec.origin is not None:
                _prepare(pathlib.Path(spec.origin).parent)


def _prepare(package: pathlib.Path) -> None:
    import torch

    if torch.version.cuda is not None or _extension_loads(package):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("_cuda_version() -> int")
    library.impl("nms", _non_maximum_suppression, "CPU")
    library.impl("_cuda_version", lambda: -1, "CompositeImplicitAutograd")
    _libraries.append(library)


def _extension_loads(package: pathlib.Path) -> bool:
    import torch

    try:
        for file in package.glob("_C*.so"):
            torch.ops.load_library(str(file))
    except OSError:
        return False
    return True


def _non_maximum_suppression(boxes_N4, scores_N, iou_threshold):  # type: ignore[no-untyped-def]
    """Indices of the boxes to keep, best score first."""
    import torch

    left = scores_N.argsort(descending=True, stable=True)
    sizes_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(dim=1)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low = torch.maximum(boxes_N4[best, :2], boxes_N4[left, :2])
        high = torch.minimum(boxes_N4[best, 2:], boxes_N4[left, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        left = left[shared <= iou_threshold * (sizes_N[best] + sizes_N[left] - shared)]
    return torch.stack(kept) if kept else left


sys.meta_path.insert(0, _BeforeTorchvision())
