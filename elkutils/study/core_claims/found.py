"""What a part of the core claims finds, and what all parts share."""

from dataclasses import dataclass, field
from typing import Any

from elkutils import profiles
from elkutils.evaluation import Interval, PassRate

BOOK_LAYERS = 30  # of SmolLM2, whose layers the chapters name
FOLDS = 3
TOLD = {"easy": "held-out", "hard": "hard", "easy_negated": "negated"}
KINDS = tuple(TOLD)

Rates = tuple[PassRate, PassRate]


def at_depth(layer: int, count: int) -> int:
    """Return the layer of a model of `count` layers at the same depth as a layer of the book's.

    Depth is the share of the layers that have written, this one included.

    Examples
    --------
    >>> [at_depth(layer, 30) for layer in (10, 15, 18)], at_depth(15, 18), at_depth(0, 6)
    ([10, 15, 18], 9, 0)
    """
    return max(0, round((layer + 1) / BOOK_LAYERS * count) - 1)


def resamples() -> int:
    """Return how many resamples a judged interval has in the active profile."""
    return profiles.pick(quick=100, book=500, full=2000)


@dataclass
class Found:
    """What was measured for one or more claims.

    Attributes
    ----------
    conditions : dict of str to dict of str to Interval
        By claim and condition, as `elkutils.ledger.Chapter.decide` takes them.
    controls : dict of str to dict of str to (PassRate, PassRate)
        By claim and criterion: the positive control, the negative one.
    shown : dict of str to Interval, number or list of them
        What has no vote.
    """

    conditions: dict[str, dict[str, Interval]] = field(default_factory=dict)
    controls: dict[str, dict[str, Rates]] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
