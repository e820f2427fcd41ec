"""The vault's predictor: a small transformer that has learned to predict the sensors.

Ten of them, seeds 0 to 9, come with the package; `load_predictor` returns one as a
TransformerLens model that `activations` reads. The command that made them, and makes them
again, is::

    python -m elkutils.models.vault train --seeds 0 1 2 3 4 5 6 7 8 9

An interrupted run continues where it was. The profile *full* trains larger ones, on a GPU if
there is one, and writes them to the cache folder.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.nn.functional import cross_entropy
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from elkutils import profiles
from elkutils.checkpoint import Checkpoint
from elkutils.files import atomic_path, cache_dir
from elkutils.models.cache import check_shapes, digest
from elkutils.models.training import ResumableTraining, finish
from elkutils.tasks.vault import Episodes, World, simulate

SHIPPED = Path(__file__).parent / "predictors"
HELD_OUT = 1_000_000  # added to a seed: the episodes that its accuracy is measured on
_SAVED_EVERY = 500  # steps


@dataclass(frozen=True)
class PredictorPlan:
    """What is trained, and how.

    `width` is in features; `rate` is the largest learning rate of AdamW.
    """

    layers: int = 2
    width: int = 48
    heads: int = 4
    steps: int = 3500
    batch: int = 64
    rate: float = 3e-3
    warmup: int = 100


LARGE = PredictorPlan(
    layers=4, width=128, heads=8, steps=8000, batch=256, rate=1e-3, warmup=400
)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained predictor.

    Attributes
    ----------
    model : TransformerBridge
        In evaluation mode, with gradients off; its tokenizer reads `Cases.texts`.
    world : World
        The world in which it was trained.
    plan : PredictorPlan
    seed : int
    accuracy : dict of str to float
        Accuracy on held-out episodes, see `measure`.
    """

    model: TransformerBridge
    world: World
    plan: PredictorPlan
    seed: int
    accuracy: Mapping[str, float]


class Words:
    """A tokenizer for texts whose words are a world's tokens, as TransformerLens calls one."""

    def __init__(self, words: tuple[str, ...]):
        self.ids = {word: i for i, word in enumerate(words)}

    def __call__(
        self, text: str, add_special_tokens: bool = True, return_offsets_mapping: bool = False
    ) -> dict[str, list]:
        """Return `input_ids`, with `start` first if special tokens are asked for."""
        words = text.split()
        unknown = [word for word in words if word not in self.ids]
        if unknown:
            raise ValueError(
                f"texts has the word {unknown[0]!r}, which this world does not have"
            )
        ids = [self.ids[word] for word in words]
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        spans = [
            (int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)
        ]
        if add_special_tokens:
            ids, spans = [0, *ids], [(0, 0), *spans]
        return {"input_ids": ids} | (
            {"offset_mapping": spans} if return_offsets_mapping else {}
        )


def build(
    world: World, plan: PredictorPlan, seed: int, device: str = "cpu"
) -> TransformerBridge:
    """Return an untrained predictor for a world."""
    config = TransformerBridgeConfig(
        d_model=plan.width,
        d_head=plan.width // plan.heads,
        n_heads=plan.heads,
        n_layers=plan.layers,
        n_ctx=1 + 2 * world.horizon,
        d_mlp=4 * plan.width,
        d_vocab=len(world.words),
        act_fn="gelu",
        normalization_type="LN",
        seed=seed,
    )
    model = TransformerBridge.boot_native(config, device=device)
    model.tokenizer = Words(world.words)
    model.cfg.default_prepend_bos = True
    return model


def train(
    world: World,
    plan: PredictorPlan,
    seed: int,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> TransformerBridge:
    """Train a predictor of the sensors after each action.

    Parameters
    ----------
    world : World
    plan : PredictorPlan
    seed : int
        Seed of the initial weights and of the episodes; no two batches share an episode.
    checkpoint : path or None
        A file from which an interrupted run continues, to the same weights. It is written every
        500 steps and removed at the end.
    device : str
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, or belongs to a run with another world, plan or seed.
    """
    model = build(world, plan, seed, device)
    kept = checkpoint and Checkpoint(Path(checkpoint), run_digest(world, plan, seed))
    run = _run(model, world, plan, seed)
    finish(run, plan.steps, kept, _SAVED_EVERY, f"seed {seed}", progress)
    return _frozen(model)


def measure(model: TransformerBridge, episodes: Episodes) -> dict[str, float]:
    """Return the accuracy of the predictor's likeliest reading.

    Returns
    -------
    dict of str to float
        "all" tokens; "reveal", the tokens at which a screen was just taken away, which alone
        need the hidden state; among these, those where the diamond was "gone" or "there"; and
        "share gone", the error rate of always predicting the diamond.
    """
    tokens = torch.as_tensor(episodes.tokens)
    device = next(model.original_model.parameters()).device
    guesses = []
    with torch.inference_mode():
        for part in tokens.split(512):
            logits = model.original_model(part[:, :-1].to(device))
            guesses.append(logits[:, 1::2].argmax(dim=-1).cpu())
    right = (torch.cat(guesses) == tokens[:, 2::2]).numpy()
    reveal, gone = episodes.reveals, ~episodes.diamond
    return {
        "all": float(right.mean()),
        "reveal": float(right[reveal].mean()),
        "gone": float(right[reveal & gone].mean()),
        "there": float(right[reveal & ~gone].mean()),
        "share gone": float(gone[reveal].mean()),
    }


def load_predictor(seed: int, folder: str | Path | None = None) -> Predictor:
    """Return a trained predictor.

    Parameters
    ----------
    seed : int
        0 to 9 for the predictors that come with the package.
    folder : path or None
        Where the command above wrote others; None for the package's own.

    Returns
    -------
    Predictor

    Raises
    ------
    ValueError
        If there is no predictor of that seed, or its file is damaged or holds weights of
        another shape than it states.
    """
    folder = SHIPPED if folder is None else Path(folder)
    path = _path(folder, seed)
    if not path.exists():
        there = sorted(p.stem for p in folder.glob("vault-*.safetensors"))
        raise ValueError(
            f"seed is {seed!r}; {str(folder)!r} holds {', '.join(there) or 'no predictors'}. "
            "python -m elkutils.models.vault train makes more"
        )
    arrays, about = _read(path)
    world = World(**about["world"] | {"weights": tuple(about["world"]["weights"])})
    plan = PredictorPlan(**about["plan"])
    model = build(world, plan, seed)
    _put(model, arrays, path.name)
    return Predictor(_frozen(model), world, plan, about["seed"], about["accuracy"])


def save_predictor(predictor: Predictor, folder: str | Path) -> Path:
    """Write a predictor in float16 to `folder`, whole or not at all; return the file."""
    arrays = _arrays(predictor.model)
    about = {
        "seed": predictor.seed,
        "world": asdict(predictor.world),
        "plan": asdict(predictor.plan),
        "accuracy": dict(predictor.accuracy),
        "sha256": digest(arrays),
    }
    path = _path(folder, predictor.seed)
    with atomic_path(path) as fresh:
        save_file(arrays, fresh, metadata={"about": json.dumps(about)})
    return path


def run_digest(world: World, plan: PredictorPlan, seed: int) -> str:
    """Return a digest that identifies the checkpoints of one training."""
    return hashlib.sha256(repr((world, plan, seed)).encode()).hexdigest()


def _run(model, world: World, plan: PredictorPlan, seed: int) -> ResumableTraining:
    weights = _weights(model)
    device = next(iter(weights.values())).device

    def loss(step):  # in nats per reading
        episodes = simulate(world, plan.batch, (seed, step))
        tokens = torch.as_tensor(episodes.tokens, device=device)
        logits = model.original_model(tokens[:, :-1])[:, 1::2]
        return cross_entropy(logits.flatten(0, 1), tokens[:, 2::2].flatten())

    def rate(step):
        if step < plan.warmup:
            return plan.rate * (step + 1) / plan.warmup
        share = (step - plan.warmup) / (plan.steps - plan.warmup)
        return plan.rate * (1 + math.cos(math.pi * share)) / 2

    return ResumableTraining(weights, loss, rate, betas=(0.9, 0.98))


def _weights(model) -> dict[str, torch.nn.Parameter]:
    """Return the distinct weights, by their names without the bridge's wrappers."""
    named = model.original_model.named_parameters()
    return {name.replace("_original_component.", ""): weight for name, weight in named}


def arrays_of(model: TransformerBridge) -> dict[str, np.ndarray]:
    """Return the weights of a predictor, by their names without the bridge's wrappers."""
    return {name: w.detach().cpu().numpy() for name, w in _weights(model).items()}


def _arrays(model) -> dict[str, np.ndarray]:
    return {name: w.astype(np.float16) for name, w in arrays_of(model).items()}


def _finish(model, world, plan, seed) -> Predictor:
    """Return the predictor with its weights as written, measured on held-out episodes."""
    _put(model, _arrays(model), f"seed {seed}")
    accuracy = measure(model, simulate(world, 20_000, seed + HELD_OUT))
    return Predictor(model, world, plan, seed, accuracy)


def _put(model, arrays, name) -> None:
    weights = _weights(model)
    check_shapes(arrays, {key: weight.shape for key, weight in weights.items()}, name)
    with torch.no_grad():
        for key, weight in weights.items():
            weight.copy_(torch.from_numpy(arrays[key]))


def _read(path) -> tuple[dict[str, np.ndarray], dict]:
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = json.loads(file.metadata()["about"])
        intact = about["sha256"] == digest(arrays)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from error
    if not intact:
        raise ValueError(f"{str(path)!r} is damaged: its weights do not have their digest")
    return arrays, about


def _frozen(model):
    model.eval()
    model.requires_grad_(False)
    return model


def _path(folder, seed) -> Path:
    return Path(folder) / f"vault-{seed}.safetensors"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m elkutils.models.vault")
    parser.add_argument("action", choices=("train",))
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument(
        "--folder", type=Path, help="by default the package's own, or the cache"
    )
    options = parser.parse_args(arguments)
    world, plan = (
        World(),
        profiles.pick(quick=PredictorPlan(), book=PredictorPlan(), full=LARGE),
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = options.folder or (
        SHIPPED if plan == PredictorPlan() else cache_dir() / "predictors"
    )
    for seed in options.seeds:
        partial = cache_dir() / "predictors" / f"{profiles.active()}-{seed}.partial"
        model = train(world, plan, seed, partial, device, progress=True)
        predictor = _finish(model, world, plan, seed)
        save_predictor(predictor, folder)
        told = ", ".join(f"{name} {value:.4f}" for name, value in predictor.accuracy.items())
        print(f"seed {seed}: {told}")


if __name__ == "__main__":
    main()
