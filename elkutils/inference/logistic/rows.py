"""The rows of a regression where they are: in memory, in shards over devices, or on disk.

The posterior needs only sums over rows. So data are an iterable of blocks of rows, and `total`
adds up the values of a function over the blocks. In memory there is one block, which may lie
in shards over a device mesh; `Stream` reads many blocks, one at a time, in every pass.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elkutils.inference._precision import exactly

__all__ = ["Block", "Scaled", "Stream", "check_mesh", "exactly", "in_memory", "padded", "total"]


class Block(NamedTuple):
    """Some rows as JAX arrays; rows of zeros are padding.

    Attributes
    ----------
    design : (rows, k + 1) array
        Features, then a column of ones.
    y : (rows,) array of 0 and 1
    weights : (rows,) array or None
        What each row's log likelihood is multiplied by; None for 1.
    """

    design: jax.Array
    y: jax.Array
    weights: jax.Array | None = None


def in_memory(
    X: np.ndarray,
    y: np.ndarray,
    dtype: type = np.float64,
    mesh: Mesh | None = None,
    weights: np.ndarray | None = None,
) -> list[Block]:
    """Return X (n, k), y (n,) and their weights (n,) as one block.

    It is padded so that programs can be used again.

    With a mesh of axes "rows" and "chains" each device holds its share of the rows, and reads
    no others from X and y: under `jax.distributed` they may be memory maps.
    """
    rows = padded(len(y))
    if mesh is None:
        return [_block(X, y, rows, dtype, weights)]
    rows = -(-rows // mesh.shape["rows"]) * mesh.shape["rows"]  # equal shares
    split = NamedSharding(mesh, PartitionSpec("rows"))

    def part(span: slice, column: int):
        low, high, _ = span.indices(rows)
        some = None if weights is None else weights[low:high]
        return np.asarray(_block(X[low:high], y[low:high], high - low, dtype, some)[column])

    shapes = [(rows, X.shape[1] + 1), (rows,), *([] if weights is None else [(rows,)])]
    parts = (
        jax.make_array_from_callback(shape, split, lambda index, c=c: part(index[0], c))
        for c, shape in enumerate(shapes)
    )
    return [Block(*parts)]


def check_mesh(mesh: Mesh | None, memory: int | None = None, chains: int | None = None) -> None:
    """Raise ValueError unless rows, and chains if given, can be shared over a mesh."""
    if mesh is None:
        return
    if not isinstance(mesh, Mesh) or set(mesh.axis_names) != {"rows", "chains"}:
        names = mesh.axis_names if isinstance(mesh, Mesh) else mesh
        raise ValueError(
            f"mesh has the axes {names!r}; it has to be a jax.sharding.Mesh of the axes 'rows' "
            "and 'chains', such as Mesh(np.array(jax.devices())[:, None], ('rows', 'chains'))"
        )
    if memory is not None:
        raise ValueError(
            f"memory is {memory}, and there is a mesh: rows are either read in blocks by one "
            "device or shared among several"
        )
    if chains is not None and chains % mesh.shape["chains"]:
        raise ValueError(
            f"chains is {chains}; it has to be a multiple of {mesh.shape['chains']}, the size "
            "of the mesh along 'chains'"
        )


@dataclass(frozen=True)
class Stream:
    """Rows in float32 that every pass reads again, one block at a time.

    Attributes
    ----------
    X : (n, k) array-like
        Anything that gives rows when sliced: a memory map, a slice of a safetensors file.
    y : (n,) array of 0 and 1
    rows : int
        Rows in a block.
    weights : (n,) array or None
        As in `Block`.
    """

    X: np.ndarray
    y: np.ndarray
    rows: int
    weights: np.ndarray | None = None

    def __iter__(self) -> Iterator[Block]:
        for start in range(0, len(self.y), self.rows):
            span = slice(start, start + self.rows)
            weights = None if self.weights is None else self.weights[span]
            yield _block(self.X[span], self.y[span], self.rows, np.float32, weights)


@dataclass(frozen=True)
class Scaled:
    """Rows that are z-scored as they are read: ``(X[span] - mean) / scale``.

    Attributes
    ----------
    X : (n, k) array-like
        Anything that gives rows when sliced.
    mean, scale : (k,) arrays
        Subtracted from each row, and what the difference is divided by.

    Examples
    --------
    >>> rows = Scaled.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> rows[:].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    X: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, rows: int = 4096) -> "Scaled":
        """Scale by the mean and the standard deviation of all rows, read `rows` at a time.

        The scale of a feature that does not vary is 1.
        """
        mean, squares, seen = np.zeros(X.shape[1]), np.zeros(X.shape[1]), 0
        for start in range(0, len(X), rows):
            part = np.asarray(X[start : start + rows], np.float64)
            centre = part.mean(axis=0)
            apart, share = centre - mean, len(part) / (seen + len(part))
            squares += ((part - centre) ** 2).sum(axis=0) + seen * share * apart**2
            mean, seen = mean + share * apart, seen + len(part)
        scale = np.sqrt(squares / seen)
        return cls(X, mean, np.where(scale > 0, scale, 1.0))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features, (n, k)."""
        return self.X.shape

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, span: slice) -> np.ndarray:
        return (np.asarray(self.X[span]) - self.mean) / self.scale

    def unscaled(self, theta: np.ndarray) -> np.ndarray:
        """Return weights and bias (…, k + 1) for X of those for the rows as they are read."""
        coef = theta[..., :-1] / self.scale
        bias = theta[..., -1] - coef @ self.mean
        return np.concatenate([coef, bias[..., None]], axis=-1)


def total(measure: Callable, blocks: Iterable[Block], *arguments: object) -> Any:
    """Return the sum over blocks of `measure(block, *arguments)`, any tree of arrays."""
    results = (measure(block, *arguments) for block in blocks)
    found = next(results)
    for result in results:
        found = jax.tree.map(jnp.add, found, result)
    return found


def padded(n: int) -> int:
    """Return the next multiple of 64, or from 1024 on the next of eight sizes per doubling."""
    unit = max(64, 2 ** (n.bit_length() - 4))
    return -(-n // unit) * unit


def _block(X, y, rows: int, dtype, weights=None) -> Block:
    X, y = np.asarray(X), np.asarray(y)
    design = np.zeros((rows, X.shape[1] + 1), dtype)
    design[: len(y), :-1], design[: len(y), -1] = X, 1.0
    each = [np.zeros(rows, dtype) for part in (y, weights) if part is not None]
    for padded_part, part in zip(each, (y, weights), strict=False):
        padded_part[: len(y)] = part
    return Block(*map(jnp.asarray, (design, *each)))
