"""What a model's numbers depend on: its weights, its configuration, its adapters, the versions.

`model_digest` identifies the weights; `reading_key` is everything else too, and makes the key
of what is kept.
"""

import hashlib
import json
import weakref
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

import torch
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

# Names, and what changes no number or stands elsewhere in the key.
_ASIDE = {"name", "name_or_path", "training", "device", "model_name", "tokenizer_name"}
_ASIDE |= {"default_prepend_bos", "tokenizer_prepends_bos", "tokenizer_appends_eos", "n_ctx"}
_ASIDE |= {"_name_or_path", "transformers_version"}
_LIBRARIES = {"transformer_lens", "transformers", "accelerate"}  # their hooks change nothing
_ADAPTER = ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling", "lora_alpha")


def model_digest(model: TransformerBridge) -> str:
    """Return a SHA-256 of every weight's name and value, as 16 hexadecimal digits.

    Where adapters are attached, which of them are active, merged and how they are scaled is
    part of it. It is kept per model, and made again only when a sum over each row of a weight
    is no longer what it was, or torch has recorded a change.
    """
    weights = _distinct(model.original_model.state_dict())
    seen = _fingerprint(weights)
    known = _digests.get(model)
    if known is None or known[0] != seen:
        known = _digests[model] = (seen, _sha256_of_weights(weights))
    adapters = _adapters(model)
    return _sha256(f"{known[1]} {adapters}")[:16] if adapters else known[1][:16]


def reading_key(model: TransformerBridge) -> dict:
    """Return what a model's numbers depend on, apart from its input, in JSON's types.

    Raises
    ------
    ValueError
        If the model, or a part of it, is in training mode, in which dropout is random.
    """
    check_evaluated(model)
    config = getattr(model.original_model, "config", None)
    config = config.to_dict() if hasattr(config, "to_dict") else config
    buffers = _distinct(dict(model.original_model.named_buffers()))
    parts = {
        "config": _text(config) if _is_plain(config) else repr(config),
        "attention": str(getattr(model.original_model.config, "_attn_implementation", None))
        if hasattr(model.original_model, "config")
        else "",
        "settings": _text({k: v for k, v in vars(model.cfg).items() if _is_plain(v)}),
        "modules": list(_modules(model)),
        "buffers": _sha256_of_weights(buffers),
    }
    device = next(model.original_model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        parts["autocast"] = str(torch.get_autocast_dtype(device))
    return {
        "model": model_digest(model),
        "state": _sha256(json.dumps(parts, sort_keys=True)),
        "dtype": str(model.cfg.dtype),
        "device": device,
        "matmul": torch.get_float32_matmul_precision(),
        "versions": versions(),
    }


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a forward pass's numbers."""
    return {name: version(name) for name in ("torch", "transformers", "transformer-lens")}


def is_hooked(model: TransformerBridge) -> bool:
    """Return whether something other than the libraries' own code computes in the model.

    These are hooks, on the model or on all modules, and replaced `forward` methods, on one
    module or on a class.
    """
    if any(map(_is_foreign, _everywhere())):
        return True
    for module in model.original_model.modules():
        if _is_patched(module):
            return True
        if isinstance(module, HookPoint):
            if module.fwd_hooks:
                return True
        elif any(map(_is_foreign, (*module._forward_hooks.values(), *_before(module)))):
            return True
    return any(point.fwd_hooks for point in model.hook_dict.values())


def check_evaluated(model: TransformerBridge) -> None:
    """Raise ValueError if a part of the model is in training mode."""
    if any(module.training for module in model.original_model.modules()):
        raise ValueError(
            "model is in training mode, in which dropout is random: call model.eval() first"
        )


_digests: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _before(module):
    return module._forward_pre_hooks.values()


def _everywhere():
    """The hooks that torch runs at every module."""
    shared = torch.nn.modules.module
    return (*shared._global_forward_hooks.values(), *shared._global_forward_pre_hooks.values())


def _is_patched(module: torch.nn.Module) -> bool:
    """Whether a module's `forward` is not the one that its class was written with."""
    own = vars(module).get("forward")
    if own is not None and _is_foreign(own):
        return True
    for kind in type(module).__mro__:
        if "forward" in vars(kind):
            return vars(kind)["forward"].__module__ != kind.__module__
    return False


def _is_foreign(hook) -> bool:
    return (getattr(hook, "__module__", None) or "").partition(".")[0] not in _LIBRARIES


def _distinct(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return each tensor once, by its name without the bridge's wrappers."""
    found, seen = {}, set()
    for name, weight in sorted(weights.items()):
        place = (weight.data_ptr(), weight.shape, weight.dtype)
        if place not in seen or not weight.data_ptr():
            seen.add(place)
            found[name.replace("_original_component.", "")] = weight
    return found


def _fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Hash what torch has recorded, and a sum over each row: .data escapes the record."""
    digest = hashlib.sha256()
    for name, weight in weights.items():
        told = getattr(weight, "_version", None) if not weight.is_inference() else None
        digest.update(f"{name} {weight.data_ptr()} {told} {weight.dtype}".encode())
        digest.update(_bytes(_row_sums(weight.detach())))
    return digest.hexdigest()


def _row_sums(weight: torch.Tensor) -> torch.Tensor:
    if weight.is_meta or weight.ndim < 2 or not weight.is_floating_point():
        return weight
    return weight.sum(-1, dtype=torch.float32 if weight.dtype.itemsize < 4 else None)


def _sha256_of_weights(weights: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(_bytes(weight.detach()))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor):
    if tensor.is_meta:
        return b""
    return tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy()


def _modules(model) -> Iterator[str]:
    """Describe each module by its class and its settings, such as an adapter's scale."""
    for name, module in model.original_model.named_modules():
        if not isinstance(module, HookPoint):
            kept = {k: v for k, v in vars(module).items() if _is_setting(k) and _is_plain(v)}
            own = "forward" in vars(module)  # replaced on this module alone
            yield f"{name} {type(module).__qualname__} {own} {_text(kept)}"


def _adapters(model) -> list[str]:
    """Describe the state of each adapted module; empty where none is."""
    return [
        f"{name} {_text({k: vars(module).get(k) for k in _ADAPTER})}"
        for name, module in model.original_model.named_modules()
        if "_disable_adapters" in vars(module)
    ]


def _is_setting(name: str) -> bool:
    return name in _ADAPTER or not (name.startswith("_") or name in _ASIDE)


def _is_plain(value) -> bool:
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        return True
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    return False


def _text(value) -> str:
    """Return the same text for the same plain value, in whatever order it was made."""
    if isinstance(value, dict):
        held = {str(k): _text(v) for k, v in value.items() if str(k) not in _ASIDE}
        return repr(sorted(held.items()))
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(_text, value)))
    if isinstance(value, (list, tuple)):
        return repr([_text(part) for part in value])
    return repr(value)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
