"""Where activations were read: the model, the hook point and the position, kept with the array.

`elkutils.models.activations` returns arrays that know their source. A reporter that is fitted
on such an array remembers it, also when it is saved, and refuses activations of another source.
"""

from dataclasses import dataclass, fields

import numpy as np


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
