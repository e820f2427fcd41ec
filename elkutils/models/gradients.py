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
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedModel

from elkutils.inference._checks import check_counts
from elkutils.models.activations import Enough, pad
from elkutils.models.language import EMBEDDED, embedded_folder

MEMORY = 2**30
BLOCK = 48  # texts whose tokens are multiplied with all others at once
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
        Bytes for what is kept of all tokens: the layers are taken in as many groups as that
        needs, and each repeats the forward pass. Model, kernel and one batch come beside.
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
    found = np.zeros((n, columns)), np.zeros(n)
    tokens = sum(map(len, sequences))
    fired = _fired(network, sequences[0], layer)
    groups = list(_groups(fired, tokens, len(heads), memory))
    with tqdm(total=2 * len(groups) * len(sequences), disable=not progress, unit="text") as bar:
        for modules in groups:
            bar.set_description(f"kernel, {len(groups)} groups")
            kept = _read(network, sequences, layer, heads, modules, bar)
            _add(*found, kept, modules, [len(ids) for ids in sequences], bar)
    across, own = found
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


@dataclass
class _Kept:
    """What one module saw of all texts, token by token."""

    inputs: list[torch.Tensor] = field(default_factory=list)  # (tokens, in) or ids (tokens,)
    slopes: list[torch.Tensor] = field(default_factory=list)  # (heads, tokens, out)


def _check(network, sequences, layer, heads) -> None:
    layers = getattr(getattr(network, "model", None), "layers", None)
    if layers is None:
        raise ValueError(
            f"network is a {type(network).__name__}; it needs its layers in model.layers"
        )
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer is {layer}; the model has layers 0 to {len(layers) - 1}")
    width = network.config.hidden_size
    if heads.shape[1] != width:
        raise ValueError(f"heads has shape {tuple(heads.shape)}; it needs (h, {width})")
    if not sequences or not all(len(ids) for ids in sequences):
        raise ValueError("sequences holds a text without tokens, or none; each needs one token")


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


def _read(network, sequences, layer, heads, modules, bar) -> dict[nn.Module, _Kept]:
    """Run all texts, and keep what the modules saw and the gradients by what they gave."""
    kept = {module: _Kept() for module in modules}
    wanted = {id(module) for module in modules}
    for begin in range(0, len(sequences), BATCH):
        batch, seen = sequences[begin : begin + BATCH], []

        def note(module, args, output, seen=seen):
            if not output.requires_grad:
                output.requires_grad_()  # the graph begins here
            seen.append((module, args[0].detach(), output))

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
        for i, (module, inputs, output) in enumerate(seen):
            if _is_norm(module):
                inputs = output.detach() / module.weight
            kept[module].inputs.append(inputs[real].float())
            kept[module].slopes.append(torch.stack([s[i][real].float() for s in slopes]))
        bar.update(len(batch))
    return kept


def _slopes(value, seen) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(value, [output for _, _, output in seen], retain_graph=True)


def _add(across, own, kept, modules, lengths, bar) -> None:
    """Add the modules' parts of the kernel; those with the same input share its products."""
    starts, total = np.concatenate([[0], np.cumsum(lengths)]), len(modules)
    while modules:
        module, *rest = modules
        inputs, shared = torch.cat(kept[module].inputs), [module]
        while rest and _same(kept[module], kept[rest[0]], module, rest[0]):
            shared.append(rest.pop(0))
        slopes = [_flat(m, kept.pop(m)) for m in shared]
        if _is_norm(module):
            heads = slopes[0].shape[1] // inputs.shape[1]
            _add_rows(across, own, _per_text(slopes[0] * inputs.repeat(1, heads), starts))
        else:
            _add_products(across, own, inputs, torch.cat(slopes, dim=1), starts)
            for m, slope in zip(shared, slopes, strict=True):
                if getattr(m, "bias", None) is not None:
                    rows = _per_text(slope, starts)
                    rows *= _root(m.bias) / _root(m.weight)
                    _add_rows(across, own, rows)
        bar.update(len(lengths) * (len(modules) - len(rest)) / total)
        modules = rest


def _add_rows(across, own, rows) -> None:
    across += rows @ rows[: across.shape[1]].T
    own += np.sum(rows**2, axis=1)


def _same(one, other, module, neighbour) -> bool:
    """Whether two linear layers read the same input."""
    both = isinstance(module, nn.Linear) and isinstance(neighbour, nn.Linear)
    return both and all(
        a.shape == b.shape and torch.equal(a, b)
        for a, b in zip(one.inputs, other.inputs, strict=True)
    )


def _flat(module, kept) -> torch.Tensor:
    """Slopes (tokens, heads · out), in root mean squares of the module's weights."""
    slopes = torch.cat(kept.slopes, dim=1)  # (heads, tokens, out)
    return _root(module.weight) * slopes.movedim(0, 1).flatten(1)


def _root(weight) -> float:
    return float(weight.detach().double().pow(2).mean().sqrt())


def _per_text(rows: torch.Tensor, starts) -> np.ndarray:
    return np.add.reduceat(rows.double().numpy(), starts[:-1], axis=0)


def _add_products(across, own, inputs, slopes, starts) -> None:
    """Add Σₜₜ′ (aₜ·aₜ′)(gₜ·gₜ′) of every text with the first ones, and with itself."""
    n, columns = across.shape
    first = slice(0, int(starts[columns]))
    for begin in range(0, n, BLOCK):
        end = min(n, begin + BLOCK)
        ours = slice(int(starts[begin]), int(starts[end]))
        part = _products(inputs, slopes, ours, first).numpy()
        part = np.add.reduceat(part, starts[:columns], axis=1, dtype=np.float64)
        across[begin:end] += np.add.reduceat(part, starts[begin:end] - starts[begin], axis=0)
    for i in range(n):
        itself = slice(int(starts[i]), int(starts[i + 1]))
        own[i] += float(_products(inputs, slopes, itself, itself).sum(dtype=torch.float64))


def _products(inputs, slopes, ours, theirs) -> torch.Tensor:
    """(aₜ·aₜ′)(gₜ·gₜ′) of every pair of tokens."""
    if inputs.is_floating_point() and inputs.ndim == 2:
        found = inputs[ours] @ inputs[theirs].T
    else:
        found = (inputs[ours, None] == inputs[None, theirs]).float()
    return found.mul_(slopes[ours] @ slopes[theirs].T)
