"""Frozen networks and what is read from them.

`load_model` returns a TransformerLens model, `activations` the residual stream at chosen hook
points and tokens, `sequences` that of all tokens as one row per text, `read_hidden_states` the
rows of what transformers returns, and `answers` the model's own answers about a statement. Only
this part of the package imports torch.
`elkutils.models.vault` has the predictors of the world in `elkutils.tasks.vault`.
"""

try:
    import torch as _torch  # noqa: F401
    import transformer_lens as _transformer_lens  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"elkutils.models needs {error.name}: in a clone of the book's repository, run "
        "pip install '.[models]'. The reporters work without it, on arrays of your own."
    ) from error

from elkutils.models.activations import activations, resid_post, sequences
from elkutils.models.answers import answer_log_odds, completion_log_prob, pmi
from elkutils.models.causal import CausalCheck, ablated, causal_check, steered
from elkutils.models.chat import Chats, chat_texts, in_spans
from elkutils.models.hidden_states import read_hidden_states
from elkutils.models.language import load_model, model_digest
from elkutils.models.store import store_activations
from elkutils.models.tokens import Spans, token_spans

__all__ = [
    "CausalCheck",
    "Chats",
    "Spans",
    "ablated",
    "activations",
    "answer_log_odds",
    "causal_check",
    "chat_texts",
    "completion_log_prob",
    "in_spans",
    "load_model",
    "model_digest",
    "pmi",
    "read_hidden_states",
    "resid_post",
    "sequences",
    "steered",
    "store_activations",
    "token_spans",
]
