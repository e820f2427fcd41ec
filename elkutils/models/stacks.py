"""Small networks made of sublayers, to set beside a language model under lesions.

A `Stack` holds members of the same depth. Several shallow members, each trained by itself and
then averaged, are a true ensemble; one deep member is a chain. There are no skip connections:
a bypassed sublayer hands on its input instead of its output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from elkutils._inputs import check_counts


@dataclass(frozen=True)
class StackPlan:
    """What is trained, and how.

    Sublayers are tanh(W·h + b) of `width` units, W orthogonal at the start; training is by Adam
    on batches, at a rate that falls to 0.
    """

    members: int
    depth: int
    width: int
    steps: int = 400
    batch: int = 256
    rate: float = 1e-3

    @property
    def sublayers(self) -> int:
        """Sublayers of all members together."""
        return self.members * self.depth


class Stack:
    """Networks that read the same rows and answer together with their mean probability.

    Parameters
    ----------
    plan : StackPlan
    inputs, classes : int
    seed : int
        Each member has a start, and an order of its batches, of its own.

    Raises
    ------
    ValueError
        If a number of the plan, or `inputs` or `classes`, is below 1.
    """

    def __init__(self, plan: StackPlan, inputs: int, classes: int, seed: int):
        sizes = {key: getattr(plan, key) for key in ("members", "depth", "width", "batch")}
        check_counts(**sizes, steps=plan.steps, inputs=inputs, classes=classes)
        self.plan = plan
        self._noise = torch.Generator().manual_seed(seed)
        m, width = plan.members, plan.width
        self.read_in = self._normal(m, inputs, width) / inputs**0.5
        self.inner = torch.stack(
            [
                torch.stack([self._orthogonal(width) for _ in range(plan.depth)])
                for _ in range(m)
            ]
        )
        self.bias = torch.zeros(m, plan.depth, 1, width)
        self.read_out = self._normal(m, width, classes) / width**0.5

    def fit(self, X: np.ndarray, classes: np.ndarray, progress: bool = False) -> "Stack":
        """Train each member on rows X (n, d) with classes (n,) as whole numbers from 0."""
        X, classes = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(classes)
        plan, weights = self.plan, (self.read_in, self.inner, self.bias, self.read_out)
        for weight in weights:
            weight.requires_grad_(True)
        optimiser = torch.optim.Adam(weights)
        for step in tqdm(range(plan.steps), disable=not progress, unit="step"):
            optimiser.param_groups[0]["lr"] = plan.rate * (1 - step / plan.steps)
            rows = torch.randint(len(X), (plan.members, plan.batch), generator=self._noise)
            logits = self._stream(X[rows], None) @ self.read_out
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), classes[rows].flatten(), reduction="sum"
            )
            optimiser.zero_grad()
            (loss / plan.batch).backward()  # a sum over members: each learns by itself
            optimiser.step()
        for weight in weights:
            weight.requires_grad_(False)
        return self

    def stream(self, X: np.ndarray, bypassed: Sequence[int] = ()) -> np.ndarray:
        """Return what the members' last sublayers write (n, members · width), side by side.

        Parameters
        ----------
        X : (n, d) array
        bypassed : sequence of int
            Sublayers, 0 to `plan.sublayers` − 1, member by member.

        Raises
        ------
        ValueError
            If a sublayer is not there, or none is left.
        """
        found = self._stream(torch.as_tensor(X, dtype=torch.float32), self._mask(bypassed))
        return found.transpose(0, 1).flatten(1).numpy()

    def log_proba(self, X: np.ndarray, bypassed: Sequence[int] = ()) -> np.ndarray:
        """Return the log of the members' mean probabilities (n, classes); see `stream`."""
        stream = self._stream(torch.as_tensor(X, dtype=torch.float32), self._mask(bypassed))
        each = (stream @ self.read_out).double().log_softmax(-1)
        return (each.logsumexp(0) - np.log(self.plan.members)).numpy()

    def _stream(self, X, bypassed) -> torch.Tensor:
        """(members, n, width)"""
        h = torch.tanh(X @ self.read_in)  # in the range of what sublayers write
        for j in range(self.plan.depth):
            new = torch.tanh(h @ self.inner[:, j] + self.bias[:, j])
            h = new if bypassed is None else torch.where(bypassed[:, j, None, None], h, new)
        return h

    def _mask(self, bypassed) -> torch.Tensor:
        count, found = self.plan.sublayers, list(bypassed)
        odd = [j for j in found if not (isinstance(j, int | np.integer) and 0 <= j < count)]
        if odd or len(set(found)) == count:
            raise ValueError(
                f"bypassed is {found}; it has to hold sublayers from 0 to {count - 1}, and at"
                " least one has to be left"
            )
        mask = torch.zeros(count, dtype=torch.bool)
        mask[found] = True
        return mask.reshape(self.plan.members, self.plan.depth)

    def _normal(self, *shape) -> torch.Tensor:
        return torch.randn(*shape, generator=self._noise)

    def _orthogonal(self, width) -> torch.Tensor:
        q, r = torch.linalg.qr(self._normal(width, width))
        return q * r.diagonal().sign()
