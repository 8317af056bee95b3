"""`hugging_face`: a mapping of weights is strict, or refused by name. That the models are equal is for parity/."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_lib import hugging_face
from course_lib.attention import MultiHeadAttention
from course_lib.hugging_face import MODELS, from_d2l, from_hugging_face, from_torch
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import assert_same_numbers, compare, dtypes, randomised

define_missing_torchvision_ops()
import transformers  # noqa: E402
from d2l import torch as d2l  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch wonders at our small sizes

SIZES = {
    "bert": {
        "vocab_size": 23,
        "hidden_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 17,
        "max_position_embeddings": 13,
    },
    "gpt2": {
        "vocab_size": 23,
        "n_positions": 11,
        "n_embd": 20,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 17,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
    "marian": {
        "vocab_size": 23,
        "d_model": 20,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 17,
        "decoder_ffn_dim": 17,
        "max_position_embeddings": 11,
        "scale_embedding": True,
        "pad_token_id": 22,
        "decoder_start_token_id": 22,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
    },
    "vit": {
        "hidden_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 17,
        "image_size": 6,
        "patch_size": 3,
        "num_channels": 2,
    },
    "xlnet": {"vocab_size": 23, "d_model": 20, "n_layer": 2, "n_head": 4, "d_inner": 17},
}
SIZES["roberta"] = {**SIZES["bert"], "pad_token_id": 1}
FAMILIES = {
    "Bert": "bert",
    "GPT2": "gpt2",
    "Mari": "marian",
    "ViTM": "vit",
    "ViTF": "vit",
    "XLNe": "xlnet",
    "Robe": "roberta",
}


def theirs(kind: str, **changes: object) -> transformers.PreTrainedModel:
    """A model of theirs with small random weights, in evaluation mode."""
    family = FAMILIES[kind[:4]]
    config = transformers.AutoConfig.for_model(family, **{**SIZES[family], **changes})
    return getattr(transformers, kind)(config).eval()


def run(ours: nn.Module, kind: str) -> Tensor:
    """Any output of ours."""
    torch.manual_seed(0)
    tokens = torch.randint(2, 20, (3, 5))
    dtype = next(ours.parameters()).dtype
    inputs = {"marian": (tokens, tokens), "vit": (torch.randn(3, 4, 18, dtype=dtype),)}
    output = ours(*inputs.get(FAMILIES[kind[:4]], (tokens,)))
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("kind", MODELS)
def test_what_save_pretrained_wrote_gives_the_same_model_without_a_tokenizer(kind, tmp_path):
    model = theirs(kind)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight) if weight.requires_grad else 0
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "config.json",
        "model.safetensors",
        "generation_config.json",
    }
    expected = from_hugging_face(model)
    for name in (str(tmp_path), tmp_path):
        ours = from_hugging_face(name)
        assert type(ours) is type(expected)
        weights = ours.state_dict()
        assert weights.keys() == expected.state_dict().keys()
        assert all(torch.equal(weight, weights[name]) for name, weight in expected.state_dict().items())
        assert torch.equal(run(ours, kind), run(expected, kind))


@pytest.mark.parametrize("kind", MODELS)
def test_dtype_and_mode_are_kept_and_the_weights_are_copies(kind):
    model = theirs(kind).to(torch.float64)
    ours = from_hugging_face(model)
    assert {weight.dtype for weight in ours.state_dict().values()} == {torch.float64}
    assert run(ours, kind).dtype == torch.float64
    assert not any(module.training for module in ours.modules())
    assert all(module.training for module in from_hugging_face(model.train()).modules())
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        for weight in ours.parameters():
            weight += 1
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert {weight.dtype for weight in from_hugging_face(model.bfloat16()).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("kind", MODELS)
def test_a_weight_that_ours_has_no_place_for_is_refused(kind):
    model = theirs(kind)
    model.one_more = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="one_more"):
        from_hugging_face(model)


@pytest.mark.parametrize("kind", MODELS)
def test_a_weight_of_another_shape_or_none_is_refused(kind):
    model = theirs(kind)
    norm = next(name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm))
    model.set_submodule(norm, nn.LayerNorm(21))
    with pytest.raises(ValueError, match="do not fit"):
        from_hugging_face(model)
    model.set_submodule(norm, nn.Identity())
    with pytest.raises(ValueError, match=r"no weight|is only in one of them"):
        from_hugging_face(model)


REFUSED = [
    ("GPT2LMHeadModel", {"scale_attn_weights": False}, "scale_attn_weights = False"),
    ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ("GPT2LMHeadModel", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn = True"),
    ("GPT2LMHeadModel", {"add_cross_attention": True}, "add_cross_attention = True"),
    ("GPT2LMHeadModel", {"activation_function": "tanh"}, "'tanh'"),
    ("GPT2LMHeadModel", {"tie_word_embeddings": False}, "lm_head.weight"),
    ("BertModel", {"is_decoder": True}, "is_decoder = True"),
    ("BertModel", {"is_decoder": True, "add_cross_attention": True}, "is_decoder = True"),
    ("BertModel", {"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
    ("BertModel", {"hidden_act": "gelu_10"}, "'gelu_10'"),
    ("BertForPreTraining", {"tie_word_embeddings": False}, "cls.predictions.decoder"),
    ("BertForMaskedLM", {"tie_word_embeddings": False}, "cls.predictions.decoder"),
    ("BertForQuestionAnswering", {"num_labels": 3}, "num_labels = 3"),
    ("RobertaModel", {"is_decoder": True}, "is_decoder = True"),
    ("RobertaForMaskedLM", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
    ("MarianMTModel", {"scale_embedding": False}, "scale_embedding = False"),
    ("MarianMTModel", {"decoder_attention_heads": 2}, "decoder_attention_heads = 2"),
    ("MarianMTModel", {"decoder_ffn_dim": 19}, "decoder_ffn_dim = 19"),
    ("MarianMTModel", {"activation_dropout": 0.1}, "activation_dropout = 0.1"),
    ("MarianMTModel", {"encoder_layerdrop": 0.1}, "encoder_layerdrop = 0.1"),
    ("MarianMTModel", {"normalize_before": True}, "normalize_before = True"),
    ("MarianMTModel", {"static_position_embeddings": False}, "static_position_embeddings = False"),
    ("MarianMTModel", {"tie_word_embeddings": False}, "lm_head.weight|embed_tokens.weight"),
    ("ViTModel", {"pooler_act": "relu"}, "pooler_act = 'relu'"),
    ("ViTModel", {"patch_size": (3, 2)}, r"\(3, 2\)"),
    ("ViTModel", {"image_size": (6, 8)}, r"\(6, 8\)"),
    ("ViTModel", {"hidden_act": "quick_gelu"}, "'quick_gelu'"),
    ("XLNetLMHeadModel", {"tie_word_embeddings": False}, "lm_loss.weight"),
    ("XLNetModel", {"ff_activation": "tanh"}, "'tanh'"),
    ("XLNetForSequenceClassification", {"summary_type": "mean"}, "summary_type = 'mean'"),
    ("XLNetForSequenceClassification", {"summary_activation": "relu"}, "summary_activation = 'relu'"),
    ("XLNetForSequenceClassification", {"summary_use_proj": False}, "summary_use_proj = False"),
    ("XLNetForQuestionAnsweringSimple", {"num_labels": 3}, "num_labels = 3"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), REFUSED, ids=lambda given: str(given))
def test_a_choice_that_ours_does_not_know_is_refused_by_name(kind, changes, message):
    with pytest.raises(ValueError, match=f"from_hugging_face.*({message})"):
        from_hugging_face(theirs(kind, **changes))


def test_the_dropout_of_each_place_is_kept():
    gpt = from_hugging_face(theirs("GPT2Model", resid_pdrop=0.2, embd_pdrop=0.3, attn_pdrop=0.4))
    assert gpt.dropout.p == 0.3 and gpt.stack.blocks[1].dropout.p == 0.2
    assert gpt.stack.blocks[1].attention.dropout == 0.4
    marian = from_hugging_face(theirs("MarianMTModel", dropout=0.2, attention_dropout=0.0))
    assert marian.dropout.p == marian.decoder.blocks[0].dropout.p == 0.2
    assert marian.decoder.blocks[0].cross_attention.dropout == 0.0
    classifier = from_hugging_face(
        theirs("BertForSequenceClassification", classifier_dropout=0.5, attention_probs_dropout_prob=0.3)
    )
    assert classifier.dropout.p == 0.5 and classifier.bert.dropout.p == 0.1
    assert classifier.bert.encoder.blocks[0].attention.dropout == 0.3


def test_tied_weights_of_theirs_are_one_weight_in_ours():
    marian = from_hugging_face(theirs("MarianMTModel"))
    assert marian.src_embedding.weight is marian.tgt_embedding.weight is marian.unembed.weight
    for kind in ("GPT2LMHeadModel", "BertForPreTraining", "BertForMaskedLM", "XLNetLMHeadModel"):
        model = theirs(kind)
        assert sum(w.numel() for w in model.parameters()) == sum(
            w.numel() for w in from_hugging_face(model).parameters()
        )


def test_a_vocabulary_that_was_enlarged_is_taken_as_it_is():
    model = theirs("GPT2LMHeadModel")
    model.resize_token_embeddings(31)
    ours, tokens = from_hugging_face(model), torch.randint(31, (2, 5))
    torch.testing.assert_close(ours(tokens), model(tokens).logits)


def test_positions_of_marian_that_are_no_sinusoids_in_halves_are_refused():
    model = theirs("MarianMTModel")
    with torch.no_grad():
        model.model.decoder.embed_positions.weight[3, 4] += 1e-4
    with pytest.raises(ValueError, match="positions of the decoder"):
        from_hugging_face(model)


def test_weights_of_two_dtypes_or_without_numbers_are_refused():
    model = theirs("BertModel")
    model.pooler.double()
    with pytest.raises(ValueError, match=r"one floating dtype.*float32 on cpu.*float64 on cpu"):
        from_hugging_face(model)
    with torch.device("meta"):
        model = theirs("BertModel")
    with pytest.raises(ValueError, match="meta"):
        from_hugging_face(model)


class BertModel(nn.Linear):
    """Not theirs, only called so."""


@pytest.mark.parametrize("given", [None, 7, torch.zeros(2), nn.Linear(2, 3), BertModel(2, 3)], ids=repr)
def test_what_is_no_model_of_theirs_is_refused(given):
    with pytest.raises(ValueError, match=f"from_hugging_face.*got a {type(given).__name__}"):
        from_hugging_face(given)


def test_a_model_of_theirs_that_ours_does_not_have_is_refused():
    config = transformers.BertConfig(**SIZES["bert"])
    with pytest.raises(ValueError, match="got a BertForTokenClassification"):
        from_hugging_face(transformers.BertForTokenClassification(config))


def test_mapping_leaves_the_random_numbers_of_the_caller_alone():
    model, layer = theirs("BertModel"), nn.TransformerEncoderLayer(12, 4, 17)
    before = torch.get_rng_state()
    from_hugging_face(model)
    from_torch(layer)
    assert torch.equal(torch.get_rng_state(), before)


# --- folders and names ---


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No address is found, and nothing was kept from earlier."""

    def refuse(*args: object, **rest: object) -> None:
        raise socket.gaierror("the network is blocked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "gpt2", "xlnet-base-cased", "Helsinki-NLP/opus-mt-en-it"]
)
def test_without_a_network_a_name_fails_with_one_clear_sentence(name, no_network):
    with pytest.raises(OSError) as found:
        from_hugging_face(name)
    assert str(found.value).startswith(
        f"from_hugging_face: {name!r} is no folder, no copy of it is kept on this machine, and it cannot be fetched "
        "from the Hugging Face hub: there is no network"
    )
    assert "\n" not in str(found.value) and found.value.__suppress_context__


def keep(hub: Path, name: str, model: transformers.PreTrainedModel) -> None:
    """Keep a model as the hub's client keeps what it fetched."""
    folder = hub / f"models--{name.replace('/', '--')}"
    model.save_pretrained(folder / "snapshots" / "0123abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")


@pytest.mark.parametrize("name", ["gpt2", "some-one/gpt2"])
def test_a_copy_that_was_kept_needs_no_network(name, no_network):
    model = theirs("GPT2LMHeadModel")
    keep(no_network, name, model)
    ours, tokens = from_hugging_face(name), torch.randint(23, (2, 5))
    torch.testing.assert_close(ours(tokens), model(tokens).logits)


def test_the_published_bert_is_taken_with_both_of_its_tasks(tmp_path):
    """Its config says BertForMaskedLM, but its file has all weights of pre-training."""
    model = theirs("BertForPreTraining")
    model.save_pretrained(tmp_path)
    changed(tmp_path, architectures=["BertForMaskedLM"])
    ours = from_hugging_face(tmp_path)
    tokens = torch.randint(1, 23, (2, 5))
    expected = model(tokens)
    words, pairs = ours(tokens)
    torch.testing.assert_close(words, expected.prediction_logits)
    torch.testing.assert_close(pairs, expected.seq_relationship_logits)


def changed(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_hidden_layers": 3},
            "has no bert.encoder.layer.2.*and 12 more, which a BertForSequenceClassification needs",
        ),
        ({"num_hidden_layers": 1}, "has bert.encoder.layer.1.*and 12 more, which a .* does not use"),
        ({"intermediate_size": 19}, r"intermediate.dense.bias \(17,\), not \(19,\)"),
        ({"architectures": ["BertForTokenClassification"]}, "says that it is a BertForTokenClassification"),
        ({"architectures": None}, "says that it is a nothing"),
        ({"model_type": "nonsense"}, "nonsense"),
        ({"hidden_act": "gelu_10"}, "gelu_10"),
    ],
    ids=str,
)
def test_a_file_that_does_not_go_with_its_config_is_refused(changes, message, tmp_path, no_network):
    theirs("BertForSequenceClassification").save_pretrained(tmp_path)
    changed(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"from_hugging_face.*{message}"):
        from_hugging_face(tmp_path)


def test_a_pooler_that_the_model_does_not_use_is_left_out_with_a_warning(tmp_path):
    """As that of roberta-base."""
    model = theirs("RobertaForMaskedLM")
    model.roberta.pooler = theirs("RobertaModel").pooler
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"RobertaForMaskedLM leaves the pooler of .* out"):
        from_hugging_face(tmp_path)


def renamed(folder: Path, rename: Callable[[str], str], **more: Tensor) -> None:
    """Write the file of weights again, under other names, and with some more."""
    weights = {rename(name): weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file({**weights, **more}, folder / "model.safetensors", {"format": "pt"})


def test_the_names_in_files_of_old_are_understood(tmp_path):
    """The published bert-base-uncased, gpt2 and vit-base-patch16-224 were written by earlier versions."""
    names = {
        "BertForPreTraining": lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ),
        "GPT2LMHeadModel": lambda name: name.removeprefix("transformer."),
        "ViTForImageClassification": lambda name: (
            name.replace("vit.layers.", "vit.encoder.layer.")
            .replace("mlp.fc1", "intermediate.dense")
            .replace("mlp.fc2", "output.dense")
            .replace("attention.o_proj", "attention.output.dense")
            .replace("attention.q_proj", "attention.attention.query")
            .replace("attention.k_proj", "attention.attention.key")
            .replace("attention.v_proj", "attention.attention.value")
        ),
    }
    more = {
        "BertForPreTraining": {"bert.embeddings.position_ids": torch.arange(13)[None]},
        "GPT2LMHeadModel": {
            "h.0.attn.bias": torch.ones(1, 1, 11, 11),
            "h.0.attn.masked_bias": torch.tensor(-1e4),
        },
        "ViTForImageClassification": {},
    }
    for kind, rename in names.items():
        model = randomised(theirs(kind), torch.float32)
        model.save_pretrained(tmp_path / kind)
        renamed(tmp_path / kind, rename, **more[kind])
        weights = from_hugging_face(tmp_path / kind).state_dict()
        expected = from_hugging_face(model).state_dict()
        assert all(torch.equal(weight, weights[name]) for name, weight in expected.items())


def test_half_a_file_is_refused(tmp_path):
    theirs("BertModel").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="from_hugging_face"):
        from_hugging_face(tmp_path)


def test_a_pickle_is_never_read(tmp_path, no_network):
    model = theirs("BertModel")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"from_hugging_face: the folder .* cannot be read: .*safetensors"):
        from_hugging_face(tmp_path)


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./none", "one/two/three", "", "a b", Path("none")], ids=repr
)
def test_a_folder_that_is_not_there_is_named_and_no_network_is_asked(name, monkeypatch):
    monkeypatch.setattr(hugging_face, "_check_the_hub_answers", lambda: pytest.fail("it asked the hub"))
    with pytest.raises(OSError, match=r"from_hugging_face: the(re is no)? folder"):
        from_hugging_face(name)


def test_without_transformers_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ImportError, match=r"from_hugging_face: .* install it with `python -m pip install transformers`"
    ):
        from_hugging_face("gpt2")


def test_importing_the_module_imports_neither_transformers_nor_d2l():
    code = "import course_lib.hugging_face, sys; assert not {'transformers', 'd2l', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[1])


# --- XLNet, whose equality in all its modes is for parity/ ---


@dtypes
@pytest.mark.parametrize(
    "changes",
    [
        {"attn_type": "bi", "mem_len": 4, "reuse_len": 3},
        {"attn_type": "uni", "mem_len": 0, "same_length": True, "clamp_len": 2},
        {"attn_type": "bi", "same_length": True, "bi_data": True, "reuse_len": 0, "mem_len": None},
    ],
    ids=str,
)
def test_xlnet_reads_two_segments_with_a_memory_as_theirs(changes, dtype):
    model = randomised(theirs("XLNetLMHeadModel", **changes), dtype)
    ours = from_hugging_face(model)
    tokens, pairs = torch.randint(23, (2, 4, 5)), torch.tensor([[0, 0, 1, 1, 2]]).expand(4, 5)
    first = model(tokens[0], token_type_ids=pairs, use_mems=True)
    second = model(tokens[1], token_type_ids=pairs, mems=first.mems, use_mems=True)
    logits, mems = ours(tokens[0], segments=pairs)
    further, kept = ours(tokens[1], segments=pairs, mems=mems)
    theirs_kept = [mem.transpose(0, 1) for mem in second.mems]
    assert_same_numbers(kept, theirs_kept)
    compare(ours, model, from_hugging_face, [logits, further], [first.logits, second.logits])


def test_xlnet_predicts_in_any_order_as_theirs():
    """In single precision alone: theirs fails in two streams of double precision."""
    model = randomised(theirs("XLNetLMHeadModel"), torch.float32)
    ours = from_hugging_face(model)
    tokens, order = torch.randint(23, (3, 5)), torch.tensor([[2, 0, 4, 1, 3]] * 3).argsort(-1)
    sees = order[:, :, None] > order[:, None]  # (B, T, T): what comes earlier in the order
    targets = torch.tensor([[1, 3]] * 3)
    expected = model(
        tokens,
        perm_mask=(~sees).float(),
        target_mapping=nn.functional.one_hot(targets, 5).float(),
    )
    logits, _ = ours(tokens, mask=sees[:, None], targets=targets)
    compare(ours, model, from_hugging_face, [logits], [expected.logits])


@dtypes
def test_xlnets_heads_are_theirs(dtype):
    tokens = torch.randint(23, (3, 5))
    model = randomised(theirs("XLNetForSequenceClassification", num_labels=4), dtype)
    ours = from_hugging_face(model)
    compare(ours, model, from_hugging_face, [ours(tokens)], [model(tokens).logits])
    model = randomised(theirs("XLNetForQuestionAnsweringSimple"), dtype)
    ours = from_hugging_face(model)
    expected = model(tokens)
    compare(ours, model, from_hugging_face, list(ours(tokens)), [expected.start_logits, expected.end_logits])


# --- torch.nn and d2l ---

LAYER = {"d_model": 12, "nhead": 4, "dim_feedforward": 17}


class OwnLayer(nn.TransformerEncoderLayer):
    """Might do anything."""


def unlike_layers() -> nn.Module:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(**LAYER), 2, enable_nested_tensor=False)
    stack.layers[1] = nn.TransformerEncoderLayer(**LAYER, norm_first=True)
    return stack


def with_norm(norm: nn.Module) -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(**LAYER), 2, norm, enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(2, 3), "got a Linear"),
        (OwnLayer(**LAYER), "got a OwnLayer"),
        (nn.TransformerEncoder(OwnLayer(**LAYER), 1, enable_nested_tensor=False), "got OwnLayer"),
        (nn.Transformer(12, 4, 1, 1, 17, custom_decoder=nn.Identity()), "Identity"),
        (nn.MultiheadAttention(12, 4, add_bias_kv=True), "add_bias_kv"),
        (nn.MultiheadAttention(12, 4, add_zero_attn=True), "add_zero_attn"),
        (nn.MultiheadAttention(12, 4, kdim=5), "kdim = 5"),
        (nn.TransformerEncoderLayer(**LAYER, activation=torch.tanh), "tanh"),
        (with_norm(nn.RMSNorm(12)), "RMSNorm"),
        (with_norm(nn.LayerNorm(12, eps=1e-6)), "eps"),
        (unlike_layers(), "layers differ"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_ours_has_no_form_of_is_refused(module, message):
    with pytest.raises(ValueError, match=f"from_torch.*{message}"):
        from_torch(module)


@settings(max_examples=25)
@given(
    n_heads=st.integers(1, 4),
    d_head=st.integers(1, 4),
    d_ff=st.integers(1, 9),
    n_layers=st.integers(1, 3),
    norm_first=st.booleans(),
    batch_first=st.booleans(),
    bias=st.booleans(),
)
def test_encoders_of_any_size_are_equal(n_heads, d_head, d_ff, n_layers, norm_first, batch_first, bias):
    layer = nn.TransformerEncoderLayer(
        n_heads * d_head,
        n_heads,
        d_ff,
        norm_first=norm_first,
        batch_first=batch_first,
        bias=bias,
        dropout=0.1,
    )
    theirs = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False).eval()
    ours = from_torch(theirs)
    x = torch.randn(2, 3, n_heads * d_head)
    expected = theirs(x) if batch_first else theirs(x.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)
    assert not ours.training and ours.blocks[0].dropout.p == 0.1


def test_biases_that_theirs_do_not_have_stay_zero_in_training():
    ours = from_torch(nn.MultiheadAttention(12, 4, bias=False))
    assert isinstance(ours, MultiHeadAttention)
    optimiser = torch.optim.AdamW(ours.parameters(), lr=0.1)
    ours(torch.randn(2, 5, 12)).square().sum().backward()
    optimiser.step()
    assert all((weight == 0).all() for name, weight in ours.named_parameters() if name.endswith("bias"))


def test_d2l_models_whose_weights_were_not_made_yet_are_refused():
    with pytest.raises(ValueError, match="from_d2l: the weights were not made yet; call the model once"):
        from_d2l(d2l.BERTModel(23, 12, 17, 4, 2, 0.1))
    with pytest.raises(ValueError, match="not made yet"):
        from_d2l(d2l.TransformerEncoder(23, 12, 17, 4, 2, 0.1))


@pytest.mark.parametrize(
    "given", [None, nn.Linear(2, 3), d2l.PositionWiseFFN(3, 4)], ids=lambda given: type(given).__name__
)
def test_other_things_of_d2l_are_refused(given):
    with pytest.raises(ValueError, match=f"from_d2l.*got a {type(given).__name__}"):
        from_d2l(given)
