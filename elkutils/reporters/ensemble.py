"""Ensembles: many heads trained from their own starts, whose answers are used together."""

import math
import numbers
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from elkutils.reporters.base import Reporter, check_counts, mean_log_odds

if TYPE_CHECKING:
    from elkutils.inference.heads import MLP


class Ensemble(Reporter):
    """Heads trained from different draws of the prior, all at once.

    Each member is one draw of the probabilities. Nothing makes the members draws from a
    posterior but what is asked for here, and for this loss only approximately; the exact case
    is `elkutils.inference.linear_gaussian.sample_then_optimise`.

    Parameters
    ----------
    members : int
        One works, and is a point estimate.
    head : "linear" or MLP
        The second from `elkutils.inference.heads`.
    init : float or "prior"
        The prior that members start at draws from, and are anchored by: the head's own, or
        with another scale. For a linear head that is τ, the standard deviation of each weight
        in the units of 1/X (1/√d in its own prior); for an MLP it is `weight_scale`.
    anchored : bool
        Hold each member to its own start with the strength of the prior; else nothing
        regularises them but `steps` and `patience`.
    perturb : float
        Probability with which a member sees a label flipped, each on its own; below ½.
    bootstrap : bool
        Each member sees its own resample of the rows. One that misses a class is drawn again.
    steps, learning_rate, optimiser, decay, batch, shared_batches, patience
        As in `elkutils.inference.ensembles.Plan`; `patience` needs rows held out in `fit`.
    seed : int
        The same seed on the same machine gives the same members, of which the first are the
        same for any number of them unless they have batches, labels or rows of their own.
    checkpoint : str or None
        A file from which an interrupted `fit` goes on.
    progress : bool
        Show how far the members are.

    Attributes
    ----------
    parameters_ : (kept, p) array
        Each member's, one after another: layer by layer, weights before biases. Members that
        diverged are left out, with a warning.
    diverged_ : (members,) bool array
        Which they were.
    loss_ : (kept,) array
        Mean loss of each on its own training rows, in nats, without the anchor's part.
    steps_ : (kept,) int array
        Steps that each has taken.
    """

    def __init__(
        self,
        members: int = 16,
        head: "str | MLP" = "linear",
        init: float | str = "prior",
        anchored: bool = False,
        perturb: float = 0.0,
        bootstrap: bool = False,
        steps: int = 1000,
        learning_rate: float = 1e-2,
        optimiser: str = "adam",
        decay: bool = False,
        batch: int | None = None,
        shared_batches: bool = True,
        patience: int | None = None,
        seed: int = 0,
        checkpoint: str | None = None,
        progress: bool = False,
    ):
        self.members = members
        self.head = head
        self.init = init
        self.anchored = anchored
        self.perturb = perturb
        self.bootstrap = bootstrap
        self.steps = steps
        self.learning_rate = learning_rate
        self.optimiser = optimiser
        self.decay = decay
        self.batch = batch
        self.shared_batches = shared_batches
        self.patience = patience
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        held_out: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> "Ensemble":
        """Train the members on X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X, y : arrays
        held_out : X (k, d) and y (k,), or None
            Rows by which each member is stopped, for `patience`.

        Raises
        ------
        ValueError
            For bad input or parameters, and if every member diverges.
        """
        from elkutils.inference import ensembles, heads

        X, y = self._check_training(X, y)
        self._check_parameters()
        plan = ensembles.Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            optimiser=self.optimiser,
            decay=self.decay,
            batch=self.batch,
            shared_batches=self.shared_batches,
            anchored=self.anchored,
            patience=self.patience,
        )
        head = self._head()
        start = heads.draw(head, self.members, X.shape[1], self.seed)
        labels, weights = self._own_rows(y)
        trained = ensembles.train(
            head,
            start,
            X,
            labels,
            plan,
            weights=weights,
            held_out=None if held_out is None else self._check_held_out(*held_out),
            seed=self.seed,
            checkpoint=self.checkpoint,
            progress=self.progress,
        )
        self._keep(trained)
        return self

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return each member's P(y = classes_[1] | x), (members kept, n)."""
        return expit(self._log_odds_draws(self._check(X)))

    @property
    def coef_draws_(self) -> np.ndarray:
        """Weights of each member, (kept, d), where the head is linear."""
        self._check_linear("coef_draws_")
        return self.parameters_[:, :-1]

    @property
    def intercept_draws_(self) -> np.ndarray:
        """Bias of each member, (kept,), where the head is linear."""
        self._check_linear("intercept_draws_")
        return self.parameters_[:, -1]

    @property
    def coef_(self) -> np.ndarray:
        """Mean weights of the members, (1, d), where the head is linear."""
        return self.coef_draws_.mean(axis=0, keepdims=True)

    @property
    def intercept_(self) -> np.ndarray:
        """Mean bias of the members, (1,), where the head is linear."""
        return self.intercept_draws_.mean(keepdims=True)

    def _check_linear(self, name: str) -> None:
        if not hasattr(self, "parameters_") or (self.head != "linear" and self.head.widths):
            raise AttributeError(f"{name} needs a linear head that has been fitted")

    def _head(self) -> "MLP":
        from elkutils.inference.heads import MLP

        head = MLP() if isinstance(self.head, str) else self.head
        if isinstance(self.init, str):
            return head
        units = math.sqrt(self.n_features_in_) if isinstance(self.head, str) else 1.0
        return replace(head, weight_scale=self.init * units)

    def _own_rows(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Each member's labels and how often its resample holds each row."""
        rng = np.random.default_rng((self.seed, 1))
        labels, weights = y, None
        if self.perturb:
            labels = np.abs(y - (rng.random((self.members, len(y))) < self.perturb))
        if self.bootstrap:
            weights = np.stack([_resample(y, rng) for _ in range(self.members)])
        return labels, weights

    def _keep(self, trained) -> None:
        self.diverged_ = trained.diverged
        kept = ~trained.diverged
        if not kept.any():
            raise ValueError(
                f"learning_rate is {self.learning_rate} and init {self.init!r}: all"
                f" {self.members} members diverged; a smaller learning rate is needed"
            )
        if not kept.all():
            warnings.warn(
                f"{self.members - kept.sum()} of {self.members} members diverged and are left"
                " out; a smaller learning_rate may keep them",
                RuntimeWarning,
                stacklevel=3,
            )
        leaves = [part.reshape(len(part), -1) for layer in trained.parameters for part in layer]
        self.parameters_ = np.concatenate(leaves, axis=1).astype(np.float64)[kept]
        self.loss_, self.steps_ = trained.loss[kept], trained.steps[kept]

    def _log_odds_draws(self, X: np.ndarray) -> np.ndarray:
        import jax

        from elkutils.inference.heads import log_odds
        from elkutils.inference.rows import exactly

        head = self._head()
        form = jax.eval_shape(lambda: head.init(jax.random.key(0), self.n_features_in_))
        leaves, tree = jax.tree.flatten(form)
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = np.split(self.parameters_, ends, axis=1)
        shaped = (
            part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)
        )
        with exactly():
            return log_odds(head, tree.unflatten(shaped), X)

    def _log_odds(self, X: np.ndarray) -> np.ndarray:
        return mean_log_odds(self._log_odds_draws(X))

    def _check_held_out(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        X, y = self._check(X), np.asarray(y)
        if y.shape != (len(X),) or not np.isin(y, self.classes_).all():
            raise ValueError(
                f"held_out has labels {np.unique(y)[:5]} of shape {y.shape}; it needs one of"
                f" {self.classes_} for each of {len(X)} rows"
            )
        return X, (y == self.classes_[1]).astype(np.float64)

    def _check_parameters(self) -> None:
        check_counts(self, {"members": 1, "seed": 0})
        if not (callable(self.head) or self.head == "linear"):
            raise ValueError(f'head is {self.head!r}; it has to be "linear" or an MLP')
        number = isinstance(self.init, numbers.Real) and 0 < self.init < math.inf
        if not (self.init == "prior" or number):
            raise ValueError(f'init is {self.init!r}; it has to be positive or "prior"')
        if not (isinstance(self.perturb, numbers.Real) and 0 <= self.perturb < 0.5):
            raise ValueError(f"perturb is {self.perturb!r}; it has to be at least 0, below ½")


def _resample(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row is in a resample that holds both classes, (n,)."""
    while True:
        rows = rng.integers(0, len(y), len(y))
        if y[rows].min() != y[rows].max():
            return np.bincount(rows, minlength=len(y)).astype(np.float64)
