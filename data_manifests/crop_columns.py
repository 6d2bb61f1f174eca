"""Aligned crops and the points in them, as columns: which crop a photo is trained on, and where."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["AlignedCrops", "aligned_crops", "first_aligned", "moved_points"]

Matrices = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AlignedCrops:
    """One crop a row; `there` is false where a face has none, and the rest then means nothing."""

    there: NDArray[np.bool_]
    retouched: NDArray[np.bool_]  # cut from an approved retouch
    path: pa.Array
    sha256: pa.Array
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    matrix_N23: Matrices  # from photo pixels to crop pixels

    @property
    def scale(self) -> NDArray[np.float64]:
        """Crop pixels per photo pixel."""
        m = self.matrix_N23
        return np.asarray(np.sqrt(np.abs(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])))

    def take(self, rows: NDArray[Any]) -> AlignedCrops:
        """These rows."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return AlignedCrops(
            **{
                k: v.take(pa.array(rows)) if isinstance(v, pa.Array) else v[rows]
                for k, v in values.items()
            }
        )


def first_aligned(crops: Any) -> Any:
    """The first aligned crop of each list of crops, null where there is none."""
    lists = crops.combine_chunks() if isinstance(crops, pa.ChunkedArray) else crops
    flat, owners = lists.flatten(), np.asarray(pc.list_parent_indices(lists))
    aligned = np.flatnonzero(np.asarray(pc.equal(pc.struct_field(flat, "kind"), "aligned")))
    own, first = np.unique(owners[aligned], return_index=True)
    place = np.full(len(lists), -1)
    place[own] = aligned[first]
    return flat.take(pa.array(place, mask=place < 0))


def aligned_crops(chosen: Any, retouched: Any) -> AlignedCrops:
    """The face's aligned crop, or the one cut from the photo's approved retouch; null if none."""
    own, other = (
        c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in (chosen, retouched)
    )
    there = ~np.asarray(pc.is_null(own))
    done = ~np.asarray(pc.is_null(other)) & there
    if done.any():
        both = pa.concat_arrays([own, other.cast(own.type)])
        rows = np.arange(len(own))
        own = both.take(pa.array(np.where(done, rows + len(own), rows)))
    return _columns(own, there, done)


def moved_points(points: Any, matrix_N23: Matrices) -> Any:
    """Lists of points, each moved by its row's matrix; nulls become empty lists."""
    lists = points.combine_chunks() if isinstance(points, pa.ChunkedArray) else points
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    flat = lists.flatten()
    xy1_M3 = np.stack(
        [np.asarray(pc.struct_field(flat, axis)) for axis in "xy"] + [np.ones(len(flat))], axis=1
    )
    moved_M2 = np.einsum(
        "mij,mj->mi", matrix_N23[np.repeat(np.arange(len(lengths)), lengths)], xy1_M3
    )
    values = pa.StructArray.from_arrays(
        [pa.array(moved_M2[:, i]) for i in (0, 1)], fields=list(lists.type.value_type)
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _columns(crops: Any, there: NDArray[np.bool_], done: NDArray[np.bool_]) -> AlignedCrops:
    def numbers(name: str) -> NDArray[np.int64]:
        return np.asarray(pc.fill_null(pc.struct_field(crops, name), 0), np.int64)

    matrix = pc.struct_field(crops, "matrix")
    usable = there & (np.asarray(pc.fill_null(pc.list_value_length(matrix), 0)) == 6)
    matrices = np.tile(np.eye(2, 3), (len(there), 1, 1))
    matrices[usable] = np.asarray(matrix.filter(pa.array(usable)).flatten()).reshape(-1, 2, 3)
    turned = matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]
    usable &= np.isfinite(matrices).all(axis=(1, 2)) & (turned != 0)
    return AlignedCrops(
        usable,
        done & usable,
        pc.fill_null(pc.struct_field(crops, "path"), ""),
        pc.fill_null(pc.struct_field(crops, "sha256"), ""),
        numbers("width"),
        numbers("height"),
        matrices,
    )
