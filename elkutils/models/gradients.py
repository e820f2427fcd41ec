"""The gradient kernel of a language model: products of gradients by all its weights.

A head w on the residual stream has the log odds w·h(x; θ). Gradients by θ have as many numbers
as the model has weights, but a linear layer's is a sum over tokens of its input times the
gradient by its output. So the product of two texts' gradients follows from the products of
their tokens' inputs and of their tokens' output gradients, and no gradient is ever formed:
Σₜₜ′ (aₜ·aₜ′)(gₜ·gₜ′) per layer. Norms and embeddings have the like. The kernel is that of
`inference.networks.pretrained` for a body prior of s = 1: each tensor counts with its mean
square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedModel

from elkutils.inference._checks import check_counts
from elkutils.models.activations import Enough, pad
from elkutils.models.language import EMBEDDED, embedded_folder

MEMORY = 2**30
BLOCK = 48  # texts whose tokens are multiplied with the first ones' at once
BATCH = 16  # texts per forward pass
FLOAT = 4


def gradient_kernel(
    network: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    layer: int,
    heads: np.ndarray,
    *,
    columns: int | None = None,
    memory: int = MEMORY,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel of the gradients of w·h, by the weights below and in one layer.

    h is the residual stream after the layer at the last token of each text.

    Parameters
    ----------
    network : PreTrainedModel
        A causal model of transformers, without hook points, whose layers stand in
        ``network.model.layers`` and which has its weights in linear layers, embeddings and
        norms, such as Llama's.
    sequences : sequence of n sequences of int
        Token ids of each text.
    layer : int
        From 0.
    heads : (h, d) array
        Weights w of heads on the raw residual stream; the kernel is the mean over them.
    columns : int or None
        Only the products with the first c texts are wanted, None for all n. Time grows with
        n·c, beside what the passes through the network take.
    memory : int
        Bytes for what is kept of the first c texts' tokens: the layers are taken in as many
        groups as that needs, and each repeats the forward pass. Model, kernel and 48 of the
        other texts come beside.
    progress : bool
        Show a bar.

    Returns
    -------
    across : (n, c) float64 array
        Σ over tensors of mean(W²)·⟨∂f/∂W, ∂f′/∂W⟩, of each text with the first c.
    own : (n,) float64 array
        That of each text with itself.

    Raises
    ------
    ValueError
        If the layer is not there, heads do not match its width, a text has no token, there are
        fewer texts than columns, or the model has weights in modules of another kind.
    """
    heads = torch.as_tensor(np.atleast_2d(heads), dtype=torch.float32)
    _check(network, sequences, layer, heads)
    n = len(sequences)
    columns = n if columns is None else columns
    check_counts(memory=memory, columns=columns)
    if columns > n:
        raise ValueError(f"columns is {columns}; there are only {n} texts")
    across, own = np.zeros((n, columns)), np.zeros(n)
    tokens = sum(map(len, sequences[:columns]))
    fired = _fired(network, sequences[0], layer)
    groups = list(_groups(fired, tokens, len(heads), memory))
    parts = [slice(columns), *(slice(b, b + BLOCK) for b in range(columns, n, BLOCK))]
    with tqdm(total=len(groups) * n, disable=not progress, unit="text") as bar:
        bar.set_description(f"kernel, {len(groups)} groups")
        for modules in groups:
            first = None
            for part in parts:
                found = _read(network, sequences[part], layer, heads, modules)
                first = found if first is None else first
                _add(across[part], own[part], found, first)
                bar.update(len(own[part]))
    return across / len(heads), own / len(heads)


def perturbed(
    network: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    layer: int,
    heads: np.ndarray,
    scales: Sequence[float],
    draws: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Return how w·h changes when the weights are moved at random: by the network itself.

    Each weight that `gradient_kernel` counts moves by s·rms(tensor)·z, with the same normal z
    for every s. The weights are put back at the end.

    Parameters
    ----------
    network, sequences, layer, heads
        As in `gradient_kernel`.
    scales : sequence of c floats
        Widths s, negative ones for the opposite direction.
    draws : int
        Directions.
    seed : int
    progress : bool
        Show a bar.

    Returns
    -------
    (draws, c, h, n) float64 array
    """
    heads = torch.as_tensor(np.atleast_2d(heads), dtype=torch.float32)
    _check(network, sequences, layer, heads)
    check_counts(draws=draws)
    weights = [w for m in _fired(network, sequences[0], layer) for w in m.parameters()]
    kept = [weight.detach().clone() for weight in weights]
    start = _values(network, sequences, layer, heads)
    found = np.empty((draws, len(scales), *start.shape))
    bar = tqdm(total=draws * len(scales), disable=not progress, unit="network")
    try:
        for draw, places in enumerate(found):
            noise = torch.Generator().manual_seed(int(seed) + 2**20 * draw)
            moves = [_root(w) * torch.randn(w.shape, generator=noise) for w in kept]
            for place, s in zip(places, scales, strict=True):
                with torch.no_grad():
                    for weight, old, move in zip(weights, kept, moves, strict=True):
                        weight.copy_(old + s * move)
                place[:] = _values(network, sequences, layer, heads) - start
                bar.update()
    finally:
        bar.close()
        with torch.no_grad():
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
    return found


def weights_below(network: PreTrainedModel, layer: int) -> int:
    """Return how many weights the residual stream after a layer depends on.

    Parameters
    ----------
    network : PreTrainedModel
        As in `gradient_kernel`.
    layer : int
        From 0.

    Raises
    ------
    ValueError
        If the network has no such layer.
    """
    _check_layer(network, layer)
    parts = (network.model.embed_tokens, *network.model.layers[: layer + 1])
    return sum(weight.numel() for part in parts for weight in part.parameters())


def load_network(name: str = EMBEDDED) -> PreTrainedModel:
    """Return an embedded model without hook points, in float32, frozen."""
    return (
        AutoModelForCausalLM.from_pretrained(embedded_folder(name)).eval().requires_grad_(False)
    )


def _values(network, sequences, layer, heads) -> np.ndarray:
    """w·h of every head and text, (h, n)."""
    parts = []
    with torch.no_grad():
        for begin in range(0, len(sequences), BATCH):
            batch = sequences[begin : begin + BATCH]
            stream = _run(network, batch, layer)
            ends = torch.tensor([len(ids) - 1 for ids in batch])
            parts.append(heads.double() @ stream[torch.arange(len(batch)), ends].double().T)
    return torch.cat(parts, dim=1).numpy()


@dataclass(frozen=True)
class _Seen:
    """What modules that read one input saw of some texts, token by token."""

    modules: list[nn.Module]
    inputs: torch.Tensor  # (tokens, in), or ids (tokens,)
    slopes: list[torch.Tensor]  # (tokens, heads · out) each, in root mean squares of the weight
    starts: np.ndarray  # of the texts, and the end


def _check(network, sequences, layer, heads) -> None:
    _check_layer(network, layer)
    width = network.config.hidden_size
    if heads.shape[1] != width:
        raise ValueError(f"heads has shape {tuple(heads.shape)}; it needs (h, {width})")
    if not sequences or not all(len(ids) for ids in sequences):
        raise ValueError("sequences holds a text without tokens, or none; each needs one token")


def _check_layer(network, layer) -> None:
    layers = getattr(getattr(network, "model", None), "layers", None)
    if layers is None:
        raise ValueError(
            f"network is a {type(network).__name__}; it needs its layers in model.layers"
        )
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer is {layer}; the model has layers 0 to {len(layers) - 1}")


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _fired(network, ids, layer) -> list[nn.Module]:
    """The modules that have weights of their own, in the order in which they run."""
    order, handles = [], []
    for name, module in network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):

            def note(module, args, output, name=name):
                if not (isinstance(module, nn.Linear | nn.Embedding) or _is_norm(module)):
                    raise ValueError(
                        f"network has weights in {name}, a {type(module).__name__}; only linear"
                        " layers, embeddings and norms are known here"
                    )
                order.append(module)

            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            _run(network, [ids], layer)
    finally:
        for handle in handles:
            handle.remove()
    return order


def _run(network, batch, layer) -> torch.Tensor:
    """The residual stream (texts, tokens, d) after a layer; nothing after it is computed."""
    kept = []

    def stop(module, args, output):
        kept.append(output[0] if isinstance(output, tuple) else output)
        raise Enough

    handle = network.model.layers[layer].register_forward_hook(stop)
    try:
        network(pad(batch, next(network.parameters()).device), use_cache=False)
    except Enough:
        pass
    finally:
        handle.remove()
    return kept[0]


def _groups(modules, tokens, heads, memory) -> Iterator[list[nn.Module]]:
    """Split the modules into runs of neighbours whose inputs and slopes fit into memory."""
    group, used = [], 0
    for module in modules:
        inward, outward = _sizes(module)
        size = FLOAT * tokens * (inward + heads * outward)
        if group and used + size > memory:
            yield group
            group, used = [], 0
        group.append(module)
        used += size
    yield group


def _sizes(module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.Embedding):
        return 2, module.embedding_dim
    return len(module.weight), len(module.weight)


def _read(network, sequences, layer, heads, modules) -> list[_Seen]:
    """Run the texts: what the modules saw, and the gradients by what they gave."""
    wanted, batches = {id(module) for module in modules}, []
    for begin in range(0, len(sequences), BATCH):
        batch = sequences[begin : begin + BATCH]
        batches.append(_read_batch(network, batch, layer, heads, wanted))
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in sequences])])
    found = []
    for i, (run, *_) in enumerate(batches[0]):
        inputs = torch.cat([batch[i][1] for batch in batches])
        slopes = [
            torch.cat(parts) for parts in zip(*(batch[i][2] for batch in batches), strict=True)
        ]
        for batch in batches:
            batch[i] = None  # as much memory again is not needed
        found.append(_Seen(run, inputs, slopes, starts))
    return found


def _read_batch(network, batch, layer, heads, wanted) -> list[tuple]:
    """Runs of modules with one input, in order: (modules, inputs, slopes of each)."""
    seen = []

    def note(module, args, output):
        if not output.requires_grad:
            output.requires_grad_()  # the graph begins here
        seen.append((module, args[0], output))

    handles = [m.register_forward_hook(note) for m in network.modules() if id(m) in wanted]
    try:
        with torch.enable_grad():
            stream = _run(network, batch, layer)
            ends = torch.tensor([len(ids) - 1 for ids in batch])
            values = stream[torch.arange(len(batch)), ends] @ heads.T.to(stream)
    finally:
        for handle in handles:
            handle.remove()
    real = torch.arange(stream.shape[1]) <= ends[:, None]
    slopes = [_slopes(values[:, i].sum(), seen) for i in range(len(heads))]
    runs, before = [], None
    for i, (module, inputs, output) in enumerate(seen):
        if inputs is not before or _is_norm(module):
            kept = output / module.weight if _is_norm(module) else inputs
            runs.append(([], kept.detach()[real].float(), []))
            before = None if _is_norm(module) else inputs
        modules, _, ours = runs[-1]
        modules.append(module)
        of_heads = torch.cat([each[i][real].float() for each in slopes], dim=1)
        ours.append(_root(module.weight) * of_heads)
    return runs


def _slopes(value, seen) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(value, [output for _, _, output in seen], retain_graph=True)


def _add(across, own, ours, theirs) -> None:
    """Add the modules' parts of the kernel of our texts with theirs, and with themselves."""
    for our, their in zip(ours, theirs, strict=True):
        if _is_norm(our.modules[0]):
            _add_rows(across, own, *(_scaled_rows(part) for part in (our, their)))
            continue
        _add_products(across, own, our, their)
        for i, module in enumerate(our.modules):
            if getattr(module, "bias", None) is not None:
                ratio = _root(module.bias) / _root(module.weight)
                rows = (ratio * _per_text(part.slopes[i], part.starts) for part in (our, their))
                _add_rows(across, own, *rows)


def _scaled_rows(seen) -> np.ndarray:
    """Gradients by the weights of a norm, (texts, heads · out)."""
    (slopes,) = seen.slopes
    heads = slopes.shape[1] // seen.inputs.shape[1]
    return _per_text(slopes * seen.inputs.repeat(1, heads), seen.starts)


def _add_rows(across, own, ours, theirs) -> None:
    across += ours @ theirs.T
    own += np.sum(ours**2, axis=1)


def _root(weight) -> float:
    return float(weight.detach().double().pow(2).mean().sqrt())


def _per_text(rows: torch.Tensor, starts) -> np.ndarray:
    return np.add.reduceat(rows.double().numpy(), starts[:-1], axis=0)


def _add_products(across, own, ours, theirs) -> None:
    """Add Σₜₜ′ (aₜ·aₜ′)(gₜ·gₜ′) of every text of ours with theirs, and with itself."""
    starts, columns = ours.starts, theirs.starts[:-1]
    rows, others = _factors(ours), _factors(theirs)
    for begin in range(0, len(own), BLOCK):
        end = min(len(own), begin + BLOCK)
        part = _products(_of_texts(rows, starts, begin, end), others).numpy()
        part = np.add.reduceat(part, columns, axis=1, dtype=np.float64)
        across[begin:end] += np.add.reduceat(part, starts[begin:end] - starts[begin], axis=0)
    for i in range(len(own)):
        itself = _of_texts(rows, starts, i, i + 1)
        own[i] += float(_products(itself, itself).sum(dtype=torch.float64))


def _factors(seen) -> tuple[torch.Tensor, torch.Tensor]:
    return seen.inputs, torch.cat(seen.slopes, dim=1)


def _of_texts(factors, starts, begin, end) -> list[torch.Tensor]:
    return [factor[int(starts[begin]) : int(starts[end])] for factor in factors]


def _products(ours, theirs) -> torch.Tensor:
    """(aₜ·aₜ′)(gₜ·gₜ′) of every pair of tokens."""
    (inputs, slopes), (others, steep) = ours, theirs
    if inputs.is_floating_point() and inputs.ndim == 2:
        found = inputs @ others.T
    else:
        found = (inputs[:, None] == others[None]).float()
    return found.mul_(slopes @ steep.T)
