"""Our ViT against Hugging Face's at random weights: forward and gradients, fp32 and fp64.

Theirs is compared in its form on PyTorch's fused attention: the other one rounds its weights to single precision.
"""

import pytest
import torch

from course_lib.hugging_face import from_hugging_face
from course_lib.patches import image_patches
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import compare, dtypes, randomised

define_missing_torchvision_ops()
from transformers import ViTConfig, ViTForImageClassification, ViTModel  # noqa: E402


def config(**changes: object) -> ViTConfig:
    sizes = {
        "hidden_size": 20,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 17,
        "image_size": (6, 9),
        "patch_size": 3,
        "num_channels": 2,
        "num_labels": 5,
    }
    return ViTConfig(**{**sizes, **changes}, attn_implementation="sdpa")


@dtypes
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_classes_of_pictures_equal_vits(dtype, activation):
    theirs = randomised(ViTForImageClassification(config(hidden_act=activation)), dtype)
    ours = from_hugging_face(theirs)
    images = torch.randn(3, 2, 6, 9, dtype=dtype)
    patches = image_patches(images, size=3)
    compare(ours, theirs, from_hugging_face, [ours(patches)], [theirs(images).logits])


@dtypes
@pytest.mark.parametrize("bias", [True, False])
def test_vectors_of_patches_and_the_pooled_one_equal_vits(dtype, bias):
    theirs = randomised(ViTModel(config(qkv_bias=bias)), dtype)
    ours = from_hugging_face(theirs)
    images = torch.randn(3, 2, 6, 9, dtype=dtype)
    patches = image_patches(images, size=3)
    expected = theirs(images)
    compare(
        ours,
        theirs,
        from_hugging_face,
        [ours.encode(patches), ours(patches)],
        [expected.last_hidden_state, expected.pooler_output],
    )


@dtypes
def test_without_a_pooler_the_first_vector_equals_vits(dtype):
    theirs = randomised(ViTModel(config(), add_pooling_layer=False), dtype)
    ours = from_hugging_face(theirs)
    images = torch.randn(3, 2, 6, 9, dtype=dtype)
    expected = theirs(images).last_hidden_state[:, 0]
    compare(ours, theirs, from_hugging_face, [ours(image_patches(images, size=3))], [expected])


def test_in_single_precision_their_plain_attention_is_equal_too():
    theirs = randomised(ViTForImageClassification(config()), torch.float32)
    theirs.set_attn_implementation("eager")
    ours = from_hugging_face(theirs)
    images = torch.randn(3, 2, 6, 9)
    compare(ours, theirs, from_hugging_face, [ours(image_patches(images, size=3))], [theirs(images).logits])
