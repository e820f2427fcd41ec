"""Ensembles: many heads trained from different starts, whose answers are used together."""

import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_counts, check_flags, check_order, is_number, plain
from elkutils.inference._checks import check_network, to_single
from elkutils.reporters.base import DrawsReporter
from elkutils.reporters.logistic_map import evidence_scale
from elkutils.reporters.weights import class_sums, class_weights, distinct

if TYPE_CHECKING:
    from elkutils.inference.draws import Draws
    from elkutils.inference.networks.network import FlatNetwork, Network


class Ensemble(DrawsReporter):
    """Heads trained from different draws of the prior, all at once.

    Each member is one draw of the probabilities. By default members are bootstrapped, anchored,
    and share the prior of largest evidence, which is what predicts well. They are draws from a
    posterior only as far as the options below make them so, and for this loss only
    approximately; the exact case is `elkutils.inference.linear.sample_then_optimise`.

    Parameters
    ----------
    members : int
        One works, and is a point estimate.
    head : "linear" or Network
        A network is any that obeys the protocol, such as `elkutils.inference.networks.mlp.MLP`.
    init : float, "evidence", "prior" or None
        The prior from which members start, and to which they are anchored. A number is its
        scale: of a linear head τ, the standard deviation of each weight in the units of 1/X, of
        a network its `weight_scale`. "evidence" chooses τ as `LogisticMAP` does, for a linear
        head; "prior" is the head's own (τ = 1/√d). None takes "evidence" where the head is
        linear, and "prior" where it is a network.
    anchored : bool
        Hold each member to its own start with the strength of the prior; otherwise only `steps`
        and `patience` regularise the members, which grow too sure.
    perturb : float
        Probability, below ½, with which each member sees a label flipped, independently. A row
        of weight 2 has two labels.
    bootstrap : bool
        Give each member its own resample of the rows, in proportion to their weights and of
        the size of their sum; one that misses a class is drawn again.
    steps, learning_rate, optimiser, decay, batch, shared_batches, patience
        As in `elkutils.inference.networks.training.Plan`; `patience` needs rows held out in
        `fit`.
    seed : int
        The same seed on the same machine gives the same members. The first members are also the
        same for any number of members, unless they have their own batches, labels or rows.
    checkpoint : str or None
        A file from which an interrupted `fit` continues.
    progress : bool
        Show a progress bar.
    class_weight : None, "balanced" or dict
        Weights of the classes by label, times those of the rows: as in scikit-learn. With
        "balanced" both classes weigh the same, and probabilities are for equally many rows
        of each, also among held-out rows.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Attributes
    ----------
    diverged_ : (members,) bool array
        Members that diverged; they are left out of `draws_`, with a warning.
    init_ : float
        The τ of largest evidence, where it was chosen. Where the largest candidate has it, as
        on separable rows, the middle one: members would not arrive from so wide a prior.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> reporter = Ensemble(members=4, steps=50, learning_rate=0.1).fit(X, y)
    >>> reporter.sample_proba(X).shape
    (4, 6)
    """

    def __init__(
        self,
        members: int = 16,
        head: "str | Network" = "linear",
        init: float | str | None = None,
        anchored: bool = True,
        perturb: float = 0.0,
        bootstrap: bool = True,
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
        class_weight: dict | str | None = None,
        positive: object = None,
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
        self.class_weight = class_weight
        self.positive = positive

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        held_out: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "Ensemble":
        """Train the members on X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
            Equal rows of one label are merged and weighted.
        y : (n,) array of two labels
        held_out : (X (k, d), y (k,)) or None
            Rows that decide when each member stops, for `patience`.
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice. The loss is the weighted mean.

        Raises
        ------
        ValueError
            For bad input or parameters, and if every member diverges.

        Warns
        -----
        RuntimeWarning
            If members diverge; or have not arrived: they know less than the base rate, or are
            anchored and their loss still falls.
        """
        from elkutils.inference.networks import training
        from elkutils.inference.networks.network import draw_prior

        check_order(X=X, sample_weight=sample_weight)
        X, y = self._check_training(X, y)
        sums = class_sums(y, sample_weight)
        X, y, counts = distinct(*self._weighted(X, y, sample_weight))
        self._check_parameters()
        plan = training.Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            optimiser=self.optimiser,
            decay=self.decay,
            batch=self.batch,
            shared_batches=self.shared_batches,
            anchored=self.anchored,
            patience=self.patience,
        )
        if self._by_evidence():
            to_single(X)  # what members cannot be trained on is named before the search
            self.init_ = self._evidence_scale(X, y, counts)
        network = self._network()
        start = draw_prior(network, self.members, X.shape[1], self.seed)
        labels, weights = self._own_rows(y, counts)
        trained = training.train(
            network,
            start,
            X,
            labels,
            plan,
            weights=weights,
            held_out=None if held_out is None else self._check_held_out(held_out, sums),
            seed=self.seed,
            checkpoint=self.checkpoint,
            progress=self.progress,
        )
        self._keep(trained)
        self._warn_if_on_its_way(y)
        return self

    @property
    def parameters_(self) -> np.ndarray:
        """Parameters of each member, (kept, p): for an MLP layer by layer, biases last."""
        return self.draws_.flat

    @property
    def loss_(self) -> np.ndarray:
        """Mean training loss of each member, (kept,), in nats, without the anchor."""
        return self.draws_.stats["loss"][0]

    @property
    def steps_(self) -> np.ndarray:
        """Steps that each member has taken, (kept,)."""
        return self.draws_.stats["n_steps"][0]

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

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state`; a state of version 0.1 works too."""
        if "draws_.theta" not in arrays:
            old = "parameters_", "loss_", "steps_"
            new = "draws_.theta", "draws_.stats.loss", "draws_.stats.n_steps"
            renamed = {name: arrays[key][None] for name, key in zip(new, old, strict=True)}
            arrays = renamed | {k: v for k, v in arrays.items() if k not in old}
        super().restore(arrays)

    def _check_linear(self, name: str) -> None:
        if not (hasattr(self, "draws_") and self._is_linear()):
            raise AttributeError(
                f"{name} needs a linear head, and that the ensemble has been fitted"
            )

    def _is_linear(self) -> bool:
        """Whether the parameters are one weight per feature and a bias."""
        from elkutils.inference.networks.mlp import MLP

        head = self.draws_.head
        return isinstance(head.network, MLP) and head.size == self.n_features_in_ + 1

    def _network(self) -> "Network":
        from elkutils.inference.networks.mlp import MLP

        network = MLP() if isinstance(self.head, str) else self.head
        init = self.init_ if self._by_evidence() else self.init
        if init is None or isinstance(init, str):
            return network
        units = math.sqrt(self.n_features_in_) if isinstance(self.head, str) else 1.0
        return replace(network, weight_scale=init * units)

    def _evidence_scale(self, X, y, counts) -> float:
        """The τ of largest evidence; the middle candidate if no τ is too large.

        From a prior that wide, gradient descent would not arrive.
        """
        scale, path = evidence_scale(X, y, weights=counts, name="init")
        scales = path.prior_scales
        return float(np.sqrt(scales[0] * scales[-1])) if scale == scales.max() else scale

    def _by_evidence(self) -> bool:
        linear = isinstance(self.head, str)
        return self.init == "evidence" or (self.init is None and linear)

    def _head(self) -> "FlatNetwork":
        from elkutils.inference.networks.network import flat

        return flat(self._network(), self.n_features_in_)

    def _own_rows(
        self, y: np.ndarray, counts: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Each member's labels and how often its resample holds each row."""
        rng = np.random.default_rng((self.seed, 1))
        labels, weights, shape = y, counts, (self.members, len(y))
        if self.perturb and counts is None:
            labels = np.abs(y - (rng.random(shape) < self.perturb))
        elif self.perturb:  # a row's mean label: its weight is of many, and a part of one
            whole = np.floor(counts)
            flips = rng.binomial(whole.astype(int), self.perturb, shape)
            part = (counts - whole) * (rng.random(shape) < self.perturb)
            labels = np.abs(y - (flips + part) / counts)
        if self.bootstrap and counts is None:
            weights = np.stack([_resample(y, rng) for _ in range(self.members)])
        elif self.bootstrap:
            weights = np.stack([_redrawn(y, counts, rng) for _ in range(self.members)])
        return labels, weights

    def _keep(self, trained: "Draws") -> None:
        self.diverged_ = trained.stats["diverging"][0]
        kept = ~self.diverged_
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
        self.draws_ = replace(
            trained,
            theta=trained.theta[:, kept].astype(np.float64),
            stats={
                name: values[:, kept]
                for name, values in trained.stats.items()
                if name != "diverging"
            },
        )

    def _warn_if_on_its_way(self, y: np.ndarray) -> None:
        """Warn where members know less than the base rate, or anchored ones still learn."""
        share = y.mean()
        known = -(share * np.log(share) + (1 - share) * np.log1p(-share))
        trace = self.draws_.details["trace"][~self.diverged_]
        last = trace[:, -2:].mean(axis=0)
        loss = float(np.median(self.loss_))
        if not self.anchored and loss > known + 1e-3:
            found = f"a loss of {loss:.3g} nats per row, above the {known:.3g} of the base rate"
        elif self.anchored and len(last) == 2 and last[0] - last[1] > 0.01 * last[1] + 1e-3:
            found = (
                f"a loss that still falls, from {last[0]:.3g} to {last[1]:.3g} nats at the end"
            )
        else:
            return
        warnings.warn(
            f"steps is {self.steps} and learning_rate {self.learning_rate:.3g}; the members "
            f"have {found}: they have not arrived; take more steps or another learning_rate, "
            "and z-score X",
            RuntimeWarning,
            stacklevel=3,
        )

    def _check_held_out(self, held_out, sums: np.ndarray) -> tuple[np.ndarray, ...]:
        """The held-out rows, their labels, and the weights of their classes if there are any.

        `sums` (2,) are the weights of each class in training, for "balanced".
        """
        if not (isinstance(held_out, tuple | list) and len(held_out) == 2):
            raise ValueError(
                f"held_out is a {type(held_out).__name__}; it has to be a pair (X, y)"
            )
        check_order(X=held_out[0], y=held_out[1])
        X, y = self._check(held_out[0]), plain(held_out[1], "held_out")
        if y.shape != (len(X),) or not np.isin(y, self.classes_).all():
            raise ValueError(
                f"held_out has labels {np.unique(y)[:5]} of shape {y.shape}; it needs one of"
                f" {self.classes_} for each of {len(X)} rows"
            )
        y = (y == self.classes_[1]).astype(np.float64)
        if self.class_weight is None:
            return X, y
        return X, y, class_weights(self.classes_, self.class_weight, sums)[y.astype(int)]

    def _check_parameters(self) -> None:
        check_counts(members=self.members)
        check_counts(least=0, seed=self.seed)
        if isinstance(self.head, str) and self.head != "linear":
            raise ValueError(f'head is {self.head!r}; it has to be "linear" or a network')
        if not isinstance(self.head, str):
            check_network("head", self.head)
        check_flags(bootstrap=self.bootstrap, progress=self.progress)
        number = is_number(self.init) and 0 < self.init < math.inf
        if not (self.init is None or self.init in ("evidence", "prior") or number):
            raise ValueError(
                f'init is {self.init!r}; it has to be positive, "evidence", "prior" or None'
            )
        if self.init == "evidence" and not isinstance(self.head, str):
            raise ValueError(
                'init is "evidence", which is for a linear head; of an MLP '
                "elkutils.inference.networks.infinite.choose_scale gives a number"
            )
        if number and not isinstance(self.head, str) and not hasattr(self.head, "weight_scale"):
            raise ValueError(
                f"init is {self.init!r}; a number replaces the field weight_scale of head, and"
                f" {type(self.head).__name__} has none"
            )
        if not (is_number(self.perturb) and 0 <= self.perturb < 0.5):
            raise ValueError(f"perturb is {self.perturb!r}; it has to be at least 0, below ½")


def _resample(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row is in a resample that holds both classes, (n,)."""
    while True:
        rows = rng.integers(0, len(y), len(y))
        if y[rows].min() != y[rows].max():
            return np.bincount(rows, minlength=len(y)).astype(np.float64)


def _redrawn(y: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same where a row is there `counts` times; the sum of what is drawn is theirs."""
    total = counts.sum()
    size = max(2, round(total))
    for _ in range(1000):
        found = rng.multinomial(size, counts / total)
        if 0 < found @ y < size:
            return found * (total / size)
    raise ValueError(
        f"bootstrap is True, and of all weights {counts @ y / total:.2g} belong to the second"
        " class: resamples miss a class; other weights or bootstrap=False are needed"
    )
