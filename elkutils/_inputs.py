"""What people hand over, made into arrays: tensors, half precision, ids with gaps, levels."""

import contextlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

WRITTEN_GAPS = "", "nan", "None", "<NA>", "NaT"  # what str() makes of a missing value


def plain(values: Any) -> np.ndarray:
    """Return an array that NumPy can compute with.

    Tensors may need gradients or be on a GPU; bfloat16 and its like become float32.
    """
    if isinstance(values, list | tuple) and values and hasattr(values[0], "detach"):
        return np.stack([plain(value) for value in values])
    if callable(getattr(values, "detach", None)):
        values = values.detach().cpu()
        try:
            values = values.numpy()
        except TypeError:  # a type that NumPy lacks
            values = values.float().numpy()
    values = np.asarray(values)
    if values.dtype.kind == "V" and values.dtype.names is None:  # JAX's own types
        values = values.astype(np.float32)
    return values


def numbers(values: Any, name: str) -> np.ndarray:
    """Return `values` as an array of numbers, or raise ValueError that names the entry."""
    values = plain(values)
    if values.dtype.kind == "O" and values.size:
        flat = values.ravel()
        gaps = [i for i, value in enumerate(flat) if is_missing(value)]
        if gaps:
            raise ValueError(f"{place(name, values.shape, gaps[0])} is missing; leave it out")
        if not any(isinstance(value, str | bytes) for value in flat):
            with contextlib.suppress(TypeError, ValueError):
                values = values.astype(np.float64)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {values.dtype}; it has to hold numbers")
    return values


def is_missing(value: object) -> bool:
    """Return whether `value` is None, NaN, or the NA or NaT of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def place(name: str, shape: tuple[int, ...], flat: int) -> str:
    """Return how the entry at a flat index is written: ``"X[3, 1]"``."""
    where = np.unravel_index(flat, shape) if shape else ()
    return f"{name}[{', '.join(str(int(i)) for i in where)}]" if where else name


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise ValueError with the first entry that is NaN or infinite, and how many there are."""
    finite = np.isfinite(values)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(
            f"{name} holds NaN or infinity: {place(name, values.shape, bad[0])} is "
            f"{values.ravel()[bad[0]]}, the first of {len(bad)}; every entry has to be finite"
        )


def check_ids(ids: ArrayLike, name: str, n: int) -> np.ndarray:
    """Return ids (n,), none of them missing, as numbers or strings.

    Raises
    ------
    ValueError
        If the shape is another, or an id is None, NaN, empty, or the text of one of these:
        all rows without an id would otherwise count as one group.
    """
    if isinstance(ids, list | tuple):  # NumPy would write None and NaN out as text
        given = np.empty(len(ids), dtype=object)
        given[:] = ids
        array = np.asarray(ids)
    else:
        array = given = plain(ids)
    if array.shape != (n,):
        raise ValueError(
            f"{name} has shape {array.shape}; it has to be (n,) like y, n = {n} ≥ 1"
        )
    gaps = _gaps(given)
    if gaps.any():
        row = int(np.flatnonzero(gaps)[0])
        found = given[row].item() if isinstance(given[row], np.generic) else given[row]
        raise ValueError(
            f"{name}[{row}] is {found!r}, a missing id, as in {gaps.sum()} of {n} rows; "
            "give each row its id, or leave the row out. A row that belongs to no other needs "
            f"an id of its own, such as 'row {row}'"
        )
    return array.astype(str) if array.dtype.kind == "O" else array


def _gaps(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind == "f":
        return np.isnan(ids)
    if ids.dtype.kind in "mM":
        return np.isnat(ids)
    if ids.dtype.kind == "U":
        return np.isin(np.char.strip(ids), WRITTEN_GAPS)
    if ids.dtype.kind == "O":
        found = [
            is_missing(value) or (isinstance(value, str) and value.strip() in WRITTEN_GAPS)
            for value in ids
        ]
        return np.array(found, dtype=bool)
    return np.zeros(ids.shape, dtype=bool)


def check_level(value: float, name: str = "level") -> float:
    """Return a level as a float, or raise ValueError unless it is in (0, 1)."""
    try:
        inside = 0 < value < 1
    except (TypeError, ValueError):
        inside = False
    if not inside:
        percent = isinstance(value, int | float) and 1 < value < 100
        hint = f": {value:g}% is {value / 100:g}" if percent else ""
        raise ValueError(f"{name} is {value!r}; it has to lie between 0 and 1{hint}")
    return float(value)
