"""Many chains of Hamiltonian Monte Carlo on the logistic posterior, split about a Gaussian.

With θ = m + Sz, N(m, SSᵀ) the Gaussian of `variational`, the posterior of z is exactly

    N(z; 0, I) · exp(−R(z)),  R(z) = c·z + Σᵢ rᵢ(Δᵢ),  Δ = A S z,

where A is the design and rᵢ the remainder of the i-th loss after its expansion
p̄ᵢΔᵢ + w̄ᵢΔᵢ²/2. The prior has cancelled, so float32 is enough. `trajectories` defines how a
chain moves; all chains move together, so that a gradient is two matrix products. This module
fits the Gaussian, chooses the number of gradients per trajectory by pilots, and takes the
draws. HMC needs no MAP fit first.

On separable rows the posterior is much wider than the Gaussian along the scale of the weights,
and chains are slow there. Where the slowest directions lack effective draws, the Gaussian is
widened to the draws (`Widened`) and the run begins again; where that was done three times, the
run goes on and keeps every second, fourth … position.
"""

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from elkutils.checkpoint import Checkpoint
from elkutils.inference.diagnostics import LEAST_DRAWS, LEAST_ESS, LEAST_SHARE, diagnose
from elkutils.inference.draws import Draws, LinearHead
from elkutils.inference.logistic import rows
from elkutils.inference.logistic.trajectories import (
    BLOCK,
    MOST_STEPS,
    Chains,
    Noise,
    Pilot,
    Turn,
    advance,
    compiled_advance,
    energy,
    python_loop,
    transition,
    turns,
)
from elkutils.inference.logistic.variational import NotSettled, Target, fit
from elkutils.inference.logistic.widened import Widened

PILOT = 64  # least number of moves, over all chains, by which a candidate is judged
LEAST_ACCEPTANCE = 0.7
SPREADS = 0.2, 0.8, 3.0  # of R, up to which one, two and three gradients are tried first
TRACES = "z", "acceptance", "energy"
AIM = 2.5 * LEAST_ESS  # effective draws of the slowest directions: R-hat is then below 1.01
MOST_WIDENED = 3  # times that the Gaussian is widened
MOST_APART = 64  # moves per draw kept, after which the run ends with a warning
POWERS = 12  # power iterations towards the direction in which the draws spread most


def sample(
    X: np.ndarray,
    y: np.ndarray,
    precision: np.ndarray,
    draws: int,
    chains: int = 32,
    seed: int = 0,
    memory: int | None = None,
    mesh: Mesh | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    weights: np.ndarray | None = None,
) -> Draws:
    """Draw from the posterior of logistic regression on X (n, k) and y (n,).

    Parameters
    ----------
    X : (n, k) array
        With `memory`, anything that gives rows when sliced, such as a memory map.
    y : (n,) array of 0 and 1
    precision : (k + 1,) array
        Prior precision of each weight and the bias; 0 for a flat bias.
    draws, chains : int
        Draws kept per chain, and chains.
    seed : int
    memory : int or None
        Bytes for rows: if they do not fit, every pass reads them again in blocks.
    mesh : jax.sharding.Mesh or None
        Axes "rows" and "chains": how to share both among devices. The draws are those of one
        device, to rounding. Any number of rows will do; `chains` is a multiple of the mesh's.
    checkpoint : path or None
        A safetensors file that is kept during the run. A call with the same arguments that
        finds one continues from there, to the same draws; at the end the file is removed.
    progress : bool
        Show draws, effective draws so far (the least of a few coordinates) and the time left.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by; None for 1.

    Returns
    -------
    Draws
        Draws of θ = (w, b). Statistics "acceptance_rate", "energy" (the negative log posterior
        up to a constant) and "n_steps". Details: "steps", gradients per move of every chain, as
        chosen by the "pilots" (a list of `Pilot`); "apart", moves per draw kept; "widened",
        how often the Gaussian was widened; "discarded", draws of every chain before the
        first kept, including those of the pilots; "fit", a `variational.Fit`; and "seconds" of
        the "fit", the "pilots" and the "draws", including compilation.

    Warns
    -----
    RuntimeWarning
        If the slowest directions lack effective draws after 64 moves per draw.

    Raises
    ------
    NotSettled
        Where the posterior is too far from any Gaussian: separable data under a loose prior.
    ValueError
        If the checkpoint is damaged or was made by a call with other arguments, or the mesh has
        other axes, does not divide `chains`, or is given with `memory`.
    """
    rows.check_mesh(mesh, memory, chains)
    with rows.exactly():
        begun = time.perf_counter()
        found = fit(X, y, precision, memory, mesh, weights=weights)
        target = Target.of(found)
        fitted = time.perf_counter()
        sampler = Sampler.start(target, chains, seed, mesh)
        kept = None
        if checkpoint is not None:
            arrays = (y, precision) if weights is None else (y, precision, weights)
            kept = Checkpoint.of(checkpoint, X, arrays, draws, chains, seed)
        if kept is None or not kept.resume(sampler):
            sampler.settle()
        settled = time.perf_counter()
        z, acceptance, energy = sampler.run(draws, kept, progress)
        if kept is not None:
            kept.path.unlink(missing_ok=True)
        theta = found.mean + z @ found.spread.T
    return Draws(
        head=LinearHead(theta.shape[-1] - 1),
        theta=theta,
        stats={
            "acceptance_rate": acceptance,
            "energy": energy,
            "n_steps": np.full(energy.shape, sampler.steps),
        },
        details={
            "steps": sampler.steps,
            "apart": sampler.apart,
            "widened": sampler.widened,
            "pilots": sampler.pilots,
            "discarded": sampler.discarded,
            "fit": found,
            "seconds": {
                "fit": fitted - begun,
                "pilots": settled - fitted,
                "draws": time.perf_counter() - settled,
            },
        },
    )


@dataclass
class Sampler:
    """Chains on a target, their settings, and their draws so far."""

    target: Target
    z: np.ndarray
    seed: int
    mesh: Mesh | None
    block: int = 0  # calls so far: the number of the next block of noise
    steps: int = 3
    pilots: list[Pilot] = field(default_factory=list)
    discarded: int = 0
    apart: int = 1  # moves per draw kept
    widened: int = 0  # times that the Gaussian was widened
    remainder: np.ndarray | None = None  # R where the last call began, (chains,)
    trace: list[list[np.ndarray]] = field(default_factory=list)

    @classmethod
    def start(
        cls, target: Target, chains: int, seed: int, mesh: Mesh | None = None
    ) -> "Sampler":
        """Start `chains` chains at draws from the Gaussian."""
        shape = len(target.tilt), chains
        z = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return cls(target, z, seed, mesh)

    @property
    def trial(self) -> int:
        """Draws of every chain per candidate: the fewer chains, the more."""
        return min(BLOCK, max(2, -(-PILOT // self.z.shape[1])))

    def advance(self, length: int) -> list[np.ndarray]:
        """Take `length` ≤ BLOCK draws; return z, acceptance and energy, (length, chains, …)."""
        noise = Noise.of(self.seed, self.block, (BLOCK, *self.z.shape))
        self.block += 1
        turn = turns(noise, self.steps)
        if self.target.spread is None:
            self.z, trace, self.remainder = compiled_advance(
                self.z, turn, self.target, self.steps, length, mesh=self.mesh
            )
            z, *rest = (np.asarray(part)[:length] for part in trace)
            return [z.swapaxes(1, 2), *rest]
        found = []
        chains = Chains(self.z, *self.target(self.z))
        self.remainder = chains.remainder
        for i in range(length):
            chains, acceptance = transition(
                jax.tree.map(lambda part, i=i: part[i], turn),
                chains,
                self.target,
                self.steps,
                python_loop,
            )
            found.append((chains.z.T, acceptance, energy(chains)))
        self.z = chains.z
        return [np.stack(part) for part in zip(*found, strict=True)] if found else []

    def settle(self) -> None:
        """Choose the number of gradients per trajectory, and forget the start.

        Pilots start from the number that the spread of R over the first positions suggests, and
        go up or down, as acceptance indicates, until that stops paying. Then the chains move
        until the weight of the start in their distribution is 1%.
        """
        self.advance(0)
        self._pilot(1 + int(np.searchsorted(SPREADS, np.std(self.remainder))))
        up = self.pilots[0].acceptance < 0.9
        while True:
            best, last = max(self.pilots, key=lambda pilot: pilot.efficiency), self.steps
            following = last - 1 if not up else last + 1 if best.efficiency > 0.05 else 2 * last
            possible = 1 <= following <= MOST_STEPS and 1 / following > best.efficiency
            good = [pilot for pilot in self.pilots if pilot.acceptance >= LEAST_ACCEPTANCE]
            if (good and best.steps != last) or not possible:
                break
            self._pilot(following)
        best = max(good or self.pilots, key=lambda pilot: pilot.efficiency)
        if best.acceptance < LEAST_ACCEPTANCE:
            raise NotSettled(f"{best}: the posterior is too far from its Gaussian")
        self.steps = best.steps
        rejected = [np.clip(1 - pilot.acceptance, 1e-3, 0.99) for pilot in self.pilots]
        left = np.log(0.01) - self.trial * np.log(rejected).sum()
        needed = max(0, int(np.ceil(left / np.log(1 - min(best.acceptance, 0.999)))))
        for done in range(0, needed, BLOCK):
            self.advance(min(BLOCK, needed - done))
        self.discarded += needed + self.trial * len(self.pilots)

    def _pilot(self, steps: int) -> None:
        self.steps = steps
        self.pilots.append(Pilot(steps, float(self.advance(self.trial)[1].mean())))

    def run(
        self, draws: int, kept: Checkpoint | None = None, progress: bool = False
    ) -> list[np.ndarray]:
        """Continue to `draws` good draws; return z, acceptance and energy, (chains, draws, …).

        While the slowest directions lack effective draws, the Gaussian is widened and the run
        begins again, or every second draw is dropped and as many are taken, twice as far apart.
        """
        aim = min(AIM, LEAST_SHARE * draws * self.z.shape[1])
        with tqdm(disable=not progress, desc="HMC", unit="draw") as bar:
            self._fill(draws, kept, bar)
            while draws >= LEAST_DRAWS and self._ess() < aim:
                if self.widened < MOST_WIDENED:
                    self._widen()
                elif self.apart < MOST_APART:
                    self.trace = [[part[1::2] for part in self._joined()]]
                    self.apart *= 2
                else:
                    warnings.warn(
                        f"the slowest directions have {self._ess():.0f} effective draws after"
                        f" {self.apart} moves per draw and need {aim:.0f}: see the diagnostics;"
                        " a smaller prior scale or more draws help",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                    break
                self._fill(draws, kept, bar)
        z, *rest = self._joined()
        return [part.swapaxes(0, 1) for part in (self._narrowed(z), *rest)]

    def _widen(self) -> None:
        """Widen the Gaussian to the draws, move the chains to its coordinates and settle."""
        base = self.target.base if isinstance(self.target, Widened) else self.target
        z = self._narrowed(self._joined()[0])
        now = self._narrowed(np.asarray(self.z).T)
        before = self.target, self.z, self.steps, self.pilots, self.discarded
        self.discarded += self.apart * len(z)
        self.widened += 1
        for share in (1.0, 0.5):  # of the logarithm of the standard deviations
            self.target = Widened.of(base, z.reshape(-1, z.shape[-1]), share)
            self.z, self.pilots = self.target.inverse(now.T).astype(np.float32), []
            try:
                self.settle()
            except NotSettled:
                continue
            self.trace = []
            return
        self.target, self.z, self.steps, self.pilots, self.discarded = before
        self.widened = MOST_WIDENED

    def _narrowed(self, z: np.ndarray) -> np.ndarray:
        """Positions (..., p) of the chains in the coordinates of the first Gaussian."""
        return self.target.forward(z.T).T if isinstance(self.target, Widened) else z

    def _fill(self, draws: int, kept: Checkpoint | None, bar: tqdm) -> None:
        """Take draws, `apart` moves each, until there are `draws`."""
        done = sum(len(block[0]) for block in self.trace)
        bar.reset(draws)
        bar.update(done)
        while done < draws:
            moves = min(BLOCK, self.apart * (draws - done))
            if self.apart > BLOCK:
                for _ in range(self.apart // BLOCK - 1):
                    self.advance(BLOCK)
            block = self.advance(moves)
            every = min(self.apart, BLOCK)
            self.trace.append([part[every - 1 :: every] for part in block])
            new = len(self.trace[-1][0])
            done += new
            if kept is not None:
                kept.save(self)
            if not bar.disable:
                bar.set_postfix(ess=f"{self._ess():.0f}", moves_per_draw=self.apart)
            bar.update(new)

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return the draws so far and the state of the chains; see `checkpoint.Resumable`."""
        arrays = dict(zip(TRACES, self._joined(), strict=True)) | {"now": np.asarray(self.z)}
        if isinstance(self.target, Widened):
            arrays |= self.target.arrays()
        return arrays, {
            "block": self.block,
            "steps": self.steps,
            "discarded": self.discarded,
            "apart": self.apart,
            "widened": self.widened,
            "pilots": [[pilot.steps, pilot.acceptance] for pilot in self.pilots],
        }

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        """Continue from where other chains were when they were packed."""
        self.z, self.block, self.steps = arrays["now"], about["block"], about["steps"]
        self.discarded, self.apart = about["discarded"], about.get("apart", 1)
        self.pilots = [Pilot(*pilot) for pilot in about["pilots"]]
        self.widened = about.get("widened", 0)
        if self.widened:
            self.target = Widened.restored(self.target, arrays)
        self.trace = [[arrays[name] for name in TRACES]]

    def _joined(self) -> list[np.ndarray]:
        """z, acceptance and energy so far, (draws, chains, …)."""
        return [np.concatenate(part) for part in zip(*self.trace, strict=True)]

    def _ess(self) -> float:
        """Return the effective draws so far, the least over the slowest directions known.

        They are the bias (the last coordinate of z), and the direction in which the draws
        spread most, found by power iteration.
        """
        z = self._joined()[0]
        flat = z.reshape(-1, z.shape[-1])
        flat = flat - flat.mean(axis=0)
        widest = np.random.default_rng(0).standard_normal(flat.shape[1]).astype(flat.dtype)
        for _ in range(POWERS):
            widest = flat.T @ (flat @ widest)
            widest /= np.linalg.norm(widest)
        traces = np.stack([z[..., -1], z @ widest], axis=-1)
        return diagnose(traces.swapaxes(0, 1)).worst["ess"]


@rows.exactly()
def sample_each(
    target: Target, draws: int, seed: int, steps: int = 4, apart: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a chain from each of many targets, in one compiled program.

    Returns
    -------
    z : (problems, draws, p) array
        Every `apart`-th draw, after a block to forget the start.
    acceptance : (problems,) array
    """
    shape = BLOCK, *target.tilt.shape
    z = np.random.default_rng(seed).standard_normal(shape[1:], dtype=np.float32)[..., None]
    along = Turn(1, 2, 2, 2, 1)
    move = jax.jit(jax.vmap(advance, in_axes=(0, along, 0, None, None), out_axes=(0, 1, 0)))
    found, accepted = [], []
    for block in range(1 + -(-draws * apart // BLOCK)):
        momentum, *rest = turns(Noise.of(seed, block, (BLOCK, *shape[:0:-1])), steps)
        turn = Turn(*(part[..., None] for part in (momentum.swapaxes(1, 2), *rest)))
        z, (trace, acceptance, _), _ = move(z, turn, target, steps, BLOCK)
        found.append(np.asarray(trace)[..., 0])
        accepted.append(np.asarray(acceptance)[..., 0])
    kept = np.concatenate(found[1:])[: draws * apart : apart]
    return kept.swapaxes(0, 1), np.concatenate(accepted[1:]).mean(axis=0)
