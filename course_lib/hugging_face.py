"""Hugging Face: the weights of other people's models, carried into ours.

B batch · T tokens · D d_model · H heads · F d_ff · V vocab_size

A mapping is strict. Each weight of theirs is taken exactly once, each of ours is filled, every shape must fit, and a
choice of theirs that ours does not know is refused by name: better no model than one that is nearly right.

`from_hugging_face` takes models of `transformers`, or names them and loads them; `from_torch` the layers of torch.nn;
`from_d2l` the models of Dive into Deep Learning. What they return has weights of its own: training it does not touch
the reference.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from course_lib.attention import MultiHeadAttention
from course_lib.bert import (
    BERT,
    BERTClassifier,
    BERTConfig,
    BERTForMaskedLM,
    BERTForPretraining,
    BERTForQuestionAnswering,
    MaskedLanguageHead,
)
from course_lib.embeddings import TokenEmbedding
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import Activation, DecoderBlock, EncoderBlock
from course_lib.positions import SinusoidalPositions
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.transformer import Decoder, Encoder, Transformer, TransformerConfig
from course_lib.vit import ViT, ViTConfig
from course_lib.xlnet import (
    XLNet,
    XLNetClassifier,
    XLNetConfig,
    XLNetForQuestionAnswering,
    XLNetLM,
)

# What theirs call an activation, and what ours do.
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}

# The models of transformers that ours can take the weights of.
MODELS = (
    "MarianMTModel",
    "GPT2Model",
    "GPT2LMHeadModel",
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForQuestionAnswering",
    "RobertaModel",
    "RobertaForMaskedLM",
    "RobertaForSequenceClassification",
    "RobertaForQuestionAnswering",
    "XLNetModel",
    "XLNetLMHeadModel",
    "XLNetForSequenceClassification",
    "XLNetForQuestionAnsweringSimple",
    "ViTModel",
    "ViTForImageClassification",
)


def from_hugging_face(model: str | Path | nn.Module) -> nn.Module:
    """Return our form of a model of Hugging Face's `transformers`, with the same weights.

    | ours | theirs |
    |---|---|
    | `Transformer` | `MarianMTModel` |
    | `GPT` | `GPT2Model`, `GPT2LMHeadModel` |
    | `BERT` | `BertModel`, `RobertaModel` |
    | `BERTForPretraining` | `BertForPreTraining` |
    | `BERTForMaskedLM` | `BertForMaskedLM`, `RobertaForMaskedLM` |
    | `BERTClassifier` | `BertForSequenceClassification`, `BertForNextSentencePrediction`, the former of RoBERTa |
    | `BERTForQuestionAnswering` | `BertForQuestionAnswering`, `RobertaForQuestionAnswering` |
    | `XLNet`, `XLNetLM` | `XLNetModel`, `XLNetLMHeadModel` |
    | `XLNetClassifier`, `XLNetForQuestionAnswering` | `XLNetForSequenceClassification`, `…QuestionAnsweringSimple` |
    | `ViT` | `ViTModel`, `ViTForImageClassification` |

    What a `ViT` made of a `ViTModel` returns is not logits but what theirs calls `pooler_output`, or, without a pooler,
    the first vector. Marian begins a translation with the id of padding, `config.pad_id`.

    Args:
        model: one of the above; or the name of one on the hub ("bert-base-uncased", "gpt2"), or a folder that
            `save_pretrained` wrote. Of these, only weights in the safetensors format are read, never a pickle.

    Returns:
        Ours, of the same dtype, on the same device and in the same mode.

    Raises:
        ValueError: any other model, a choice in its config that ours does not know, or weights that do not fit.
        OSError: the name is no folder, there is no copy of it on this machine, and it cannot be fetched.
        ImportError: a name is given and `transformers` is not installed.
    """
    if isinstance(model, str | Path):
        model = _load(model)
    kind = type(model).__name__ if type(model).__module__.startswith("transformers.models.") else ""
    if kind not in MODELS:
        raise ValueError(
            f"from_hugging_face: model must be a name, a folder or one of {', '.join(MODELS)}; got a "
            f"{type(model).__name__}"
        )
    with torch.random.fork_rng(devices=[]):  # ours is drawn at random before it is filled
        if kind == "MarianMTModel":
            return _marian(model)
        if kind.startswith("GPT2"):
            return _gpt(model)
        if kind.startswith("XLNet"):
            return _xlnet(model, kind)
        if kind.startswith("ViT"):
            return _vit(model, kind)
        return _bert(model, kind)


def from_torch(module: nn.Module) -> nn.Module | tuple[Encoder, Decoder]:
    """Return our form of a layer of torch.nn, with the same weights.

    | theirs | ours |
    |---|---|
    | `nn.MultiheadAttention` | `MultiHeadAttention` |
    | `nn.TransformerEncoderLayer`, `nn.TransformerDecoderLayer` | `EncoderBlock`, `DecoderBlock` |
    | `nn.TransformerEncoder`, `nn.TransformerDecoder` | `Encoder`, `Decoder` |
    | `nn.Transformer` | an `Encoder` and a `Decoder` |

    Ours are batch first whatever theirs are, and a mask is True where theirs is False. Where theirs have no biases,
    ours get zeros that do not learn. Ours have no dropout inside the feed-forward network: with dropout, the two are
    equal in evaluation mode alone.

    Args:
        module: one of the above.

    Returns:
        Ours, of the same dtype, on the same device and in the same mode.

    Raises:
        ValueError: any other module, or a choice of theirs that ours does not know.
    """
    with torch.random.fork_rng(devices=[]):  # ours is drawn at random before it is filled
        return _from_torch(module)


def _from_torch(module: nn.Module) -> nn.Module | tuple[Encoder, Decoder]:
    kind = type(module)
    if kind is nn.MultiheadAttention:
        return _attention_of_torch(cast(nn.MultiheadAttention, module))
    if kind is nn.TransformerEncoderLayer or kind is nn.TransformerDecoderLayer:
        return _block_of_torch(module)
    if kind is nn.TransformerEncoder or kind is nn.TransformerDecoder:
        return _stack_of_torch(module)
    if kind is nn.Transformer:
        whole = cast(nn.Transformer, module)
        for part in (whole.encoder, whole.decoder):
            if type(part) not in (nn.TransformerEncoder, nn.TransformerDecoder):
                raise ValueError(f"from_torch: nn.Transformer holds a custom part, {type(part).__name__}")
        return cast(Encoder, _stack_of_torch(whole.encoder)), cast(Decoder, _stack_of_torch(whole.decoder))
    raise ValueError(
        "from_torch: module must be an nn.MultiheadAttention, TransformerEncoderLayer, TransformerDecoderLayer, "
        f"TransformerEncoder, TransformerDecoder or Transformer, got a {kind.__name__}"
    )


def from_d2l(model: nn.Module, *, pad_id: int = 0) -> Any:
    """Return our form of a model of Dive into Deep Learning (d2l), with the same weights.

    Its `TransformerEncoder` becomes a `TokenEmbedding`, `SinusoidalPositions` and an `Encoder`, to be called one after
    the other. Its `BERTModel` becomes a `BERTForPretraining`, of which what d2l leaves out is left out too: there is no
    norm and no dropout after the sum of embeddings, and the head scores words against a table of its own.

    Theirs hides padding by the lengths of the rows, ours by a mask or by `pad_id`. Where theirs have no biases (the
    default of the encoder's attention), ours get zeros that do not learn.

    Args:
        model: one of the two, called once or more: d2l makes its weights in the first call.
        pad_id: the id of the padding in the vocabulary of a `BERTModel`.

    Returns:
        Ours, of the same dtype, on the same device and in the same mode.

    Raises:
        ValueError: any other model, or one whose weights were not made yet.
    """
    kind = type(model).__name__ if type(model).__module__ == "d2l.torch" else ""
    if kind not in ("TransformerEncoder", "BERTModel"):
        raise ValueError(
            f"from_d2l: model must be d2l's TransformerEncoder or BERTModel, got a {type(model).__name__}"
        )
    with torch.random.fork_rng(devices=[]):
        return _encoder_of_d2l(model) if kind == "TransformerEncoder" else _bert_of_d2l(model, pad_id)


class _Transfer:
    """Carry the weights of a reference to their places in ours: each is taken once, each place is filled.

    Args:
        who: the function that asks, for messages.
        reference: their model.
    """

    def __init__(self, who: str, reference: nn.Module):
        self.who, self.reference = who, reference
        self.all = dict(reference.state_dict())
        self.left = dict(self.all)  # what was not taken yet
        self.ours: dict[str, Tensor] = {}
        self.fixed: list[str] = []  # places in ours for which theirs have no weight
        if any(is_lazy(weight) for weight in self.all.values()):
            raise ValueError(f"{who}: the weights were not made yet; call the model once")
        kinds = {(weight.dtype, weight.device) for weight in self.all.values()}
        if len(kinds) != 1 or not next(iter(kinds))[0].is_floating_point:
            got = sorted(f"{dtype} on {device}" for dtype, device in kinds)
            raise ValueError(f"{who}: all weights must be of one floating dtype, on one device; got {got}")
        ((self.dtype, self.device),) = kinds
        if self.device.type == "meta":
            raise ValueError(f"{who}: the weights are on the device 'meta', where there are no numbers")

    def take(self, name: str) -> Tensor:
        """Take one weight of theirs."""
        if name not in self.left:
            raise ValueError(f"{self.who}: {type(self.reference).__name__} has no weight {name!r} to take")
        return self.left.pop(name)

    def move(self, theirs: str, ours: str) -> None:
        """Take one weight of theirs to its place in ours."""
        self.ours[ours] = self.take(theirs)

    def move_maps(self, theirs: str, ours: str, names: Mapping[str, str]) -> None:
        """Take weight and bias of maps and norms, theirs → ours, to their places."""
        for name, place in names.items():
            self.move(f"{theirs}{name}.weight", f"{ours}{place}.weight")
            if f"{theirs}{name}.bias" in self.left:
                self.move(f"{theirs}{name}.bias", f"{ours}{place}.bias")
            else:
                self.fixed.append(f"{ours}{place}.bias")

    def check_tied(self, theirs: str, like: str) -> Tensor:
        """Take what must be another name of `like`: the same numbers in the same memory, and no copy."""
        weight, known = self.take(theirs), self.all[like]
        if weight.data_ptr() != known.data_ptr() or weight.shape != known.shape:
            raise ValueError(f"{self.who}: {theirs} and {like} are two; in ours they are one")
        return weight

    def move_tied(self, theirs: str, ours: str, like: str) -> None:
        """The same, and take it to its place in ours."""
        self.ours[ours] = self.check_tied(theirs, like)

    def into(self, model: nn.Module) -> Any:
        """Fill our model; refuse if anything is left over on either side."""
        if self.left:
            raise ValueError(f"{self.who}: ours has no place for {_listed(self.left)}")
        model = model.to(self.device, self.dtype)
        places = model.state_dict()
        for name in self.fixed:
            if name in places:
                self.ours[name] = torch.zeros_like(places[name])
        unlike = [
            f"{name} {tuple(weight.shape)} into {tuple(places[name].shape)}"
            for name, weight in self.ours.items()
            if name in places and weight.shape != places[name].shape
        ]
        unlike += [f"{name} is only in one of them" for name in sorted(self.ours.keys() ^ places.keys())]
        if unlike:
            raise ValueError(f"{self.who}: the weights do not fit ours: {_listed(unlike)}")
        model.load_state_dict(self.ours, strict=True)  # copies the numbers
        for name in self.fixed:
            model.get_parameter(name).requires_grad_(False)
        return model.train(self.reference.training)


def _load(name: str | Path) -> Any:
    """Load a model of theirs from a folder, from what is kept on this machine, or from the hub, in this order."""
    try:
        define_missing_torchvision_ops()
        import transformers
    except ImportError:
        raise ImportError(
            f"from_hugging_face: loading {str(name)!r} needs the package transformers; install it with "
            "`python -m pip install transformers`"
        ) from None
    try:
        return _read(transformers, name, on_this_machine=True)
    except OSError as error:
        if Path(name).is_dir():
            reason = str(error).splitlines()[0]
            raise OSError(f"from_hugging_face: the folder {str(name)!r} cannot be read: {reason}") from None
    if isinstance(name, Path) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise OSError(f"from_hugging_face: there is no folder {str(name)!r}")
    try:
        _check_the_hub_answers()
        return _read(transformers, name, on_this_machine=False)
    except OSError as error:
        raise OSError(
            f"from_hugging_face: {name!r} is no folder, no copy of it is kept on this machine, and it cannot be "
            f"fetched from the Hugging Face hub: {str(error).splitlines()[0]}"
        ) from None


def _check_the_hub_answers() -> None:
    """Ask once: without a network, the hub's own client tries for half a minute."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the client raises errors of several libraries
        raise OSError(f"there is no network ({type(error).__name__})") from None


def _read(transformers: Any, name: str | Path, on_this_machine: bool) -> Any:
    """Build the model that the config names, and see that its file has every weight of it."""
    said = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what it would report in tables is said in one sentence here
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=on_this_machine)
        kind = (getattr(config, "architectures", None) or ["nothing"])[0]
        if kind not in MODELS:
            raise ValueError(f"its config says that it is a {kind}; known are {', '.join(MODELS)}")
        # The published BERTs say that they are a BertForMaskedLM, but have the weights of both tasks.
        kinds = ["BertForPreTraining", kind] if kind == "BertForMaskedLM" else [kind]
        for kind in kinds:
            model, report = getattr(transformers, kind).from_pretrained(
                name,
                config=config,
                local_files_only=on_this_machine,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are found below
                output_loading_info=True,
            )
            missing = report["missing_keys"]
            # Old files of GPT-2 keep its causal mask as if it were a weight.
            unused = [
                weight for weight in report["unexpected_keys"] if not weight.endswith("attn.masked_bias")
            ]
            if not missing:
                break
        unlike = [
            f"{weight} {tuple(here)}, not {tuple(there)}" for weight, here, there in report["mismatched_keys"]
        ]
        if unlike:
            raise ValueError(f"its file has {_listed(unlike)} as its config says")
        if missing:
            raise ValueError(f"its file has no {_listed(missing)}, which a {kind} needs")
        if any("pooler" not in weight for weight in unused):
            raise ValueError(f"its file has {_listed(unused)}, which a {kind} does not use")
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"from_hugging_face: {str(name)!r}: {str(error).splitlines()[0]}") from None
    finally:
        transformers.logging.set_verbosity(said)
    if unused:  # a head that guesses words does without
        warnings.warn(f"from_hugging_face: a {kind} leaves the pooler of {str(name)!r} out", stacklevel=4)
    return model


def _listed(names: Iterable[str]) -> str:
    """Name a few, and count the others."""
    names = sorted(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _demand(config: Any, **known: object) -> None:
    """Refuse a config that says anything else than what ours does."""
    for option, value in known.items():
        got = getattr(config, option, value)
        if got != value:
            raise ValueError(
                f"from_hugging_face: {type(config).__name__} says {option} = {got!r}; ours knows only {value!r}"
            )


def _activation(name: object) -> Activation:
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(
            f"from_hugging_face: activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}"
        )
    return ACTIVATIONS[name]


def _set_dropout_of_weights(model: nn.Module, dropout: float) -> None:
    """Theirs may drop attention weights with another probability than the rest."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.dropout = float(dropout)


MARIAN_ENCODER = {
    "self_attn.q_proj": "attention.w_q",
    "self_attn.k_proj": "attention.w_k",
    "self_attn.v_proj": "attention.w_v",
    "self_attn.out_proj": "attention.w_o",
    "self_attn_layer_norm": "attention_norm",
    "fc1": "feed_forward.expand",
    "fc2": "feed_forward.contract",
    "final_layer_norm": "feed_forward_norm",
}
MARIAN_DECODER = {
    "self_attn.q_proj": "self_attention.w_q",
    "self_attn.k_proj": "self_attention.w_k",
    "self_attn.v_proj": "self_attention.w_v",
    "self_attn.out_proj": "self_attention.w_o",
    "self_attn_layer_norm": "self_attention_norm",
    "encoder_attn.q_proj": "cross_attention.w_q",
    "encoder_attn.k_proj": "cross_attention.w_k",
    "encoder_attn.v_proj": "cross_attention.w_v",
    "encoder_attn.out_proj": "cross_attention.w_o",
    "encoder_attn_layer_norm": "cross_attention_norm",
    "fc1": "feed_forward.expand",
    "fc2": "feed_forward.contract",
    "final_layer_norm": "feed_forward_norm",
}


def _marian(theirs: Any) -> nn.Module:
    config = theirs.config
    _demand(
        config,
        scale_embedding=True,
        decoder_attention_heads=config.encoder_attention_heads,
        decoder_ffn_dim=config.encoder_ffn_dim,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        static_position_embeddings=True,
        normalize_before=False,
        normalize_embedding=False,
        add_final_layer_norm=False,
    )
    transfer = _Transfer("from_hugging_face", theirs)
    shared = config.share_encoder_decoder_embeddings
    ours = Transformer(
        TransformerConfig(
            src_vocab_size=config.vocab_size,
            tgt_vocab_size=config.decoder_vocab_size,
            d_model=config.d_model,
            n_heads=config.encoder_attention_heads,
            d_ff=config.encoder_ffn_dim,
            n_encoder_layers=config.encoder_layers,
            n_decoder_layers=config.decoder_layers,
            dropout=float(config.dropout),
            max_len=config.max_position_embeddings,
            pad_id=config.pad_token_id,
            activation=_activation(config.activation_function),
            share_weights=shared,
            output_bias=True,
            position_layout="halves",
        )
    )
    _set_dropout_of_weights(ours, config.attention_dropout)
    of_source, of_target = "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
    if shared:
        transfer.move("model.shared.weight", "src_embedding.weight")
        transfer.move_tied(of_source, "src_embedding.weight", like="model.shared.weight")
        transfer.move_tied(of_target, "tgt_embedding.weight", like="model.shared.weight")
    else:
        transfer.move(of_source, "src_embedding.weight")
        transfer.move(of_target, "tgt_embedding.weight")
        ours.unembed.weight = ours.tgt_embedding.weight  # theirs share between target and output alone
    transfer.move_tied("lm_head.weight", "unembed.weight", like=of_target)
    transfer.ours["unembed.bias"] = transfer.take("final_logits_bias").squeeze(0)  # (1, V) → (V,)
    ours.unembed.bias.requires_grad_(False)  # theirs does not learn it
    for stack in ("encoder", "decoder"):
        # Their table of positions is kept as a weight, but it must be the one that ours computes.
        table = transfer.take(f"model.{stack}.embed_positions.weight")
        expected = ours.positions.table.to(table)
        if table.shape != expected.shape or (table - expected).abs().max() > 4 * torch.finfo(table.dtype).eps:
            raise ValueError(f"from_hugging_face: the positions of the {stack} are not sinusoids in halves")
    for number in range(config.encoder_layers):
        transfer.move_maps(f"model.encoder.layers.{number}.", f"encoder.blocks.{number}.", MARIAN_ENCODER)
    for number in range(config.decoder_layers):
        transfer.move_maps(f"model.decoder.layers.{number}.", f"decoder.blocks.{number}.", MARIAN_DECODER)
    return transfer.into(ours)


def _gpt(theirs: Any) -> nn.Module:
    config = theirs.config
    _demand(
        config,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        reorder_and_upcast_attn=False,
        add_cross_attention=False,
    )
    transfer = _Transfer("from_hugging_face", theirs)
    ours = GPT(
        GPTConfig(
            vocab_size=config.vocab_size,
            max_len=config.n_positions,
            d_model=config.n_embd,
            n_heads=config.n_head,
            n_layers=config.n_layer,
            d_ff=config.n_inner,
            dropout=float(config.resid_pdrop),
            activation=_activation(config.activation_function),
            eps=config.layer_norm_epsilon,
        )
    )
    ours.dropout.p = float(config.embd_pdrop)
    _set_dropout_of_weights(ours, config.attn_pdrop)
    base = "transformer." if hasattr(theirs, "lm_head") else ""
    transfer.move(f"{base}wte.weight", "embedding.weight")
    if base:
        transfer.check_tied("lm_head.weight", like=f"{base}wte.weight")
    transfer.move(f"{base}wpe.weight", "positions.table")
    for number in range(config.n_layer):
        block, place = f"{base}h.{number}.", f"stack.blocks.{number}."
        transfer.move_maps(block, place, {"ln_1": "attention_norm", "ln_2": "feed_forward_norm"})
        # GPT-2 keeps a map as (inputs, outputs), and the three maps of attention side by side.
        weights = transfer.take(f"{block}attn.c_attn.weight").chunk(3, dim=1)  # (D, D) each
        biases = transfer.take(f"{block}attn.c_attn.bias").chunk(3)
        for name, weight, bias in zip(("w_q", "w_k", "w_v"), weights, biases):
            transfer.ours[f"{place}attention.{name}.weight"] = weight.T
            transfer.ours[f"{place}attention.{name}.bias"] = bias
        for name, ours_name in (
            ("attn.c_proj", "attention.w_o"),
            ("mlp.c_fc", "feed_forward.expand"),
            ("mlp.c_proj", "feed_forward.contract"),
        ):
            transfer.ours[f"{place}{ours_name}.weight"] = transfer.take(f"{block}{name}.weight").T
            transfer.move(f"{block}{name}.bias", f"{place}{ours_name}.bias")
    transfer.move_maps(base, "", {"ln_f": "stack.norm"})
    return transfer.into(ours)


BERT_BLOCK = {
    "attention.self.query": "attention.w_q",
    "attention.self.key": "attention.w_k",
    "attention.self.value": "attention.w_v",
    "attention.output.dense": "attention.w_o",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.expand",
    "output.dense": "feed_forward.contract",
    "output.LayerNorm": "feed_forward_norm",
}


def _bert(theirs: Any, kind: str) -> nn.Module:
    """Map BERT, or RoBERTa, whose positions begin at pad_id + 1, and whose heads have other names."""
    config = theirs.config
    _demand(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    roberta = kind.startswith("Roberta")
    first_position = config.pad_token_id + 1 if roberta else 0
    sizes = BERTConfig(
        vocab_size=config.vocab_size,
        max_len=config.max_position_embeddings - first_position,
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        n_layers=config.num_hidden_layers,
        d_ff=config.intermediate_size,
        n_segments=config.type_vocab_size,
        dropout=float(config.hidden_dropout_prob),
        pad_id=config.pad_token_id,
        first_position=first_position,
        activation=_activation(config.hidden_act),
        eps=config.layer_norm_eps,
    )
    transfer = _Transfer("from_hugging_face", theirs)
    base = "roberta" if roberta else "bert"
    if kind in ("BertModel", "RobertaModel"):
        body = BERT(sizes, pooler=theirs.pooler is not None)
        _move_bert(transfer, "", "", body)
        return _finish_bert(transfer, body, config)
    if kind == "BertForPreTraining":
        whole = BERTForPretraining(sizes)
        _move_words(transfer, "cls.predictions.", "transform.dense", "transform.LayerNorm", f"{base}.")
        transfer.move_maps("", "", {"cls.seq_relationship": "next_sentence"})
        _move_bert(transfer, f"{base}.", "bert.", whole.bert)
        return _finish_bert(transfer, whole, config)
    if kind in ("BertForMaskedLM", "RobertaForMaskedLM"):
        words = BERTForMaskedLM(sizes)
        if roberta:
            _demand(config, hidden_act="gelu")  # its head takes no other
            _move_words(transfer, "lm_head.", "dense", "layer_norm", f"{base}.")
        else:
            _move_words(transfer, "cls.predictions.", "transform.dense", "transform.LayerNorm", f"{base}.")
        _move_bert(transfer, f"{base}.", "bert.", words.bert)
        return _finish_bert(transfer, words, config)
    if kind in ("BertForQuestionAnswering", "RobertaForQuestionAnswering"):
        _demand(config, num_labels=2)
        pointer = BERTForQuestionAnswering(sizes)
        transfer.move_maps("", "", {"qa_outputs": "head"})
        _move_bert(transfer, f"{base}.", "bert.", pointer.bert)
        return _finish_bert(transfer, pointer, config)
    classifier = BERTClassifier(
        sizes, n_classes=2 if kind == "BertForNextSentencePrediction" else config.num_labels
    )
    if roberta:  # the pooler stands in the head
        transfer.move_maps("classifier.", "", {"dense": "bert.pooler", "out_proj": "head"})
        _move_bert(transfer, f"{base}.", "bert.", classifier.bert, pooler=False)
    else:
        name = "cls.seq_relationship" if kind == "BertForNextSentencePrediction" else "classifier"
        transfer.move_maps("", "", {name: "head"})
        _move_bert(transfer, f"{base}.", "bert.", classifier.bert)
    if kind == "BertForNextSentencePrediction":
        classifier.dropout.p = 0.0
    else:
        classifier.dropout.p = (theirs.classifier if roberta else theirs).dropout.p
    return _finish_bert(transfer, classifier, config)


def _move_bert(transfer: _Transfer, theirs: str, ours: str, body: BERT, pooler: bool = True) -> None:
    transfer.move(f"{theirs}embeddings.word_embeddings.weight", f"{ours}embedding.weight")
    transfer.move(f"{theirs}embeddings.token_type_embeddings.weight", f"{ours}segment_embedding.weight")
    transfer.move(f"{theirs}embeddings.position_embeddings.weight", f"{ours}positions.table")
    transfer.move_maps(theirs, ours, {"embeddings.LayerNorm": "embedding_norm"})
    for number in range(body.config.n_layers):
        transfer.move_maps(f"{theirs}encoder.layer.{number}.", f"{ours}encoder.blocks.{number}.", BERT_BLOCK)
    if body.pooler is not None and pooler:
        transfer.move_maps(theirs, ours, {"pooler.dense": "pooler"})


def _move_words(transfer: _Transfer, head: str, dense: str, norm: str, base: str) -> None:
    """The head that guesses words; its table and its bias stand in theirs under two names each."""
    transfer.move_maps(head, "masked_language.", {dense: "dense", norm: "norm"})
    transfer.move(f"{head}bias", "masked_language.bias")
    transfer.check_tied(f"{head}decoder.bias", like=f"{head}bias")
    transfer.check_tied(f"{head}decoder.weight", like=f"{base}embeddings.word_embeddings.weight")


def _finish_bert(transfer: _Transfer, model: nn.Module, config: Any) -> nn.Module:
    _set_dropout_of_weights(model, config.attention_probs_dropout_prob)
    return transfer.into(model)


# Hugging Face's names, and ours.
XLNET_NAMES = {
    "word_embedding.weight": "embedding.weight",
    "mask_emb": "query_start",
    "rel_attn.q": "attention.w_q.weight",
    "rel_attn.k": "attention.w_k.weight",
    "rel_attn.v": "attention.w_v.weight",
    "rel_attn.r": "attention.w_r.weight",
    "rel_attn.o": "attention.w_o.weight",
    "rel_attn.r_w_bias": "attention.u",
    "rel_attn.r_r_bias": "attention.v_bias",
    "rel_attn.r_s_bias": "attention.s_bias",
    "rel_attn.seg_embed": "attention.seg_embed",
    "rel_attn.layer_norm.weight": "attention_norm.weight",
    "rel_attn.layer_norm.bias": "attention_norm.bias",
    "ff.layer_1.weight": "feed_forward.expand.weight",
    "ff.layer_1.bias": "feed_forward.expand.bias",
    "ff.layer_2.weight": "feed_forward.contract.weight",
    "ff.layer_2.bias": "feed_forward.contract.bias",
    "ff.layer_norm.weight": "feed_forward_norm.weight",
    "ff.layer_norm.bias": "feed_forward_norm.bias",
    "lm_loss.bias": "output_bias",
    "sequence_summary.summary.weight": "summary.weight",
    "sequence_summary.summary.bias": "summary.bias",
    "logits_proj.weight": "head.weight",
    "logits_proj.bias": "head.bias",
    "qa_outputs.weight": "head.weight",
    "qa_outputs.bias": "head.bias",
}


def xlnet_state_dict(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and turn the weights of a Hugging Face XLNet, for `load_state_dict` of ours.

    Args:
        theirs: the state dict of an `XLNetModel`, `XLNetLMHeadModel`, `XLNetForSequenceClassification` or
            `XLNetForQuestionAnsweringSimple`.

    Returns:
        The state dict of an `XLNet`, `XLNetLM`, `XLNetClassifier` or `XLNetForQuestionAnswering`.

    Raises:
        ValueError: a weight that ours have no place for, or an output table that is not the embeddings'.
    """
    ours = {}
    for name, weight in theirs.items():
        if name == "lm_loss.weight":
            if not torch.equal(weight, theirs["transformer.word_embedding.weight"]):
                raise ValueError("xlnet_state_dict: lm_loss.weight is not the table of embeddings; ours is")
            continue
        found = re.fullmatch(r"(transformer\.)?(?:layer\.(\d+)\.)?(.+)", name)
        if found is None or found[3] not in XLNET_NAMES:
            raise ValueError(f"xlnet_state_dict: ours have no place for {name!r}")
        if found[3] == "mask_emb":
            weight = weight.flatten()  # (1, 1, D) → (D,)
        elif found[3] in ("rel_attn.q", "rel_attn.k", "rel_attn.v", "rel_attn.r"):
            weight = weight.flatten(1).T  # (D, H, Dh) → (H · Dh, D): x W there, x Wᵀ in nn.Linear
        elif found[3] == "rel_attn.o":
            weight = weight.flatten(1)  # (D, H, Dh) → (D, H · Dh): this one goes back to D
        block = "" if found[2] is None else f"blocks.{found[2]}."
        ours[("xlnet." if found[1] else "") + block + XLNET_NAMES[found[3]]] = weight
    return ours


def _xlnet(theirs: Any, kind: str) -> nn.Module:
    """Map XLNet. Its config says "none" by 0 or below in places where ours says None."""
    config = theirs.config
    is_causal = config.attn_type == "uni"
    sizes = XLNetConfig(
        vocab_size=config.vocab_size,
        d_model=config.d_model,
        n_heads=config.n_head,
        n_layers=config.n_layer,
        d_ff=config.d_inner,
        dropout=float(config.dropout),
        activation=_activation(config.ff_activation),
        direction=config.attn_type,
        mem_len=config.mem_len or None,
        reuse_len=config.reuse_len if config.reuse_len is not None and config.reuse_len > 0 else None,
        clamp_len=config.clamp_len if config.clamp_len > 0 else None,
        same_length=config.same_length and is_causal,  # theirs looks at it in this direction alone
        bi_data=config.bi_data,
        eps=config.layer_norm_eps,
    )
    transfer = _Transfer("from_hugging_face", theirs)
    if kind == "XLNetModel":
        ours: nn.Module = XLNet(sizes)
    elif kind == "XLNetLMHeadModel":
        ours = XLNetLM(sizes)
        transfer.check_tied("lm_loss.weight", like="transformer.word_embedding.weight")
    elif kind == "XLNetForQuestionAnsweringSimple":
        _demand(config, num_labels=2)
        ours = XLNetForQuestionAnswering(sizes)
    else:
        _demand(
            config,
            summary_type="last",
            summary_use_proj=True,
            summary_activation="tanh",
            summary_proj_to_labels=False,
            summary_first_dropout=0,
        )
        classifier = XLNetClassifier(sizes, n_classes=config.num_labels)
        classifier.dropout.p = float(config.summary_last_dropout)
        ours = classifier
    transfer.ours = xlnet_state_dict(transfer.left)  # refuses what it does not know
    transfer.left.clear()
    return transfer.into(ours)


VIT_BLOCK = {
    "attention.q_proj": "attention.w_q",
    "attention.k_proj": "attention.w_k",
    "attention.v_proj": "attention.w_v",
    "attention.o_proj": "attention.w_o",
    "layernorm_before": "attention_norm",
    "layernorm_after": "feed_forward_norm",
    "mlp.fc1": "feed_forward.expand",
    "mlp.fc2": "feed_forward.contract",
}


def _vit(theirs: Any, kind: str) -> nn.Module:
    config = theirs.config
    _demand(config, pooler_act="tanh", head_dim=config.hidden_size // config.num_attention_heads)
    height, width = _pair(config.image_size)
    patch, other = _pair(config.patch_size)
    if patch != other or height % patch or width % patch:
        raise ValueError(
            f"from_hugging_face: patches must be square and fill the picture, got {(patch, other)} in {(height, width)}"
        )
    transfer = _Transfer("from_hugging_face", theirs)
    with_head = kind == "ViTForImageClassification"
    pooler = not with_head and theirs.pooler is not None
    ours = ViT(
        ViTConfig(
            n_patches=(height // patch) * (width // patch),
            patch_width=config.num_channels * patch * patch,
            n_classes=max(config.num_labels, 1) if with_head else config.pooler_output_size,
            d_model=config.hidden_size,
            n_heads=config.num_attention_heads,
            n_layers=config.num_hidden_layers,
            d_ff=config.intermediate_size,
            dropout=float(config.hidden_dropout_prob),
            activation=_activation(config.hidden_act),
            eps=config.layer_norm_eps,
        )
    )
    _set_dropout_of_weights(ours, config.attention_probs_dropout_prob)
    base = "vit." if with_head else ""
    if with_head:
        transfer.move_maps("", "", {"classifier": "head"})
    elif pooler:
        ours.head = nn.Sequential(ours.head, nn.Tanh())  # type: ignore[assignment]
        transfer.move_maps("", "", {"pooler.dense": "head.0"})
    else:
        ours.head = nn.Identity()  # type: ignore[assignment]
    transfer.ours["class_token"] = transfer.take(f"{base}embeddings.cls_token").flatten()  # (1, 1, D) → (D,)
    transfer.ours["positions.table"] = transfer.take(f"{base}embeddings.position_embeddings").squeeze(0)
    # A convolution whose stride is its size is one linear map of each patch.
    weight = transfer.take(f"{base}embeddings.patch_embeddings.projection.weight")  # (D, C, P, P)
    transfer.ours["embedding.weight"] = weight.flatten(1)  # (D, C·P·P)
    transfer.move(f"{base}embeddings.patch_embeddings.projection.bias", "embedding.bias")
    for number in range(config.num_hidden_layers):
        transfer.move_maps(f"{base}layers.{number}.", f"encoder.blocks.{number}.", VIT_BLOCK)
    transfer.move_maps(base, "", {"layernorm": "encoder.norm"})
    return transfer.into(ours)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


# Names of torch.nn's layers → ours. Their three maps of attention stand in one matrix.
TORCH_ENCODER = {
    "linear1": "feed_forward.expand",
    "linear2": "feed_forward.contract",
    "norm1": "attention_norm",
    "norm2": "feed_forward_norm",
}
TORCH_DECODER = {
    "linear1": "feed_forward.expand",
    "linear2": "feed_forward.contract",
    "norm1": "self_attention_norm",
    "norm2": "cross_attention_norm",
    "norm3": "feed_forward_norm",
}


def _attention_of_torch(theirs: nn.MultiheadAttention) -> MultiHeadAttention:
    _check_attention(theirs)
    transfer = _Transfer("from_torch", theirs)
    _move_attention(transfer, "", "")
    ours = MultiHeadAttention(d_model=theirs.embed_dim, n_heads=theirs.num_heads, dropout=theirs.dropout)
    return transfer.into(ours)


def _block_of_torch(theirs: nn.Module) -> nn.Module:
    transfer = _Transfer("from_torch", theirs)
    _move_block(transfer, theirs, "", "")
    block = EncoderBlock if isinstance(theirs, nn.TransformerEncoderLayer) else DecoderBlock
    return transfer.into(block(**_settings(theirs)))


def _stack_of_torch(theirs: nn.Module) -> nn.Module:
    layers = cast(Iterable[nn.Module], theirs.layers)
    expected = (
        nn.TransformerEncoderLayer
        if isinstance(theirs, nn.TransformerEncoder)
        else nn.TransformerDecoderLayer
    )
    for layer in layers:
        if type(layer) is not expected:
            raise ValueError(
                f"from_torch: a layer must be an nn.{expected.__name__}, got {type(layer).__name__}"
            )
    settings = [_settings(layer) for layer in layers]
    if not settings:
        raise ValueError("from_torch: the stack has no layers")
    for number, other in enumerate(settings):
        if other != settings[0]:
            raise ValueError(f"from_torch: the layers differ: 0 is {settings[0]}, {number} is {other}")
    norm = theirs.norm
    if norm is not None and (type(norm) is not nn.LayerNorm or norm.eps != settings[0]["eps"]):
        raise ValueError(f"from_torch: the last norm must be a LayerNorm with the layers' eps, got {norm}")
    transfer = _Transfer("from_torch", theirs)
    for number, layer in enumerate(layers):
        _move_block(transfer, layer, f"layers.{number}.", f"blocks.{number}.")
    if norm is not None:
        transfer.move_maps("", "", {"norm": "norm"})
    stack = Encoder if isinstance(theirs, nn.TransformerEncoder) else Decoder
    return transfer.into(stack(n_layers=len(settings), final_norm=norm is not None, **settings[0]))


def _move_block(transfer: _Transfer, layer: nn.Module, theirs: str, ours: str) -> None:
    if isinstance(layer, nn.TransformerEncoderLayer):
        _move_attention(transfer, f"{theirs}self_attn.", f"{ours}attention.")
        transfer.move_maps(theirs, ours, TORCH_ENCODER)
    else:
        _move_attention(transfer, f"{theirs}self_attn.", f"{ours}self_attention.")
        _move_attention(transfer, f"{theirs}multihead_attn.", f"{ours}cross_attention.")
        transfer.move_maps(theirs, ours, TORCH_DECODER)


def _move_attention(transfer: _Transfer, theirs: str, ours: str) -> None:
    maps = ("w_q", "w_k", "w_v")
    for name, part in zip(maps, transfer.take(f"{theirs}in_proj_weight").chunk(3)):
        transfer.ours[f"{ours}{name}.weight"] = part
    if f"{theirs}in_proj_bias" in transfer.left:
        for name, part in zip(maps, transfer.take(f"{theirs}in_proj_bias").chunk(3)):
            transfer.ours[f"{ours}{name}.bias"] = part
    else:
        transfer.fixed += [f"{ours}{name}.bias" for name in maps]
    transfer.move_maps(theirs, ours, {"out_proj": "w_o"})


def _settings(layer: nn.Module) -> dict[str, Any]:
    """Read the arguments of our block off one of theirs."""
    theirs = cast(Any, layer)
    attentions = [theirs.self_attn]
    norms = [theirs.norm1, theirs.norm2]
    dropouts = [theirs.dropout1.p, theirs.dropout2.p, theirs.self_attn.dropout]
    if isinstance(layer, nn.TransformerDecoderLayer):
        attentions.append(theirs.multihead_attn)
        norms.append(theirs.norm3)
        dropouts += [theirs.dropout3.p, theirs.multihead_attn.dropout]
    for attention in attentions:
        _check_attention(attention)
    if len({attention.num_heads for attention in attentions}) > 1 or len(set(dropouts)) > 1:
        raise ValueError("from_torch: heads and dropout must be the same everywhere in a layer")
    if any(type(norm) is not nn.LayerNorm for norm in norms) or len({norm.eps for norm in norms}) > 1:
        raise ValueError(f"from_torch: the norms must be LayerNorms with one eps, got {norms}")
    return {
        "d_model": theirs.self_attn.embed_dim,
        "n_heads": theirs.self_attn.num_heads,
        "d_ff": theirs.linear1.out_features,
        "dropout": dropouts[0],
        "activation": _activation_of_torch(theirs.activation),
        "norm_first": theirs.norm_first,
        "eps": norms[0].eps,
    }


def _check_attention(theirs: nn.MultiheadAttention) -> None:
    if theirs.bias_k is not None or theirs.add_zero_attn:
        raise ValueError("from_torch: attention with add_bias_kv or add_zero_attn is not known here")
    if theirs.kdim != theirs.embed_dim or theirs.vdim != theirs.embed_dim:
        raise ValueError(
            f"from_torch: keys and values must be as wide as queries, got embed_dim = {theirs.embed_dim}, "
            f"kdim = {theirs.kdim}, vdim = {theirs.vdim}"
        )


def _activation_of_torch(activation: object) -> Activation:
    if activation is F.relu or isinstance(activation, nn.ReLU):
        return "relu"
    if activation is F.silu or isinstance(activation, nn.SiLU):
        return "silu"
    if activation is F.gelu or (isinstance(activation, nn.GELU) and activation.approximate == "none"):
        return "gelu"
    if isinstance(activation, nn.GELU):
        return "gelu_tanh"
    raise ValueError(f"from_torch: activation must be relu, gelu or silu, got {activation!r}")


D2L_BLOCK = {
    "attention.W_q": "attention.w_q",
    "attention.W_k": "attention.w_k",
    "attention.W_v": "attention.w_v",
    "attention.W_o": "attention.w_o",
    "addnorm1.ln": "attention_norm",
    "ffn.dense1": "feed_forward.expand",
    "ffn.dense2": "feed_forward.contract",
    "addnorm2.ln": "feed_forward_norm",
}


def _encoder_of_d2l(theirs: Any) -> tuple[TokenEmbedding, SinusoidalPositions, Encoder]:
    transfer = _Transfer("from_d2l", theirs)
    block = _block_of_d2l(theirs)
    d_model, max_len = theirs.num_hiddens, theirs.pos_encoding.P.size(1)
    encoder = Encoder(
        n_layers=len(theirs.blks),
        d_model=d_model,
        n_heads=block.attention.num_heads,
        d_ff=block.ffn.dense1.out_features,
        dropout=block.addnorm1.dropout.p,
        eps=block.addnorm1.ln.eps,
    )
    embedding = TokenEmbedding(theirs.embedding.num_embeddings, d_model)
    positions = SinusoidalPositions(d_model=d_model, max_len=max_len)
    ours = nn.ModuleDict({"embedding": embedding, "positions": positions, "encoder": encoder})
    transfer.move("embedding.weight", "embedding.weight")
    for number in range(len(theirs.blks)):
        transfer.move_maps(f"blks.block{number}.", f"encoder.blocks.{number}.", D2L_BLOCK)
    transfer.into(ours)
    positions.table.copy_(theirs.pos_encoding.P[0])  # the same sinusoids; theirs are rounded once more often
    return embedding, positions, encoder


class _HeadWithItsOwnTable(MaskedLanguageHead):
    """Score the words against a table of its own, as d2l does: it has nothing to do with the embedding."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.table = nn.Parameter(torch.zeros(config.vocab_size, config.d_model))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return super().forward(x, self.table)


def _bert_of_d2l(theirs: Any, pad_id: int) -> nn.Module:
    transfer = _Transfer("from_d2l", theirs)
    encoder = theirs.encoder
    block = _block_of_d2l(encoder)
    vocab_size, d_model = encoder.token_embedding.weight.shape
    config = BERTConfig(
        vocab_size=vocab_size,
        max_len=encoder.pos_embedding.size(1),
        d_model=d_model,
        n_heads=block.attention.num_heads,
        n_layers=len(encoder.blks),
        d_ff=block.ffn.dense1.out_features,
        dropout=block.addnorm1.dropout.p,
        pad_id=pad_id,
        activation="relu",
        eps=block.addnorm1.ln.eps,
    )
    ours = BERTForPretraining(config)
    ours.bert.embedding_norm = nn.Identity()  # type: ignore[assignment]
    ours.bert.dropout.p = 0.0
    ours.masked_language = _HeadWithItsOwnTable(config)
    transfer.move("encoder.token_embedding.weight", "bert.embedding.weight")
    transfer.move("encoder.segment_embedding.weight", "bert.segment_embedding.weight")
    transfer.ours["bert.positions.table"] = transfer.take("encoder.pos_embedding").squeeze(
        0
    )  # (1, T, D) → (T, D)
    for number in range(config.n_layers):
        transfer.move_maps(f"encoder.blks.{number}.", f"bert.encoder.blocks.{number}.", D2L_BLOCK)
    transfer.move_maps("", "", {"hidden.0": "bert.pooler", "nsp.output": "next_sentence"})
    transfer.move_maps("mlm.mlp.", "masked_language.", {"0": "dense", "2": "norm"})
    transfer.move("mlm.mlp.3.weight", "masked_language.table")
    transfer.move("mlm.mlp.3.bias", "masked_language.bias")
    return transfer.into(ours)


def _block_of_d2l(theirs: Any) -> Any:
    """Return the first block: all have the same sizes."""
    if len(theirs.blks) == 0:
        raise ValueError("from_d2l: the encoder has no blocks")
    return theirs.blks[0]
