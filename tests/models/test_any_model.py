"""Any model: objects, folders, GGUF files of several families, packaged pieces; or an error."""

import hashlib
import json

import gguf
import numpy as np
import pytest
import tiny_models as tiny
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from elkutils.models import (
    activations,
    answer_log_odds,
    language,
    load_model,
    model_digest,
    resid_post,
)
from elkutils.models.language import encode
from elkutils.models.tokens import bare_ids, encode_all

TEXT = "The city of Lyon is in Peru."


def logits(model, text="It is."):
    ids = torch.tensor([encode(model, text)["input_ids"]])
    with torch.inference_mode():
        return model(ids)[0].float().numpy()


def save(network, folder, tokenizer=None):
    network.save_pretrained(folder)
    (tokenizer or tiny.tokenizer()).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2, tiny.capped])
def test_an_object_a_folder_and_a_bridge_are_the_same_model(make, tmp_path, monkeypatch):
    folder = save(make(), tmp_path / "model")
    network = make().eval()
    with torch.inference_mode():
        ids = torch.tensor([tiny.tokenizer()("It is.")["input_ids"]])
        expected = network(ids).logits[0].numpy()
    one = load_model(network, tokenizer=tiny.tokenizer())
    two = load_model(folder, device="cpu")
    monkeypatch.setenv("HOME", str(tmp_path))
    for model in (one, two, load_model(two), load_model("~/model", device="cpu")):
        np.testing.assert_allclose(logits(model), expected, atol=1e-4)
        assert not model.training
        assert not any(weight.requires_grad for weight in model.parameters())
    assert model_digest(one) == model_digest(two)


def test_an_object_keeps_its_precision_and_finds_its_tokenizer(tmp_path):
    save(tiny.llama(), tmp_path, tiny.tokenizer(bos=True))
    network = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    model = load_model(network)
    assert model.cfg.dtype == network.dtype == torch.bfloat16
    assert encode(model, "It is.")["input_ids"][0] == 0
    again = load_model(tmp_path, device="cpu", dtype=torch.float16)
    assert again.cfg.dtype == torch.float16


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_answers_as_in_transformers(family, tmp_path):
    network = tiny.family(family)
    ids = torch.tensor([tiny.tokenizer()(TEXT)["input_ids"]])
    with torch.inference_mode():
        expected = network(ids, output_hidden_states=True)
    model = load_model(save(network, tmp_path / "model"), device="cpu")
    found = expected.logits[0].numpy()
    np.testing.assert_allclose(logits(model, TEXT), found, atol=1e-5 * np.abs(found).max())
    (hook,) = resid_post(model, [0])
    X = activations(model, ["It is.", TEXT], [hook], "last", cache=False, progress=False)[hook]
    after = expected.hidden_states[0 if family == "Mamba" else 1][0, -1].numpy()
    np.testing.assert_allclose(X[1], after, atol=1e-5 * np.abs(after).max())


def test_a_network_that_hook_points_change_is_refused():
    """A rotation of one of four dimensions, which TransformerLens applies to other ones."""
    network = tiny.family("StableLm", partial_rotary_factor=0.25)
    with pytest.raises(ValueError, match=r"StableLmForCausalLM that .* otherwise than transf"):
        load_model(network, tokenizer=tiny.tokenizer())


def _write_gguf(path, architecture="llama", network=None, starts=None):
    """Write a tiny network as a GGUF, weights in float32, with its tokenizer."""
    network, tokenizer = network or tiny.llama(), tiny.tokenizer()
    config, core = network.config, tokenizer.backend_tokenizer
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 4 * config.hidden_size))
    writer.add_head_count(4)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(2)
        writer.add_rope_freq_base(10000.0)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        width = getattr(config, "head_dim", 4)
        writer.add_key_length(width)
        writer.add_value_length(width)
    writer.add_vocab_size(config.vocab_size)
    vocabulary = core.get_vocab()
    words = sorted(vocabulary, key=vocabulary.get)
    words += [f"<unused{i}>" for i in range(config.vocab_size - len(words))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in ("<s>", "</s>") else 1 for word in words])
    merges = json.loads(core.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    if starts is not None:
        writer.add_add_bos_token(starts)
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    kind = kinds.get(architecture, gguf.MODEL_ARCH.LLAMA)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, weight in network.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        place = names.get_name(name, try_suffixes=(".weight", ".bias"))
        array = weight.numpy().copy()
        if architecture == "gpt2" and "c_" in name and array.ndim == 2:  # (in, out) there
            array = array.T.copy()
        if architecture.startswith("gemma") and "norm" in name:  # 1 + w there
            array = array + 1
        if name.endswith(("q_proj.weight", "k_proj.weight")) and architecture == "llama":
            heads = 4 if "q_proj" in name else 2
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2)
            array = array.reshape(weight.shape).copy()
        writer.add_tensor(place, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_and_its_folder_are_read(own_cache, tmp_path):
    (tmp_path / "some").mkdir()
    path = _write_gguf(tmp_path / "some" / "tiny.gguf")
    expected = logits(load_model(tiny.llama(), tokenizer=tiny.tokenizer()))
    for name in (path, str(path), path.parent):
        np.testing.assert_allclose(logits(load_model(name, device="cpu")), expected, atol=1e-4)
    assert len(list(own_cache.glob("models/tiny-*/complete"))) == 1
    (tmp_path / "some" / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"folder with 2 GGUF files.*other\.gguf, tiny\.gguf"):
        load_model(path.parent)


@pytest.mark.parametrize("starts", [True, False])
def test_a_gguf_says_whether_texts_begin_with_a_start_token(
    own_cache, tmp_path, monkeypatch, starts
):
    """Whatever the tokenizer does that transformers makes of it; the user's own wins."""
    path = _write_gguf(tmp_path / "tiny.gguf", starts=starts)
    read = language.AutoTokenizer.from_pretrained

    def heedless(source, gguf_file=None, **options):
        return tiny.tokenizer(bos=not starts) if gguf_file else read(source, **options)

    monkeypatch.setattr(language.AutoTokenizer, "from_pretrained", heedless)
    bare = bare_ids(tiny.tokenizer(), TEXT)
    for _ in range(2):  # converted, then from the cache
        model = load_model(path, device="cpu")
        assert encode_all(model, "texts", [TEXT])[0].ids == [0] * starts + bare
    for own in (True, False):
        model = load_model(path, device="cpu", tokenizer=tiny.tokenizer(bos=own))
        assert encode_all(model, "texts", [TEXT])[0].ids == [0] * own + bare


@pytest.mark.parametrize(
    ("architecture", "name", "changes"),
    [  # sizes that transformers does not read from the file have to be its own
        ("gpt2", "GPT2", {"n_positions": 1024}),
        ("qwen2", "Qwen2", {}),
        ("qwen3", "Qwen3", {"head_dim": 128}),
        ("gemma2", "Gemma2", {"query_pre_attn_scalar": 256}),
    ],
)
def test_gguf_files_of_other_families_are_read(
    own_cache, tmp_path, architecture, name, changes
):
    network = tiny.family(name, **changes)
    path = _write_gguf(tmp_path / "tiny.gguf", architecture, network)
    with torch.inference_mode():
        expected = network(torch.tensor([tiny.tokenizer()(TEXT)["input_ids"]])).logits[0]
    given = {}
    if name == "Gemma2":  # whose tokenizer is of another kind than the one that was written
        with pytest.raises(ValueError, match=r"tokenizer cannot encode .* give tokenizer="):
            load_model(path, device="cpu")
        given = {"tokenizer": tiny.tokenizer()}
    found = logits(load_model(path, device="cpu", **given), TEXT)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_a_gguf_with_sizes_that_transformers_does_not_read_is_refused(own_cache, tmp_path):
    path = _write_gguf(tmp_path / "tiny.gguf", "gpt2", tiny.family("GPT2"))
    with pytest.raises(ValueError, match=r"tiny\.gguf', a GGUF file that transformers cannot"):
        load_model(path, device="cpu")


def test_a_gguf_that_transformers_cannot_read_is_named(own_cache, tmp_path):
    strange = _write_gguf(tmp_path / "strange.gguf", "nosuchfamily")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nonsense")
    for path in (strange, broken):
        with pytest.raises(ValueError, match=rf"{path.name}', a GGUF file that transformers"):
            load_model(path)
    assert not list(own_cache.glob("models/*/complete"))


def test_the_packaged_file_by_its_path_is_the_embedded_model():
    assert (
        language._from_gguf(language._gguf(), torch.float32, None)[0].config.hidden_size == 576
    )


def test_packaged_weights_may_come_in_pieces(own_cache, tmp_path, monkeypatch):
    whole = _write_gguf(tmp_path / "whole.gguf").read_bytes()
    pieces = []
    for i, part in enumerate((whole[:5000], whole[5000:])):
        package = tmp_path / f"tiny_piece_{i}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "part.bin").write_bytes(part)
        pieces.append((package.name, "part.bin"))
    monkeypatch.syspath_prepend(tmp_path)
    about = language.Packaged("tiny", "tiny==1", tuple(pieces), "0" * 64, "MIT")
    monkeypatch.setitem(language.PACKAGED, "tiny", about)
    with pytest.raises(FileNotFoundError, match=r"digest.*tiny==1"):
        load_model("tiny")
    right = hashlib.sha256(whole).hexdigest()
    about = language.Packaged("tiny", "tiny==1", tuple(pieces), right, "MIT")
    monkeypatch.setitem(language.PACKAGED, "tiny", about)
    expected = logits(load_model(tiny.llama(), tokenizer=tiny.tokenizer()))
    np.testing.assert_allclose(logits(load_model("tiny", device="cpu")), expected, atol=1e-4)
    (tmp_path / "tiny_piece_1" / "part.bin").unlink()
    monkeypatch.setenv("ELKUTILS_CACHE", str(tmp_path / "other"))
    with pytest.raises(FileNotFoundError, match=r"part\.bin is missing.*tiny==1"):
        load_model("tiny")


def test_every_packaged_model_states_its_licence():
    for name, about in language.PACKAGED.items():
        assert name == name.lower()
        assert about.licence
        assert len(about.sha256) == 64


def test_paths_that_hold_no_model_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.gguf").write_text("no model")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for name, told in {
        tmp_path / "empty": "without config.json",
        tmp_path / "text.gguf": "no GGUF",
        tmp_path / "broken": "cannot be read",
        tmp_path / "nowhere": "no such file or folder",
        str(tmp_path / "nowhere.gguf"): "no such file or folder",
        "~/nowhere": "no such file or folder",
    }.items():
        with pytest.raises(ValueError, match=rf"name is '.*{told}"):
            load_model(name)


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    network = tiny.llama()
    network.model.save_pretrained(tmp_path)  # without its output layer
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lack.*would be random, such as lm_head"):
        load_model(tmp_path)


def test_objects_that_are_no_causal_model_are_named():
    sizes = {"d_model": 8, "d_ff": 8, "d_kv": 4, "num_heads": 2, "num_layers": 1}
    config = T5Config(vocab_size=400, decoder_start_token_id=0, **sizes)
    bert = BertConfig(vocab_size=400, hidden_size=8, num_attention_heads=2, intermediate_size=8)
    given = {"tokenizer": tiny.tokenizer()}
    for network, told in {
        T5ForConditionalGeneration(config): "encoder with a decoder",
        LlamaModel(tiny.llama().config): "without an output layer",
        BertModel(bert): "without an output layer",
        torch.nn.Linear(2, 2): "a Linear",
    }.items():
        with pytest.raises(ValueError, match=told):
            load_model(network, **given)
    wrapped = tiny.llama()
    load_model(wrapped, **given)
    with pytest.raises(ValueError, match="has hook points already"):
        load_model(wrapped, **given)
    with pytest.raises(ValueError, match="tokenizer is None"):
        load_model(tiny.llama())
    few = load_model(tiny.llama(vocab_size=260), **given)
    with pytest.raises(ValueError, match=r"token \d+ in row 0.*the model has 260 tokens"):
        answer_log_odds(few, ["The city of Lyon."], cache=False, progress=False)
    with pytest.raises(ValueError, match="name is a int"):
        load_model(3)


def test_an_unknown_device_is_refused():
    for device in ("gpu", "cuda:99"):
        with pytest.raises(ValueError, match=f"device is '{device}'"):
            load_model(tiny.llama(), device, tokenizer=tiny.tokenizer())


def test_the_models_tokenizer_is_a_copy_and_sets_what_its_own_does():
    tokenizer = tiny.tokenizer()
    model = load_model(tiny.llama(), tokenizer=tokenizer)
    before = bare_ids(model.tokenizer, "city of")
    tokenizer.add_tokens(["city of"])
    assert bare_ids(model.tokenizer, "city of") == before
    assert model.tokenizer("It is.") == tiny.tokenizer()("It is.")
