"""Training that may be interrupted: AdamW, with checkpoints on disk.

It trains the vault's predictors and the persona's adapters. The loss is a function of the
number of the step, from which it draws all its randomness, so that a run that continues sees
what it would have seen.
"""

from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

from elkutils.checkpoint import Checkpoint


class ResumableTraining:
    """Training under way; `pack` and `unpack` as in `elkutils.checkpoint.Resumable`.

    Parameters
    ----------
    weights : dict of str to torch.nn.Parameter
        The weights to train, by name.
    loss : callable
        From the number of a step, counted from 0, to the scalar tensor to minimise.
    rate : callable
        From the number of a step to AdamW's learning rate.
    **options : object
        Further options of AdamW. Gradients are clipped to norm 1.
    """

    def __init__(
        self,
        weights: dict[str, torch.nn.Parameter],
        loss: Callable[[int], torch.Tensor],
        rate: Callable[[int], float],
        **options: object,
    ):
        self.weights, self.loss, self.rate, self.step = weights, loss, rate, 0
        self.optimiser = torch.optim.AdamW(weights.values(), **options)

    def advance(self) -> float:
        """Take one step; return the loss before it."""
        self.optimiser.param_groups[0]["lr"] = self.rate(self.step)
        loss = self.loss(self.step)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return the weights and the optimiser as arrays, and the number of steps taken."""
        arrays = {f"weight.{name}": w.detach() for name, w in self.weights.items()}
        for name, weight in self.weights.items():
            for key, value in self.optimiser.state[weight].items():
                arrays[f"{key}.{name}"] = value
        return {key: array.cpu().numpy() for key, array in arrays.items()}, {"step": self.step}

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        """Continue from where another run was when it was packed."""
        self.step = about["step"]
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for name, weight in self.weights.items():
            weight.data.copy_(state[f"weight.{name}"])
            self.optimiser.state[weight] = {
                key: state[f"{key}.{name}"].to(weight.device if key != "step" else "cpu")
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def finish(
    run: ResumableTraining,
    steps: int,
    checkpoint: Checkpoint | None = None,
    saved_every: int = 500,
    label: str = "",
    progress: bool = False,
) -> None:
    """Take a run to its last step.

    Parameters
    ----------
    run : ResumableTraining
    steps : int
        Steps in all, including those of an earlier run.
    checkpoint : Checkpoint or None
        A file from which an interrupted run continues, to the same weights. It is written every
        `saved_every` steps and removed at the end.
    saved_every : int
    label : str
        Label of the progress bar.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, or another run's.
    """
    if checkpoint is not None:
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.resume(run)
    with tqdm(total=steps, initial=run.step, desc=label, disable=not progress) as bar:
        while run.step < steps:
            loss = run.advance()
            bar.update()
            if run.step % saved_every == 0:
                bar.set_postfix(loss=f"{loss:.4f}")
                if checkpoint is not None:
                    checkpoint.save(run)
    if checkpoint is not None:
        checkpoint.path.unlink(missing_ok=True)
