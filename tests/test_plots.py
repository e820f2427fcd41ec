import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from elkutils import plots
from elkutils.evaluation import Interval, reliability

RNG = np.random.default_rng(0)
CURVE = [Interval(m, m - 0.05, m + 0.05) for m in (0.5, 0.7, 0.9)]
PROBA = RNG.random(200)
HAPPENED = RNG.random(200) < PROBA
RELIABILITY = reliability(HAPPENED, PROBA)

FIGURES = {
    "layer_sweep": lambda: plots.layer_sweep([0, 10, 20], {"probe": CURVE, "rival": CURVE}),
    "comparison": lambda: plots.comparison(["a", "b", "c"], {"probe": CURVE, "rival": CURVE}),
    "reliability": lambda: plots.reliability({"MAP": RELIABILITY, "NUTS": RELIABILITY}),
    "direction_angle": lambda: plots.direction_angle(
        [0.01, 0.1], {"MAP": [[1, 2], [2, 3]]}, predicted={"predicted": [1, 2]}
    ),
    "posterior": lambda: plots.posterior(
        {"NUTS": PROBA, "Laplace": PROBA}, points={"MAP": 0.5}
    ),
    "predictive": lambda: plots.predictive(RNG.random((30, 8)), np.arange(8) % 2),
}


@pytest.fixture(autouse=True)
def _close_figures():
    with matplotlib.rc_context():
        yield
        plt.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_labelled_and_fits_a_phone(name):
    ax = FIGURES[name]()
    assert ax.get_xlabel()
    assert ax.get_ylabel() or len(ax.get_yticklabels()) == 3
    assert ax.figure.get_size_inches()[0] <= 6.4
    legend = ax.get_legend() or ax.figure.legends[0]
    texts = [ax.xaxis.label, *ax.get_xticklabels(), *legend.get_texts()]
    assert min(text.get_fontsize() for text in texts) >= 9
    assert matplotlib.colors.to_rgba(ax.figure.get_facecolor())[3] == 1


@pytest.mark.parametrize("name", ["layer_sweep", "reliability"])
def test_curves_differ_in_more_than_colour(name):
    legend = FIGURES[name]().get_legend()
    looks = {(line.get_linestyle(), line.get_marker()) for line in legend.get_lines()}
    assert len(looks) == 2


def test_neighbouring_colours_differ_in_grey():
    weights = np.array([0.299, 0.587, 0.114])
    greys = np.array([to_rgb(colour) for colour in [*plots.COLOURS.values()][:3]]) @ weights
    assert np.abs(greys[:, None] - greys)[~np.eye(3, dtype=bool)].min() > 0.08


def test_the_style_draws_in_the_colours_that_have_names():
    plots.style()
    drawn = [plt.plot([0, 1], [0, i])[0].get_color() for i in range(len(plots.COLOURS))]
    assert drawn == list(plots.COLOURS.values())


def test_predictive_shows_true_and_false_differently():
    labels = [text.get_text() for text in FIGURES["predictive"]().get_legend().get_texts()]
    assert labels == ["90% of draws", "mean, true", "mean, false"]


def test_the_word_chance_stands_beside_the_axes():
    """Inside it would lie on some curve's band."""
    ax = FIGURES["layer_sweep"]()
    ax.figure.canvas.draw()
    (word,) = (text for text in ax.texts if text.get_text() == "chance")
    place = word.get_window_extent()
    assert ax.bbox.x1 < place.x0 < place.x1 <= ax.figure.bbox.x1


def test_given_axes_are_drawn_on():
    _, ax = plt.subplots()
    assert plots.layer_sweep([0, 1, 2], {"probe": CURVE}, ax=ax) is ax


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"curves\['probe'\] holds 3 intervals"):
        plots.layer_sweep([0, 1], {"probe": CURVE})
    with pytest.raises(ValueError, match=r"methods\['probe'\] holds 3 intervals"):
        plots.comparison(["a", "b"], {"probe": CURVE})
    with pytest.raises(ValueError, match="proba has shape"):
        plots.predictive(PROBA)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_trace_rank_has_a_row_for_each_variable():
    arviz = pytest.importorskip("arviz")
    draws = {"bias": RNG.normal(size=(4, 100)), "weight": RNG.normal(size=(4, 100))}
    assert plots.trace_rank(arviz.from_dict(draws)).shape == (2, 2)


def test_the_package_does_not_import_matplotlib():
    code = "import sys, elkutils, elkutils.evaluation; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_figure_would_leave_out_is_refused():
    many = {str(i): CURVE for i in range(8)}
    with pytest.raises(ValueError, match="methods has 8 entries; at most 7"):
        plots.comparison(["a", "b", "c"], many)
    with pytest.raises(ValueError, match="draws has 8 entries"):
        plots.posterior({str(i): RNG.random(9) for i in range(8)})
    with pytest.raises(ValueError, match=r"draws\['a'\]\[1\] is nan"):
        plots.posterior({"a": np.array([0.1, np.nan])})
    with pytest.raises(ValueError, match=r"scales\[0\] is 0"):
        plots.direction_angle([0.0, 1.0], {"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"one entry per scale, 2"):
        plots.direction_angle([1.0, 2.0], {"a": [1.0, 2.0, 3.0]})


def test_predictive_draws_probabilities_and_labels_only():
    draws = RNG.random((30, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        plots.predictive(100 * draws)
    with pytest.raises(ValueError, match="NaN"):
        plots.predictive(np.where(draws > 0.5, np.nan, draws))
    with pytest.raises(ValueError, match="y holds"):
        plots.predictive(draws, 2 * (np.arange(8) % 2) - 1)
