"""Patches: pictures, sound and film cut into pieces of one size, each laid out as a row of numbers.

B batch · C colours (channels) · H, W height and width in pixels · F frames of a film · S samples of sound
P side of a patch in pixels · N tokens

A linear map of such a row to d_model numbers is to a patch what the embedding table is to a word.

Papers: Dosovitskiy et al. 2021, section 3.1 (pictures); Arnab et al. 2021, section 3.2 (film, "tubelets");
Gong et al. 2021, section 2.1 (sound, there from its spectrogram).
"""

from __future__ import annotations

from torch import Tensor


def image_patches(images: Tensor, *, size: int) -> Tensor:
    """Cut pictures into square patches, in reading order: left to right, then down.

    Args:
        images: (B, C, H, W); H and W multiples of `size`.
        size: P, the side of a patch.

    Returns:
        (B, N, C·P·P) with N = (H/P)·(W/P). Within a patch the colours stand one after the other, each in
        reading order: the order in which `nn.Conv2d` lays out its weights.

    Raises:
        ValueError: `images` is not (B, C, H, W), or cannot be cut without a rest.
    """
    if images.dim() != 4:
        raise ValueError(f"image_patches: images must be (B, C, H, W), got shape {tuple(images.shape)}")
    batch, colours, height, width = images.shape
    _check_cut("image_patches", "size", size, {"H": height, "W": width})
    cut = images.reshape(batch, colours, height // size, size, width // size, size)  # (B, C, H/P, P, W/P, P)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2).flatten(2)  # (B, N, C, P, P) → (B, N, C·P·P)


def film_patches(films: Tensor, *, depth: int, size: int) -> Tensor:
    """Cut films into boxes, some frames deep and some pixels high and wide; time runs slowest.

    Args:
        films: (B, C, F, H, W); F a multiple of `depth`, H and W of `size`.
        depth: frames in a box.
        size: P, its height and width in pixels.

    Returns:
        (B, N, C·depth·P·P) with N = (F/depth)·(H/P)·(W/P).

    Raises:
        ValueError: `films` is not (B, C, F, H, W), or cannot be cut without a rest.
    """
    if films.dim() != 5:
        raise ValueError(f"film_patches: films must be (B, C, F, H, W), got shape {tuple(films.shape)}")
    batch, colours, frames, height, width = films.shape
    _check_cut("film_patches", "depth", depth, {"F": frames})
    _check_cut("film_patches", "size", size, {"H": height, "W": width})
    cut = films.reshape(
        batch, colours, frames // depth, depth, height // size, size, width // size, size
    )  # (B, C, F/depth, depth, H/P, P, W/P, P)
    return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(1, 3).flatten(2)  # (B, N, C·depth·P·P)


def sound_frames(sound: Tensor, *, size: int, hop: int | None = None) -> Tensor:
    """Cut sound into frames; what is left at the end and fills no frame is dropped.

    Args:
        sound: (B, S).
        size: samples in a frame.
        hop: samples from one frame's beginning to the next; `size` when left out. Less than `size`: the frames
            overlap, as is usual for speech.

    Returns:
        (B, N, size) with N = (S − size) // hop + 1.

    Raises:
        ValueError: `sound` is not (B, S), is shorter than a frame, or a number of samples is below 1.
    """
    hop = size if hop is None else hop
    if sound.dim() != 2:
        raise ValueError(f"sound_frames: sound must be (B, S), got shape {tuple(sound.shape)}")
    if size < 1 or hop < 1 or size > sound.size(1):
        raise ValueError(
            f"sound_frames: need 1 ≤ size ≤ S and hop ≥ 1, got size = {size}, hop = {hop}, S = {sound.size(1)}"
        )
    return sound.unfold(1, size, hop)  # (B, N, size)


def _check_cut(who: str, name: str, size: int, lengths: dict[str, int]) -> None:
    if size < 1:
        raise ValueError(f"{who}: {name} must be at least 1, got {size}")
    for axis, length in lengths.items():
        if length < size or length % size:
            raise ValueError(f"{who}: {axis} = {length} cannot be cut into pieces of {name} = {size}")
