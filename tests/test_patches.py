"""Patches: nothing lost, nothing mixed, in the order that convolutions have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib.patches import film_patches, image_patches, sound_frames

sizes = st.integers(1, 4)


@given(sizes, sizes, sizes, sizes, sizes)
def test_a_linear_map_of_picture_patches_is_a_convolution_with_that_stride(
    batch, colours, down, across, size
):
    images = torch.randn(batch, colours, down * size, across * size)
    convolution = nn.Conv2d(colours, 5, kernel_size=size, stride=size)
    expected = convolution(images).flatten(2).mT  # (B, N, 5)
    rows = image_patches(images, size=size)
    ours = rows @ convolution.weight.flatten(1).T + convolution.bias
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@given(sizes, sizes, sizes, sizes, sizes)
def test_a_linear_map_of_film_boxes_is_a_convolution_in_three_dimensions(colours, deep, down, depth, size):
    films = torch.randn(2, colours, deep * depth, down * size, 3 * size)
    convolution = nn.Conv3d(colours, 5, kernel_size=(depth, size, size), stride=(depth, size, size))
    expected = convolution(films).flatten(2).mT
    rows = film_patches(films, depth=depth, size=size)
    ours = rows @ convolution.weight.flatten(1).T + convolution.bias
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 20))
def test_frames_of_sound_begin_a_hop_apart(size, hop, rest):
    sound = torch.arange(2.0 * (size + rest)).view(2, size + rest)
    frames = sound_frames(sound, size=size, hop=hop)
    assert frames.shape == (2, rest // hop + 1, size)
    for number, frame in enumerate(frames[1]):
        assert torch.equal(frame, sound[1, number * hop : number * hop + size])


def test_frames_do_not_overlap_unless_they_are_asked_to():
    sound = torch.arange(12.0)[None]
    assert torch.equal(sound_frames(sound, size=4).flatten(1), sound)


def test_the_patches_of_six_pixels_by_hand():
    image = torch.arange(24).view(1, 1, 4, 6)
    patches = image_patches(image, size=2)
    assert patches[0, 0].tolist() == [0, 1, 6, 7]
    assert patches[0, 1].tolist() == [2, 3, 8, 9]
    assert patches[0, 3].tolist() == [12, 13, 18, 19]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_patches(torch.zeros(3, 4, 4), size=2), r"got shape \(3, 4, 4\)"),
        (
            lambda: image_patches(torch.zeros(1, 3, 4, 5), size=2),
            "W = 5 cannot be cut into pieces of size = 2",
        ),
        (lambda: image_patches(torch.zeros(1, 3, 0, 4), size=2), "H = 0 cannot be cut"),
        (lambda: image_patches(torch.zeros(1, 3, 4, 4), size=0), "size must be at least 1, got 0"),
        (lambda: film_patches(torch.zeros(1, 3, 4, 4), depth=2, size=2), r"got shape \(1, 3, 4, 4\)"),
        (
            lambda: film_patches(torch.zeros(1, 3, 5, 4, 4), depth=2, size=2),
            "F = 5 cannot be cut into pieces of depth = 2",
        ),
        (
            lambda: film_patches(torch.zeros(1, 3, 4, 4, 4), depth=-1, size=2),
            "depth must be at least 1, got -1",
        ),
        (lambda: sound_frames(torch.zeros(8), size=2), r"got shape \(8,\)"),
        (lambda: sound_frames(torch.zeros(1, 8), size=9), "size = 9, hop = 9, S = 8"),
        (lambda: sound_frames(torch.zeros(1, 8), size=2, hop=0), "hop = 0"),
    ],
)
def test_what_cannot_be_cut_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
