"""What people hand over, made into arrays: tensors, half precision, ids with gaps, levels."""

import contextlib
import numbers as kinds
import unicodedata
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# What str() makes of a missing value, and what tables write for one.
WRITTEN_GAPS = "", "nan", "NaN", "None", "<NA>", "NaT", "n/a", "N/A", "#N/A", "NULL", "null"
LIKE_GAPS = "NA", "na", "-", "--", "?", "none", "-1"  # these may be meant


def plain(values: Any, name: str = "an argument") -> np.ndarray:
    """Return an array that NumPy can compute with.

    Tensors may need gradients or be on a GPU; bfloat16 and its like become float32.

    Raises
    ------
    ValueError
        If entries are masked, which every computation but NumPy's own would read.
    """
    if isinstance(values, list | tuple) and values and hasattr(values[0], "detach"):
        return np.stack([plain(value, name) for value in values])
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        first = int(np.flatnonzero(np.ma.getmaskarray(values))[0])
        raise ValueError(
            f"{name} is a masked array: {place(name, values.shape, first)} is masked, the first"
            f" of {np.ma.count_masked(values)}; leave these rows out, or fill them"
        )
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
    values = plain(values, name)
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


def is_number(value: object) -> bool:
    """Return whether `value` is one real number; True and False are none."""
    return isinstance(value, kinds.Real) and not isinstance(value, bool | np.bool_)


def check_counts(least: int = 1, **counts: int) -> None:
    """Raise ValueError unless every count is an integer no smaller than `least`."""
    for name, value in counts.items():
        whole = isinstance(value, kinds.Integral) and not isinstance(value, bool | np.bool_)
        if not whole or value < least:
            raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ {least}")


def check_flags(**flags: bool) -> None:
    """Raise ValueError unless every flag is True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} is {value!r}; it has to be True or False")


def check_order(stacklevel: int = 3, **given: Any) -> None:
    """Warn where arguments of pandas have the same index in different orders.

    Rows are matched by their place. Arguments without an index count as in order.
    """
    indexed = [(name, value) for name, value in given.items() if hasattr(value, "iloc")]
    for name, value in indexed[1:]:
        first, other = indexed[0]
        ours, theirs = value.index, other.index
        if len(ours) != len(theirs) or ours.equals(theirs) or set(ours) != set(theirs):
            continue
        warnings.warn(
            f"{name} has the index of {first} in another order, and rows are matched by their "
            f"place, not by the index: give {name}.loc[{first}.index], or {name}.to_numpy() if "
            "the order is right",
            UserWarning,
            stacklevel=stacklevel,
        )


def check_columns(first: Any, second: Any, first_name: str, second_name: str) -> None:
    """Raise ValueError where two data frames have the same columns in different orders."""
    ours, theirs = (list(getattr(frame, "columns", ())) for frame in (first, second))
    if ours != theirs and len(ours) == len(theirs) and set(ours) == set(theirs):
        raise ValueError(
            f"{second_name} has the columns of {first_name} in another order; give "
            f"{second_name}[{first_name}.columns]"
        )


def check_ids(ids: ArrayLike, name: str, n: int) -> np.ndarray:
    """Return ids (n,), none of them missing, as numbers or strings.

    Spaces about a string do not count, nor how its accents are composed, nor whether a whole
    number is written "1" or "1.0"; among ids of several types 1, 1.0 and "1" are one.

    Raises
    ------
    ValueError
        If the shape is another, or an id is None, NaN, masked, empty, or the text of one of
        these: all rows without an id would otherwise count as one group.

    Warns
    -----
    UserWarning
        If several rows share an id that may stand for a missing one, such as "NA" or −1, or
        two ids differ only in capital letters.
    """
    if isinstance(ids, list | tuple):  # NumPy would write None and NaN out as text
        given = np.empty(len(ids), dtype=object)
        given[:] = ids
        array = np.asarray(ids)
        if array.dtype.kind in "US" and not all(isinstance(each, str) for each in given):
            array = given
    else:
        array = given = plain(ids, name)
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
    if array.dtype.kind in "OU":
        array = np.array([_written(each) for each in array])
    _warn_of_ids(array, name)
    return array


def _written(value: Any) -> str:
    if isinstance(value, str):
        value = value.strip()
        value = value if value.isascii() else unicodedata.normalize("NFC", value)
        return str(whole_number(value))
    whole = is_number(value) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def whole_number(text: str) -> str:
    """Return "12" for "12.0", as a column of floats is written, and other text as it is."""
    digits, dot, rest = text.partition(".")
    whole = digits.removeprefix("-").isdecimal() and dot and not rest.strip("0")
    return digits if whole else text


def _warn_of_ids(ids: np.ndarray, name: str) -> None:
    found, counts = np.unique(ids, return_counts=True)
    if ids.dtype.kind not in "iU" or (
        ids.dtype.kind == "i" and not (found[0] == -1 < found[-1])
    ):
        return
    for odd in np.flatnonzero(np.isin(found.astype(str), LIKE_GAPS) & (counts > 1)):
        warnings.warn(
            f"{name} is {found[odd].item()!r} in {counts[odd]} rows, first in row "
            f"{int(np.flatnonzero(ids == found[odd])[0])}, which count as one group; if it "
            "stands for a missing id, give each of these rows an id of its own",
            UserWarning,
            stacklevel=4,
        )
    folded: dict[str, str] = {}
    for each in found.tolist() if ids.dtype.kind == "U" else ():
        other = folded.setdefault(each.casefold(), each)
        if other != each:
            warnings.warn(
                f"{name} has {other!r} and {each!r}, which count as two groups; write them "
                "alike if they are one",
                UserWarning,
                stacklevel=4,
            )
            break


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
    if not (is_number(value) and 0 < value < 1):
        percent = is_number(value) and 1 < value < 100
        hint = f": {value:g}% is {value / 100:g}" if percent else ""
        raise ValueError(f"{name} is {value!r}; it has to lie between 0 and 1{hint}")
    return float(value)
