"""One function per figure, one style for all.

Each function draws on ``ax`` where it is given, else on a new figure, and returns the Axes
(end the line with ``;`` in a notebook). Lines and markers differ in shape as well as colour,
the background is opaque and light so that it also works on a dark page, and a figure fits a
phone.

A chapter that draws with Matplotlib itself calls `style` once, before its first figure, and
takes its colours from `COLOURS`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from elkutils._inputs import check_finite, check_level, numbers, place, plain
from elkutils.evaluation import Interval, Reliability
from elkutils.evaluation._arrays import check_labels, check_proba

if TYPE_CHECKING:
    from arviz import InferenceData

WIDTH = 6.4  # inches

# Okabe & Ito's colours by name, ordered so that neighbours differ in lightness too. In a cycle
# each comes with its own line and marker.
COLOURS = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "black": "#000000",
    "green": "#009E73",
    "pink": "#CC79A7",
    "sky": "#56B4E9",
    "orange": "#E69F00",
}
_CYCLE = tuple(COLOURS.values())
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def style() -> None:
    """Set Matplotlib's defaults to the book's style."""
    cycle = plt.cycler(color=_CYCLE, linestyle=_LINES, marker=_MARKERS)
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.8),
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycle,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "font.size": 10.5,
            "axes.titlesize": 11,
            "axes.labelsize": 10.5,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.fontsize": 9.5,
            "legend.frameon": False,
            "lines.markersize": 5,
            "lines.linewidth": 1.6,
        }
    )


def layer_sweep(
    layers: Sequence[int],
    curves: Mapping[str, Sequence[Interval]],
    *,
    ylabel: str = "AUROC",
    chance: float | None = 0.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a score with its interval against the layer, one curve per label.

    `chance` draws a reference line at that score; None draws none.
    """
    ax = _axes(ax)
    for label, intervals in curves.items():
        if len(intervals) != len(layers):
            raise ValueError(
                f"curves[{label!r}] holds {len(intervals)} intervals; "
                f"there are {len(layers)} layers"
            )
        (line,) = ax.plot(layers, [i.estimate for i in intervals], label=label)
        lower, upper = [i.lower for i in intervals], [i.upper for i in intervals]
        ax.fill_between(layers, lower, upper, color=line.get_color(), alpha=0.15, lw=0)
    if chance is not None:
        ax.axhline(chance, color="0.4", lw=0.8, ls=":", marker="", zorder=0)
        ax.annotate(
            "chance",
            (1, chance),
            xycoords=("axes fraction", "data"),  # beside the axes: no curve or band is there
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color="0.3",
        )
    ax.set(xlabel="layer", ylabel=ylabel)
    ax.legend()
    return ax


def comparison(
    names: Sequence[str],
    methods: Mapping[str, Sequence[Interval]],
    *,
    xlabel: str = "AUROC",
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one row per name, with a marker and its interval for each method.

    `reference` draws a vertical line at that value.
    """
    _check_looks("methods", methods)
    ax = _axes(ax, (WIDTH, 0.9 + 0.42 * len(names)))
    offsets = np.linspace(-0.27, 0.27, len(methods)) if len(methods) > 1 else [0]
    looks = zip(_CYCLE, _MARKERS, strict=True)
    for (label, intervals), offset, (colour, marker) in zip(
        methods.items(), offsets, looks, strict=False
    ):
        if len(intervals) != len(names):
            raise ValueError(
                f"methods[{label!r}] holds {len(intervals)} intervals; "
                f"there are {len(names)} names"
            )
        middle = np.array([i.estimate for i in intervals])
        ends = np.abs([[i.lower for i in intervals], [i.upper for i in intervals]] - middle)
        place = np.arange(len(names)) + offset
        ax.errorbar(
            middle, place, xerr=ends, fmt=marker, ls="", color=colour, lw=1.2, label=label
        )
    if reference is not None:
        ax.axvline(reference, color="0.4", lw=0.8, ls=":", marker="")
    ax.set(xlabel=xlabel, yticks=range(len(names)), yticklabels=names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.figure.legend(loc="outside upper center", ncols=2)
    return ax


def reliability(
    curves: Reliability | Mapping[str, Reliability], *, ax: Axes | None = None
) -> Axes:
    """Draw the frequency of the event against its probability, with an interval per bin."""
    ax = _axes(ax, (4.6, 4.4))
    if isinstance(curves, Reliability):
        curves = {"": curves}
    ax.plot((0, 1), (0, 1), color="0.4", lw=0.8, ls=":", marker="")
    for label, r in curves.items():
        ends = np.abs(np.stack([r.lower, r.upper]) - r.frequency)
        (line,) = ax.plot(r.forecast, r.frequency, label=label)
        ax.errorbar(
            r.forecast, r.frequency, ends, fmt="none", ecolor=line.get_color(), capsize=2, lw=1
        )
    ax.set(
        xlabel="probability given (mean of the bin)",
        ylabel="how often it happened",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    if any(curves):
        ax.legend(loc="upper left")
    return ax


def direction_angle(
    scales: Sequence[float],
    curves: Mapping[str, np.ndarray],
    *,
    xlabel: str = "prior scale τ",
    predicted: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw angles in degrees against a scale, both axes logarithmic.

    Parameters
    ----------
    scales : (k,) array
        Positive numbers.
    curves : mapping of str to (k,) or (repeats, k) array
        Angles in degrees by label; repeats are also drawn as thin lines.
    xlabel : str
    predicted : mapping of str to (k,) array, or None
        Angles by label, drawn as plain thin black lines.
    ax : Axes or None
    """
    scales = _above_zero("scales", scales, None)
    for name, group in (("curves", curves), ("predicted", predicted or {})):
        for label, angles in group.items():
            _above_zero(f"{name}[{label!r}]", angles, len(scales))
    ax = _axes(ax)
    for label, angles in curves.items():
        angles = np.atleast_2d(angles)
        (line,) = ax.plot(scales, np.median(angles, axis=0), label=label)
        if len(angles) > 1:
            ax.plot(
                scales, angles.T, color=line.get_color(), lw=0.5, ls="-", marker="", alpha=0.5
            )
    for label, angles in (predicted or {}).items():
        ax.plot(scales, angles, color="black", lw=0.9, ls="-", marker="", label=label)
    ax.set(xlabel=xlabel, ylabel="angle (degrees)", xscale="log", yscale="log")
    ax.legend()
    return ax


def posterior(
    draws: Mapping[str, np.ndarray],
    *,
    points: Mapping[str, float] | None = None,
    xlabel: str = "coefficient",
    ax: Axes | None = None,
) -> Axes:
    """Draw the histograms of draws (draws,) of one quantity, one outline per label.

    `points` marks single values, such as the MAP, with labelled vertical lines.
    """
    _check_looks("draws", draws)
    _check_looks("points", points or {})
    for label, values in draws.items():
        values = numbers(values, f"draws[{label!r}]")
        if not values.size:
            raise ValueError(f"draws[{label!r}] is empty; a histogram needs numbers")
        check_finite(values, f"draws[{label!r}]")
    if not draws:
        raise ValueError("draws is empty; it needs at least one quantity")
    ax = _axes(ax)
    pooled = np.concatenate([np.ravel(values) for values in draws.values()])
    edges = np.histogram_bin_edges(pooled, bins=40)
    for (label, values), colour, line in zip(draws.items(), _CYCLE, _LINES, strict=False):
        look = {"lw": 1.6, "color": colour, "ls": line, "label": label}
        ax.hist(np.ravel(values), edges, density=True, histtype="step", **look)
    for (label, value), line in zip((points or {}).items(), _LINES, strict=False):
        ax.axvline(value, color="0.3", lw=1.2, ls=line, marker="", label=label)
    ax.set(xlabel=xlabel, ylabel="density")
    ax.legend()
    return ax


def predictive(
    proba: ArrayLike, y: ArrayLike | None = None, *, level: float = 0.9, ax: Axes | None = None
) -> Axes:
    """Draw each input's mean probability with the interval of its draws, inputs in order.

    Parameters
    ----------
    proba : (draws, n) array
        Probabilities.
    y : (n,) array of 0 and 1, or None
        Labels; filled markers are then the true statements.
    level : float
        Share of the draws inside each bar.
    ax : Axes or None
    """
    check_level(level)
    shape = np.shape(plain(proba, "proba"))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"proba has shape {shape}; it has to be (draws, n), not empty")
    proba = check_proba(proba, shape[1])
    if y is not None and np.shape(y) != proba.shape[1:]:
        raise ValueError(
            f"proba has shape {proba.shape} and y {np.shape(y)}; they have to be (draws, n) and"
            " (n,), draws along the first axis"
        )
    ax = _axes(ax)
    mean = proba.mean(axis=0)
    order = np.argsort(mean)
    lower, upper = np.quantile(proba, ((1 - level) / 2, (1 + level) / 2), axis=0)[:, order]
    place = np.arange(len(order))
    ax.vlines(place, lower, upper, color="0.65", lw=1, label=f"{level:.0%} of draws")
    kinds = {"mean of draws": np.ones(len(order), dtype=bool)}
    if y is not None:
        y = check_labels(y)
        kinds = {"mean, true": y == 1, "mean, false": y == 0}
    for (label, rows), colour, face in zip(
        kinds.items(), _CYCLE, (_CYCLE[0], "white"), strict=False
    ):
        shown = rows[order]
        ax.plot(
            place[shown], mean[order][shown], "o", color=colour, mfc=face, ms=4, label=label
        )
    ax.set(xlabel="input, by mean probability", ylabel="P(true)", ylim=(-0.02, 1.02))
    ax.legend(loc="upper left")
    return ax


def trace_rank(
    idata: "InferenceData",
    var_names: Sequence[str] | None = None,
    coords: Mapping[str, Sequence] | None = None,
    **options: object,
) -> np.ndarray:
    """Draw trace and rank plots of the draws in `idata` through ArviZ; returns its axes."""
    import arviz

    rows = len(idata.posterior.data_vars if var_names is None else var_names)
    options.setdefault("figsize", (WIDTH, 2.2 * rows + 0.4))
    style()
    return arviz.plot_trace(
        idata, var_names=var_names, coords=coords, kind="rank_vlines", **options
    )


def _check_looks(name, drawn) -> None:
    """Raise ValueError where there are more things than looks that tell them apart."""
    if len(drawn) > len(_CYCLE):
        raise ValueError(
            f"{name} has {len(drawn)} entries; at most {len(_CYCLE)} can be told apart in one "
            "figure: draw the others in another"
        )


def _above_zero(name, values, count: int | None) -> np.ndarray:
    """Return numbers for a logarithmic axis, NaN allowed, or raise ValueError."""
    values = numbers(values, name).astype(float)
    if values.ndim == 0 or (count is not None and values.shape[-1] != count):
        raise ValueError(
            f"{name} has shape {values.shape}; it has to have one entry per scale, {count}"
        )
    if (values <= 0).any():
        first = place(name, values.shape, int(np.flatnonzero(values <= 0)[0]))
        raise ValueError(
            f"{first} is {values[values <= 0][0]:g}; a logarithmic axis shows numbers above 0"
        )
    return values


def _axes(ax, size=None):
    if ax is not None:
        return ax
    style()
    return plt.subplots(figsize=size)[1]
