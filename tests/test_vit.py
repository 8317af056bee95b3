"""ViT: one class for pictures, sounds and films; places matter, and sizes are as published."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.layers import LayerNorm
from course_lib.patches import film_patches, image_patches, sound_frames
from course_lib.vit import VIT_BASE_16, ViT, ViTConfig

N, P, CLASSES = 6, 8, 5
SIZES = {"n_patches": N, "patch_width": P, "n_classes": CLASSES, "d_model": 12, "n_heads": 3, "n_layers": 2}


def small(**changes) -> ViT:
    """A ViT in double precision whose every weight is far from where it starts."""
    model = ViT(ViTConfig(**SIZES | changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def patches(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, N, P, dtype=torch.float64)


def test_the_classes_are_read_from_the_class_token_after_the_last_norm():
    model, given_patches = small(), patches()
    vectors = model.encode(given_patches)
    assert vectors.shape == (2, 1 + N, 12)
    expected = vectors[:, 0] @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(given_patches), expected)
    normalised = (vectors - model.encoder.norm.bias) / model.encoder.norm.weight
    torch.testing.assert_close(normalised.mean(-1), torch.zeros(2, 1 + N, dtype=torch.float64))
    torch.testing.assert_close(normalised.std(-1, unbiased=False), torch.ones(2, 1 + N, dtype=torch.float64))


@given(data=st.data())
def test_without_positions_the_order_of_the_patches_means_nothing(data):
    order = torch.tensor(data.draw(st.permutations(range(N)).filter(lambda drawn: drawn != sorted(drawn))))
    model, given_patches = small(), patches()
    assert not torch.allclose(model(given_patches[:, order]), model(given_patches))
    with torch.no_grad():
        model.positions.table[1:] = model.positions.table[1]
    torch.testing.assert_close(model(given_patches[:, order]), model(given_patches))


def test_every_patch_counts_and_no_other_picture_of_the_batch_does():
    model, given_patches = small(), patches(3).requires_grad_()
    torch.testing.assert_close(model(given_patches)[1:2], model(given_patches[1:2]))
    model(given_patches)[1].sum().backward()
    by_patch = given_patches.grad.abs().sum(-1)
    assert (by_patch[1] > 0).all() and (by_patch[[0, 2]] == 0).all()


@pytest.mark.parametrize(
    ("cut", "n_patches", "patch_width"),
    [
        (lambda: image_patches(torch.randn(2, 3, 12, 8), size=4), 6, 48),
        (lambda: sound_frames(torch.randn(2, 100), size=20, hop=10), 9, 20),
        (lambda: film_patches(torch.randn(2, 1, 6, 8, 8), depth=2, size=4), 12, 32),
    ],
)
def test_one_class_reads_pictures_sounds_and_films(cut, n_patches, patch_width):
    model = ViT(ViTConfig(**SIZES | {"n_patches": n_patches, "patch_width": patch_width}))
    assert model(cut()).shape == (2, CLASSES)


def test_a_picture_is_embedded_as_a_convolution_with_the_stride_of_a_patch_would():
    model = ViT(ViTConfig(**SIZES | {"n_patches": 6, "patch_width": 48}))
    pictures = torch.randn(2, 3, 12, 8)
    kernel = model.embedding.weight.view(12, 3, 4, 4)
    convolved = torch.nn.functional.conv2d(pictures, kernel, model.embedding.bias, stride=4)
    torch.testing.assert_close(
        model.embedding(image_patches(pictures, size=4)), convolved.flatten(2).transpose(1, 2)
    )


def test_vit_b_16_has_as_many_parameters_as_the_published_one():
    with torch.device("meta"):
        model = ViT(VIT_BASE_16)
    assert sum(parameter.numel() for parameter in model.parameters()) == 86_567_656


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_every_map_and_table_starts_small_and_every_bias_at_0(std):
    torch.manual_seed(0)
    sizes = {"n_patches": 40, "patch_width": 60, "n_classes": 50, "d_model": 120, "n_heads": 4, "n_layers": 2}
    model = ViT(ViTConfig(**sizes, init_std=std))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(std, rel=0.3), name


def test_dropout_acts_in_training_only():
    model, given_patches = small(dropout=0.3), patches()
    assert torch.equal(model(given_patches), model(given_patches))
    model.train()
    assert not torch.allclose(model(given_patches), model(given_patches))


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"activation": "gelu_tanh"}, {"eps": 0.5}])
def test_every_choice_of_the_config_changes_what_is_computed(changes):
    plain, chosen, given_patches = small(), small(**changes), patches()
    chosen.load_state_dict(plain.state_dict())
    assert not torch.allclose(chosen(given_patches), plain(given_patches), rtol=1e-6)
    assert {part.eps for part in chosen.modules() if isinstance(part, LayerNorm)} == {chosen.config.eps}


def test_dropout_falls_on_the_sum_of_patch_and_position_too():
    model, seen = small(d_model=96, dropout=0.5).train(), []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(patches(8))
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)


# --- what it refuses ---------------------------------------------------------------------------------------


@given(
    name=st.sampled_from([*SIZES, "d_ff"]),
    size=st.one_of(st.integers(max_value=0), st.floats(), st.just("3")),
)
def test_a_size_that_is_no_whole_number_above_0_is_named(name, size):
    with pytest.raises(ValueError, match=f"ViTConfig.*{name} = "):
        ViTConfig(**SIZES | {name: size})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 10}, "d_model = 10, n_heads = 3"),
        ({"dropout": 1.0}, "1.0"),
        ({"dropout": "much"}, "much"),
        ({"activation": "tanh"}, "tanh"),
        ({"eps": float("inf")}, "inf"),
        ({"init_std": 0.0}, "init_std .* got 0.0"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_its_value(changes, named):
    with pytest.raises(ValueError, match=f"ViTConfig.*{named}"):
        ViTConfig(**SIZES | changes)


@given(
    shape=st.lists(st.integers(0, 9), max_size=4).filter(lambda shape: shape[1:] != [N, P] or shape[0] == 0)
)
def test_patches_of_another_shape_are_refused_with_it(shape):
    with pytest.raises(ValueError, match=r"ViT: patches must be .* got shape \("):
        ViT(ViTConfig(**SIZES))(torch.zeros(shape))


@given(
    wrong=st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    place=st.tuples(st.integers(0, 1), st.integers(0, N - 1), st.integers(0, P - 1)),
)
def test_a_number_that_is_not_finite_is_named(wrong, place):
    given_patches = patches()
    given_patches[place] = wrong
    with pytest.raises(ValueError, match=f"ViT: patches must be finite, got {wrong}"):
        small()(given_patches)


@pytest.mark.parametrize(
    ("given_patches", "named"),
    [(torch.zeros(2, N, P, dtype=torch.long), "int64"), ([[0.0]], "a list"), (None, "a NoneType")],
)
def test_patches_that_are_no_floating_point_numbers_are_refused(given_patches, named):
    with pytest.raises(ValueError, match=f"ViT: patches must be floating point, got .*{named}"):
        small()(given_patches)
