"""Tiny random models and a tokenizer trained on a few sentences: no files, no network."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TEXTS = ["The city of Lyon is in France.", "The city of Oslo is in Peru.", "It is."]
LESSON = [*TEXTS, "The city of Lyon is in Peru. True or false? Answer: True False"] * 5


def tokenizer(bos=False, eos=False):
    """A byte-level BPE with <s> and </s>, set before and after a text if asked for."""
    core = Tokenizer(tokenizer_models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        LESSON,
        BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    if bos or eos:
        core.post_processor = TemplateProcessing(
            single=f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}",
            special_tokens=[("<s>", 0), ("</s>", 1)],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


SIZES = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def _seeded(kind, config, seed, scale):
    torch.manual_seed(seed)
    network = kind(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(scale)
    return network


def llama(seed=0, scale=5.0, **changes):
    config = LlamaConfig(**SIZES | {"max_position_embeddings": 64} | changes)
    return _seeded(LlamaForCausalLM, config, seed, scale)


def gpt2(seed=0, scale=5.0, **changes):
    sizes = {"vocab_size": 400, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 4}
    return _seeded(GPT2LMHeadModel, GPT2Config(**sizes | changes), seed, scale)


def both_ways(seed=0, scale=5.0):
    config = Gemma3TextConfig(
        **SIZES | {"head_dim": 4}, max_position_embeddings=64, use_bidirectional_attention=True
    )
    return _seeded(Gemma3ForCausalLM, config, seed, scale)


def capped(seed=0, scale=20.0):
    config = Gemma2Config(
        **SIZES | {"head_dim": 4}, max_position_embeddings=64, final_logit_softcapping=0.5
    )
    return _seeded(Gemma2ForCausalLM, config, seed, scale)


OLD = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
NEW = SIZES | {"max_position_embeddings": 64}
FAMILIES = {
    "GPT2": {"vocab_size": 400, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 4},
    "Mistral": NEW | {"head_dim": 4},
    "Mixtral": NEW | {"num_local_experts": 2},
    "Qwen2": NEW,
    "Qwen3": NEW | {"head_dim": 4},
    "Gemma": NEW | {"head_dim": 4},
    "Gemma2": NEW | {"head_dim": 4, "query_pre_attn_scalar": 4},
    "Phi": NEW,
    "Phi3": NEW | {"pad_token_id": 1},
    "GPTNeoX": OLD | {"intermediate_size": 32, "max_position_embeddings": 64},
    "OPT": OLD | {"ffn_dim": 32, "max_position_embeddings": 64, "word_embed_proj_dim": 16},
    "Bloom": {"vocab_size": 400, "hidden_size": 16, "n_layer": 2, "n_head": 4},
    "Falcon": OLD,
    "StableLm": NEW | {"partial_rotary_factor": 0.5},
    "Starcoder2": NEW,
    "Olmo2": NEW,
    "Nemotron": NEW,
    "Cohere": NEW,
    "Granite": NEW | {"logits_scaling": 3.0, "residual_multiplier": 0.5},
    "Mamba": {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
}


def family(name, **changes):
    """A tiny network of a family that transformers has, in evaluation mode."""
    config = getattr(transformers, f"{name}Config")(**FAMILIES[name] | changes)
    kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    return _seeded(getattr(transformers, kind), config, 0, 1.0).eval()
