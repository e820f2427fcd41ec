"""Where activations were read: the model, the hook point and the position, kept with the array.

`elkutils.models.activations` returns arrays that know their source. A reporter that is fitted
on such an array remembers it, also when it is saved, and refuses activations of another source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elkutils.files import atomic_path, written_path

JOINED_AT_ONCE = 2**22  # numbers that `join` copies at a time


@dataclass(frozen=True)
class Source:
    """What activations depend on, apart from the texts.

    Attributes
    ----------
    model : str
        Digest of the model's weights, see `elkutils.models.model_digest`.
    hook_point : str
    position : str
        "full stop", "last", "all", "span", "token" with its index, or "tokens from" with the
        first one's.
    start_token : bool
        Whether texts began with a start token.
    """

    model: str
    hook_point: str
    position: str
    start_token: bool = False

    def check(self, other: "Source") -> None:
        """Raise ValueError unless activations of `other` are of this source."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs:
                raise ValueError(
                    f"X has activations whose {field.name} is {theirs!r}; this reporter was"
                    f" fitted where it is {ours!r}: read X there, or pass np.asarray(X) if the"
                    " difference is meant"
                )


class Activations(np.ndarray):
    """An array (n, d) that knows where it was read, in its attribute `source`.

    Rows and columns taken from it keep the source; what is computed from it is an ordinary
    array, as `numpy.asarray` gives.

    Examples
    --------
    >>> X = Activations.of(np.eye(3), Source("9f2c", "blocks.1.hook_resid_post", "last"))
    >>> X[:2].source.position
    'last'
    >>> type(X - 1).__name__
    'ndarray'
    """

    source: Source | None

    @classmethod
    def of(cls, array: np.ndarray, source: Source) -> "Activations":
        """Return a view of an array with its source."""
        view = np.asarray(array).view(cls)
        view.source = source
        return view

    def __array_finalize__(self, obj) -> None:
        """Hand the source on to views and copies."""
        self.source = getattr(obj, "source", None)

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """Return what was computed as an ordinary array or number."""
        plain = np.asarray(array)
        return plain[()] if return_scalar or plain.ndim == 0 else plain

    def __reduce__(self) -> tuple:
        """Pickle the source too, for copies and for other processes."""
        return Activations.of, (np.asarray(self), self.source)


def source_of(X: object) -> Source | None:
    """Return where `X` was read, or None if that is not known."""
    return X.source if isinstance(X, Activations) else None


class Joined(NamedTuple):
    """Activations of several hook points side by side.

    Attributes
    ----------
    X : (n, d) float32 array
        Where all parts know their source, it knows it too: its hook point is theirs, with
        " + " between them.
    parts : dict of str to slice
        Which columns of X, and so which weights, are of which hook point.
    """

    X: np.ndarray
    parts: dict[str, slice]

    @property
    def columns(self) -> np.ndarray:
        """The name of each column, (d,): the hook point, and its place there from 0.

        For a data frame, whose names a reporter keeps: ``pandas.DataFrame(X, columns=…)``.
        """
        return np.array(
            [
                f"{k}[{i}]"
                for k, span in self.parts.items()
                for i in range(span.stop - span.start)
            ]
        )


def join(found: Mapping[str, np.ndarray], file: str | Path | None = None) -> Joined:
    """Put activations of the same rows at several hook points side by side.

    Nothing is rescaled. Layers differ in scale, so z-score the columns, as by
    ``make_pipeline(StandardScaler(), reporter)``.

    Parameters
    ----------
    found : mapping of str to (n, d_i) array
        As `elkutils.models.activations`, `elkutils.models.store_activations` or
        `elkutils.models.read_hidden_states` returns it, or arrays of your own by name. Parts
        stand in its order.
    file : str, Path or None
        A ``.npy`` file to write, block by block, and to return as a memory map, where the
        parts are memory maps of more than memory holds. None joins in memory.

    Returns
    -------
    Joined

    Raises
    ------
    ValueError
        If `found` is empty or no mapping, or its arrays are no tables of equally many rows, or
        were read from different models, at different positions, or with and without a start
        token.

    Examples
    --------
    >>> X, parts = join({"layer 3": np.eye(2), "layer 7": np.zeros((2, 3))})
    >>> X.shape, parts["layer 7"]
    ((2, 5), slice(2, 5, None))
    """
    parts = _spans(found)
    source = _shared_source(found)
    shape = len(next(iter(found.values()))), max(span.stop for span in parts.values())
    if file is None:
        whole = np.empty(shape, np.float32)
        _fill(whole, found, parts)
    else:
        path = written_path(file)
        with atomic_path(path) as fresh:
            whole = np.lib.format.open_memmap(fresh, "w+", np.float32, shape)
            _fill(whole, found, parts)
            whole.flush()
        whole = np.load(path, mmap_mode="r")
    return Joined(whole if source is None else Activations.of(whole, source), parts)


def _spans(found: Mapping[str, np.ndarray]) -> dict[str, slice]:
    if not (isinstance(found, Mapping) and len(found)):
        raise ValueError(
            f"found is {found!r:.60}; it has to be a dict of arrays (n, d) by hook point"
        )
    rows, spans, begin = None, {}, 0
    for name, part in found.items():
        shape = np.shape(part)
        if len(shape) != 2 or rows not in (None, shape[0]):
            wanted = "(n, d)" if rows is None else f"({rows}, d), as the parts before it"
            raise ValueError(f"found has {name!r} of shape {shape}; it has to be {wanted}")
        rows = shape[0]
        spans[name] = slice(begin, begin := begin + shape[1])
    return spans


def _shared_source(found: Mapping[str, np.ndarray]) -> Source | None:
    """The source of all parts together, or None if one of them does not know its own."""
    sources = {name: source_of(part) for name, part in found.items()}
    if None in sources.values():
        return None
    first = next(iter(sources))
    whole = replace(
        sources[first], hook_point=" + ".join(each.hook_point for each in sources.values())
    )
    for name, each in sources.items():
        for field in ("model", "position", "start_token"):
            ours, theirs = getattr(whole, field), getattr(each, field)
            if ours != theirs:
                raise ValueError(
                    f"found has {name!r}, whose {field} is {theirs!r}, and {first!r}, whose"
                    f" {field} is {ours!r}: read both there, or pass np.asarray of each"
                )
    return whole


def _fill(whole: np.ndarray, found: Mapping[str, np.ndarray], parts: dict[str, slice]) -> None:
    size = max(1, JOINED_AT_ONCE // max(1, whole.shape[1]))
    for begin in range(0, len(whole), size):
        for name, span in parts.items():
            whole[begin : begin + size, span] = found[name][begin : begin + size]
