"""Activations written to disk as they come, for more texts or tokens than memory holds.

A store is a folder with one ``.npy`` file per hook point, to be read as a memory map, and
``index.json``, which says what they are and how far the run has come.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils._inputs import check_counts
from elkutils.files import atomic_path, written_path
from elkutils.models.activations import activations
from elkutils.models.state import is_hooked, reading_key
from elkutils.models.tokens import encode_all, text_list
from elkutils.source import Activations, Source

INDEX = "index.json"


def store_activations(
    folder: str | Path,
    model: TransformerBridge,
    texts: Sequence[str],
    hook_points: Sequence[str],
    position: str | int | Sequence = "all",
    block: int = 512,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, Activations]:
    """Write the activations of texts to a folder, a block of texts at a time.

    A run that was interrupted goes on where it was when it is called again with the same
    arguments; a finished one is opened. Memory holds one block.

    Parameters
    ----------
    folder : str or Path
        New or empty, or of the same run before.
    model, texts, hook_points, position, batch_size
        As in `elkutils.models.activations`; a model with hooks of your own is refused.
    block : int
        Texts read, and then written, at once.
    progress : bool
        Show how many texts are done.

    Returns
    -------
    dict of str to (n, d) float32 array
        Memory maps that know their source, read-only: reporters take them as they are, and
        score them in blocks. With "all" a row per token, see `elkutils.models.token_spans`.

    Raises
    ------
    ValueError
        As `activations` does; or if the folder holds another run, or files that it did not
        make.

    Examples
    --------
    ::

        [hook] = resid_post(model, [14])
        X = store_activations("store", model, texts, [hook], "last")[hook]
        reporter = LogisticMAP("evidence").fit(X, y)
    """
    texts, hook_points = text_list("texts", texts), text_list("hook_points", hook_points)
    check_counts(block=block)
    if is_hooked(model):
        raise ValueError(
            "model has hooks or forward methods of your own, which a store cannot tell apart:"
            " take them off, or use activations"
        )
    folder = written_path(folder)
    encoded = encode_all(model, "texts", texts)
    one_rule = isinstance(position, (str, int))
    about = reading_key(model) | {
        "hook_points": hook_points,
        "position": position if one_rule else np.asarray(position).tolist(),
        "tokens": [tokens.ids for tokens in encoded],
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    each = position == "all" if one_rule else False
    counts = [len(t.ids) - t.start - t.end if each else 1 for t in encoded]
    ends = np.append(0, np.cumsum(counts))
    index = _index(folder, digest)
    bar = tqdm(total=len(texts), initial=index["texts"], unit="text", disable=not progress)
    with bar:
        for first in range(index["texts"], len(texts), block):
            stop = min(first + block, len(texts))
            found = activations(
                model,
                texts[first:stop],
                hook_points,
                position if one_rule else position[first:stop],
                batch_size,
                cache=False,
                progress=False,
            )
            for number, rows in enumerate(found.values()):
                file = _file(folder, number, (int(ends[-1]), rows.shape[1]))
                file[ends[first] : ends[stop]] = rows
                file.flush()
            index["texts"] = stop
            index["sources"] = [asdict(rows.source) for rows in found.values()]
            _write(folder, index)
            bar.update(stop - first)
    return {
        name: Activations.of(np.load(_path(folder, i), mmap_mode="r"), Source(**source))
        for i, (name, source) in enumerate(
            zip(dict.fromkeys(hook_points), index["sources"], strict=True)
        )
    }


def _index(folder: Path, digest: str) -> dict:
    """Return what has been done in a folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index.get("digest") == digest:
            return index
        raise ValueError(
            f"folder is {str(folder)!r}, which holds activations of another model, of other"
            " texts, hook points or positions: choose another folder, or empty it"
        )
    others = sorted(path.name for path in folder.iterdir())
    if others:
        raise ValueError(
            f"folder is {str(folder)!r}, which holds {', '.join(others[:3])}; it has to be new"
            " or empty"
        )
    index = {"digest": digest, "texts": 0, "sources": []}
    _write(folder, index)
    return index


def _write(folder: Path, index: dict) -> None:
    with atomic_path(folder / INDEX) as fresh:
        fresh.write_text(json.dumps(index), encoding="utf-8")


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number}.npy"


def _file(folder: Path, number: int, shape: tuple[int, int]) -> np.memmap:
    """Return a hook point's file to write to, made in its full size at first."""
    path = _path(folder, number)
    if path.exists():
        return np.load(path, mmap_mode="r+")
    with atomic_path(path) as fresh:
        np.lib.format.open_memmap(fresh, "w+", np.float32, shape).flush()
    return np.load(path, mmap_mode="r+")
