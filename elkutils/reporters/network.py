"""Bayesian networks: draws from the posterior of a small network as a reporter."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from elkutils.inference._checks import check_choice, check_counts, check_network
from elkutils.inference.diagnostics import warn_unless_converged
from elkutils.inference.networks.samplers import RESUMED, SAMPLERS, WEIGHTED
from elkutils.reporters.base import PosteriorReporter
from elkutils.reporters.weights import distinct

if TYPE_CHECKING:
    from arviz import InferenceData

    from elkutils.inference.diagnostics import Diagnostics
    from elkutils.inference.draws import Head
    from elkutils.inference.networks.network import FlatNetwork, Network


class BayesianNetwork(PosteriorReporter):
    """The posterior of a small network's parameters under the network's own prior.

    Weights have no meaning of their own, so `diagnostics_` are those of the log odds at the
    training rows.

    Parameters
    ----------
    network : Network or None
        Architecture and prior, such as `elkutils.inference.networks.mlp.MLP((32,))`; None is an
        MLP without hidden layers, Bayesian logistic regression with w ~ N(0, I/d), b ~ N(0, 1).
    method : str
        A key of `elkutils.inference.networks.samplers.SAMPLERS`.
        "hmc" rotates under the prior, in the row space of X, and serves networks of any width;
        it takes at most `steps` gradients per transition, and warm-up chooses how many. "nuts"
        is NumPyro's, the slower check on it.
        "sghmc" and "sgld" take `steps`, from `batch` rows, and never reject, so that their
        moments have a bias: see `elkutils.inference.networks.sgmcmc`.
        "laplace" draws from a Gaussian about a mode, which answers through the linearised
        network, and "last_layer_laplace" varies the last layer alone: draws are independent,
        so `diagnostics_` says nothing of how near they are to the posterior.
        "threshold" draws from the prior given that the mean training loss is at most
        `threshold`: a posterior under a likelihood of 0 or 1.
    draws : int
        Kept in each chain, so `draws * chains` in all. The defaults give 1,000 effective draws
        or more where a transition reaches far, as with tens of units; look at `diagnostics_`.
    chains : int
    warmup : int
        Transitions before the first draw kept, which adapt each chain's step.
    steps : int
        Most gradients per transition of "hmc"; all those of "sghmc" and "sgld".
    batch : int or None
        Rows per gradient of "sghmc" and "sgld"; None for all. Small ones add variance.
    threshold : float or None
        In nats per row, for "threshold".
    seed : int
        The same seed on the same machine gives the same draws.
    progress : bool
        Show how far the sampler is.
    class_weight : None, "balanced" or dict
        Weights of the classes by label, times those of the rows: as in scikit-learn. With
        "balanced" both classes weigh the same, and probabilities are for equally many rows
        of each.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.
    options : dict or None
        Further arguments of the method's sampler by name: ``{"thin": 5}`` of "hmc";
        "step_size", "temperature", "cycles", "friction" and "precondition" of "sghmc" and
        "sgld". What they mean, and those of the other methods, stands in the docstrings of
        `elkutils.inference.networks`; a name that the method does not have is refused.

    Attributes
    ----------
    diagnostics_ : elkutils.inference.diagnostics.Diagnostics
        R-hat and ESS of the log odds at the training rows of positive weight, and divergences;
        NaN where there are fewer than four draws per chain.
    centre_ : (p,) array or None
        The mode about which "laplace" takes the network as linear.
    """

    def __init__(
        self,
        network: "Network | None" = None,
        method: str = "hmc",
        draws: int = 500,
        chains: int = 4,
        warmup: int = 200,
        steps: int = 32,
        batch: int | None = None,
        threshold: float | None = None,
        seed: int = 0,
        progress: bool = False,
        class_weight: dict | str | None = None,
        positive: object = None,
        options: dict | None = None,
    ):
        self.network = network
        self.method = method
        self.draws = draws
        self.chains = chains
        self.warmup = warmup
        self.steps = steps
        self.batch = batch
        self.threshold = threshold
        self.seed = seed
        self.progress = progress
        self.class_weight = class_weight
        self.positive = positive
        self.options = options

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        checkpoint: str | Path | None = None,
    ) -> "BayesianNetwork":
        """Draw from the posterior given X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
            Equal rows of one label are merged and weighted, which is the same posterior.
        y : (n,) array of two labels
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice.
            The mean loss of "threshold" is weighted.
        checkpoint : path or None
            A safetensors file that is kept while the sampler runs. A fit of the same reporter
            to the same data that finds one continues from there, to the same draws; at the end
            the file is removed. "nuts" and "threshold" have none.

        Raises
        ------
        ValueError
            For bad input, counts, an unknown method or option, a missing threshold, or a
            checkpoint that the method does not take, or that is damaged or of another fit.
        MemoryError
            If the draws cannot fit into the memory that is available: they take 4 bytes per
            parameter, `draws * chains` times, twice at the peak.
        ArithmeticError
            If chains of "sghmc" or "sgld" run away, no prior draws reach `threshold`, or the
            log likelihood of prior draws is not a number.

        Warns
        -----
        RuntimeWarning
            If chains have not converged (R-hat, effective draws, divergences) or hardly
            accepted any transition, or the step of "sghmc" or "sgld" is too large.
        """
        rows = X, y, weights = self._weighted(*self._check_training(X, y), sample_weight)
        check_choice("method", self.method, SAMPLERS)
        if self.method in WEIGHTED:
            X, y, weights = distinct(X, y, weights)
        elif weights is not None:
            raise ValueError(
                f"method is {self.method!r}, which takes no weights of rows or classes; "
                f"{', '.join(sorted(WEIGHTED))} do"
            )
        check_counts(draws=self.draws, chains=self.chains, warmup=self.warmup, steps=self.steps)
        check_counts(least=0, seed=self.seed)
        if checkpoint is not None and self.method not in RESUMED:
            raise ValueError(
                f"checkpoint is {str(checkpoint)!r} and method {self.method!r}, which has none;"
                f" {', '.join(sorted(RESUMED))} do: leave checkpoint None"
            )
        if self.batch is not None:
            check_counts(batch=self.batch)
        if self.network is not None:
            check_network("network", self.network)
        self.draws_ = SAMPLERS[self.method](
            self._base().network,
            X,
            y,
            draws=self.draws,
            chains=self.chains,
            warmup=self.warmup,
            steps=self.steps,
            batch=self.batch,
            threshold=self.threshold,
            seed=self.seed,
            progress=self.progress,
            weights=weights,
            checkpoint=checkpoint,
            options=self.options,
        )
        self.centre_ = getattr(self.draws_.head, "centre", None)
        self._diagnostics = self.draws_.diagnose(rows[0])
        self._keep_rows(*rows)
        warn_unless_converged(
            self._diagnostics, "more warmup, steps or draws help, or a narrower prior"
        )
        return self

    @property
    def diagnostics_(self) -> "Diagnostics":
        """R-hat, ESS and divergences of the log odds at the training rows."""
        check_is_fitted(self)
        return self._diagnostics

    @property
    def idata(self) -> "InferenceData":
        """The draws as ArviZ `InferenceData`, with one variable per leaf of the parameters.

        ``log_likelihood`` is as `BayesianLogistic.idata` has it.
        """
        import arviz
        import jax

        check_is_fitted(self)
        leaves, _ = jax.tree.flatten_with_path(self.draws_.parameters)
        named = {f"theta{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
        return arviz.from_dict(posterior=named, dims={"y": ["row"]}, **self._for_arviz())

    def state(self) -> dict[str, np.ndarray | float | None]:
        """Return what was learned: the draws, their statistics and their diagnostics."""
        measured = vars(self._diagnostics).items()
        about = {f"diagnostics_.{name}": value for name, value in measured if name != "of"}
        return super().state() | about

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state` on an unfitted reporter."""
        from elkutils.inference.diagnostics import Diagnostics

        prefix = "diagnostics_."
        about = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        self._diagnostics = Diagnostics(**about, of="log odds")
        super().restore({k: v for k, v in arrays.items() if not k.startswith(prefix)})

    def _head(self) -> "Head":
        from elkutils.inference.networks.laplace import Linearised

        centre = getattr(self, "centre_", None)  # missing from what was saved without one
        return self._base() if centre is None else Linearised(self._base(), centre)

    def _base(self) -> "FlatNetwork":
        from elkutils.inference.networks.mlp import MLP
        from elkutils.inference.networks.network import flat

        return flat(MLP() if self.network is None else self.network, self.n_features_in_)
