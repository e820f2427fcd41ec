"""Which rows are left out together: log likelihoods by group, for `arviz.loo`."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_ids

if TYPE_CHECKING:
    from arviz import InferenceData


def by_group(idata: "InferenceData", groups: ArrayLike) -> "InferenceData":
    """Return draws whose log likelihoods are those of groups, each the sum over its rows.

    `arviz.loo` then estimates the log score of each group from fits without it, by Pareto
    smoothed importance sampling (Vehtari, Gelman & Gabry 2017). Rows of one group, such as
    statements about one city, tell of one another, so leaving out one row at a time is too
    kind. A group has more weight in the posterior than a row: look at ``pareto_k``, and where
    it is above 0.7 fit anew without that group.

    Parameters
    ----------
    idata : InferenceData
        With ``log_likelihood``, as of `elkutils.reporters.BayesianLogistic.idata`; its last
        dimension is the rows.
    groups : (n,) array
        A group for each of these rows: the training rows of positive weight, in their order.

    Returns
    -------
    InferenceData
        A copy of `idata` with ``log_likelihood`` per group, in dimension "group".

    Raises
    ------
    ValueError
        If `idata` has no log likelihoods, or `groups` has another length, a group missing, or
        fewer than two groups.

    Examples
    --------
    ::

        found = arviz.loo(by_group(reporter.idata, cities), pointwise=True)
        found.elpd_loo, found.pareto_k.max()
    """
    if "log_likelihood" not in idata.groups():
        raise ValueError(
            "idata has no log_likelihood: a reporter has it after `fit`, where draws · rows is "
            "at most 2²⁴, and not after `load`"
        )
    (name,) = idata.log_likelihood.data_vars
    rows = idata.log_likelihood[name]
    labels, codes = np.unique(check_ids(groups, "groups", rows.shape[-1]), return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"groups has only {labels[0]!r}; it needs two groups")
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(labels)))
    sums = np.add.reduceat(rows.values[..., order], starts, axis=-1)
    found = idata.copy()
    del found.log_likelihood
    found.add_groups(
        {"log_likelihood": {name: sums}}, coords={"group": labels}, dims={name: ["group"]}
    )
    return found
