"""Whether a direction that a reporter reads is one that the model uses: push it, and ask.

`steered` adds a vector to the residual stream and `ablated` takes a direction out of it, for
everything else in this package. `causal_check` asks the model its own question so, and does the
same along random directions, which any effect has to be compared with.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils._inputs import check_counts, is_number, numbers
from elkutils.models.answers import QUESTION, answer_log_odds
from elkutils.models.state import is_hooked

INTERVENTIONS = "add", "ablate"


@dataclass(frozen=True, eq=False)
class CausalCheck:
    """How far an intervention moves the model's own answers, and how far random ones do.

    Attributes
    ----------
    moved : (n,) array
        In nats per text. Of "add" half of what the log odds of *true* gain from −v to +v, of
        "ablate" the absolute change.
    control : (k, n) array
        The same along random directions, of the same norm.
    """

    moved: np.ndarray
    control: np.ndarray

    @property
    def p_value(self) -> float:
        """Share of all k + 1 directions that move the answers, on average, at least as far.

        It is 1/(k + 1) at least. The sign of a random direction has no meaning, so their means
        count in absolute value.
        """
        far = np.abs(self.control.mean(axis=1)) >= self.moved.mean()
        return float((1 + far.sum()) / (1 + len(far)))

    def __str__(self) -> str:
        random = np.abs(self.control.mean(axis=1))
        return (
            f"{self.moved.mean():+.3f} nats; {len(random)} random directions up to "
            f"{random.max():.3f}, p = {self.p_value:.3f}"
        )


@contextmanager
def steered(
    model: TransformerBridge, hook_point: str, shift: ArrayLike, skip: int = 1
) -> Iterator[TransformerBridge]:
    """Add a vector at a hook point to all tokens of a text, until the block is left.

    Nothing is read from or kept in the cache meanwhile.

    Parameters
    ----------
    model : TransformerBridge
    hook_point : str
        As from `resid_post`.
    shift : (d,) array
        In the units of the activations there.
    skip : int
        Tokens at the beginning of a text that are left alone. The first carries activations a
        hundred times as large as any other, which no text changes.

    Raises
    ------
    ValueError
        If the hook point is not there, or `shift` is not d finite numbers.
    """
    shift = _vector(model, hook_point, shift, "shift")
    check_counts(least=0, skip=skip)

    def add(tensor, hook):
        found = tensor.clone()
        found[:, skip:] += shift.to(tensor)
        return found

    with model.hooks(fwd_hooks=[(hook_point, add)]):
        yield model


@contextmanager
def ablated(
    model: TransformerBridge,
    hook_point: str,
    direction: ArrayLike,
    centre: ArrayLike | None = None,
    skip: int = 1,
) -> Iterator[TransformerBridge]:
    """Take a direction out of the activations at a hook point, until the block is left.

    Parameters
    ----------
    model, hook_point, skip
        As in `steered`.
    direction : (d,) array
        Its length does not matter.
    centre : (d,) array or None
        Each token's component along the direction becomes that of `centre`, such as the mean
        activation; None for 0.

    Raises
    ------
    ValueError
        As `steered`; and if `direction` is 0.
    """
    unit = _vector(model, hook_point, direction, "direction")
    if not unit.norm() > 0:
        raise ValueError("direction is 0 in every entry; it has to point somewhere")
    unit = unit / unit.norm()
    check_counts(least=0, skip=skip)
    kept = 0.0 if centre is None else _vector(model, hook_point, centre, "centre") @ unit

    def project(tensor, hook):
        found, along = tensor.clone(), unit.to(tensor)
        size = tensor[:, skip:] @ along - kept
        found[:, skip:] -= size[..., None] * along
        return found

    with model.hooks(fwd_hooks=[(hook_point, project)]):
        yield model


def causal_check(
    model: TransformerBridge,
    texts: Sequence[str],
    hook_point: str,
    direction: ArrayLike,
    size: float | None = None,
    intervention: str = "add",
    centre: ArrayLike | None = None,
    controls: int = 19,
    seed: int = 0,
    template: str = QUESTION,
    answers: tuple[str, str] = (" True", " False"),
    batch_size: int = 32,
    progress: bool = True,
) -> CausalCheck:
    """Return how far the model's own answers move when a direction is added or ablated.

    The answers are those of `answer_log_odds`. A reporter may read along a direction that the
    model does not use; then no intervention on it matters, and its answers are no evidence of
    what the model makes of the statement. The reverse does not follow: a direction that moves
    an answer need not mean truth.

    Parameters
    ----------
    model : TransformerBridge
        Without hooks of your own.
    texts : sequence of n str
        Statements.
    hook_point : str
        Where the reporter reads.
    direction : (d,) array
        As from `elkutils.reporters.reading_direction`; towards *true*.
    size : float or None
        Norm of what is added, in the units of the activations, such as the distance of the
        class means; "add" needs it.
    intervention : "add" or "ablate"
    centre : (d,) array or None
        As in `ablated`.
    controls : int
        k, random directions of the same norm.
    seed : int
        Of the random directions.
    template, answers, batch_size
        As in `answer_log_odds`.
    progress : bool
        Show how many directions are done.

    Returns
    -------
    CausalCheck

    Raises
    ------
    ValueError
        As `steered`, `ablated` and `answer_log_odds`; if the model has hooks of your own, or
        `size` is missing or not above 0.
    """
    if intervention not in INTERVENTIONS:
        raise ValueError(
            f"intervention is {intervention!r}; it has to be one of {INTERVENTIONS}"
        )
    if intervention == "add" and not (is_number(size) and 0 < size < np.inf):
        raise ValueError(
            f"size is {size!r}; to add a direction needs its norm, above 0, such as the "
            "distance of the class means"
        )
    if is_hooked(model):
        raise ValueError("model has hooks or forward methods of your own; remove them first")
    check_counts(controls=controls)
    check_counts(least=0, seed=seed)
    first = _vector(model, hook_point, direction, "direction").double().cpu().numpy()
    rng = np.random.default_rng(seed)
    tried = np.stack([first, *rng.standard_normal((controls, len(first)))])
    if not np.linalg.norm(first) > 0:
        raise ValueError("direction is 0 in every entry; it has to point somewhere")
    tried /= np.linalg.norm(tried, axis=1, keepdims=True)

    def asked(change: AbstractContextManager) -> np.ndarray:
        with change:
            return answer_log_odds(
                model, texts, template, answers, batch_size, cache=False, progress=False
            )

    intact = answer_log_odds(model, texts, template, answers, batch_size, progress=False)
    moved = []
    for unit in tqdm(tried, desc="directions", disable=not progress):
        if intervention == "add":
            up, down = (asked(steered(model, hook_point, s * size * unit)) for s in (1, -1))
            moved.append((up - down) / 2)
        else:
            moved.append(np.abs(asked(ablated(model, hook_point, unit, centre)) - intact))
    return CausalCheck(moved[0], np.stack(moved[1:]))


def _vector(model, hook_point, values, name: str) -> torch.Tensor:
    """Values (d,) as a tensor beside the model's weights, or ValueError."""
    if hook_point not in model.hook_dict:
        raise ValueError(
            f"hook_point is {hook_point!r}, which this model does not have; resid_post(model) "
            "lists those of the residual stream"
        )
    values, width = numbers(values, name).astype(np.float64), model.cfg.d_model
    if values.shape != (width,) or not np.isfinite(values).all():
        raise ValueError(
            f"{name} has shape {values.shape}; it has to hold {width} finite numbers"
        )
    device = next(model.original_model.parameters()).device
    return torch.as_tensor(values, dtype=torch.float32, device=device)
