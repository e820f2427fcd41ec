"""What the book's core claims ask for, measured on any language model.

Each entry of `PARTS` takes a model and returns a `Found`: intervals by claim and condition, as
the chapters measure them, and how often the controls of each criterion passed. There is one
module per chapter's question: `reading` (C0), `means` (C2), `networks` (C5d), `calibrated`
(C11), `shifted` (C13) and `guarantees` (C14). Layers stand at the same share of the depth as
those of the chapters; seeds are those of the profile. `elkutils.study.second_model` runs the
parts and judges.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from elkutils.study.core_claims.calibrated import posterior, reporters
from elkutils.study.core_claims.found import Found, at_depth
from elkutils.study.core_claims.guarantees import averaged, strange
from elkutils.study.core_claims.means import means
from elkutils.study.core_claims.networks import SCALES, networks
from elkutils.study.core_claims.reading import depth, reads_at, rivals
from elkutils.study.core_claims.shifted import shifted

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

PARTS: dict[str, Callable[["TransformerBridge"], Found]] = {
    "depth": depth,
    "rivals": rivals,
    "means": means,
    "calibration": posterior,
    "reporters": reporters,
    "shifts": shifted,
    "averages": averaged,
    "outside": strange,
    "networks": networks,
}

__all__ = [
    "PARTS",
    "SCALES",
    "Found",
    "at_depth",
    "averaged",
    "depth",
    "means",
    "networks",
    "posterior",
    "reads_at",
    "reporters",
    "rivals",
    "shifted",
    "strange",
]
