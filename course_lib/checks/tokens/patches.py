"""Exercise 02.patches: an image becomes tokens.

B batch · C channels · H height · W width · P side of a patch · N patches
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, no_gradient, unlike

STUB = '''
def patches(images, size):
    """Cut images into square patches: each patch becomes one token.

    Args:
        images: (B, C, H, W), with C colours. H and W are multiples of size; they may differ.
        size: the side P of a patch, in pixels.

    Returns:
        (B, N, C·P·P), with N = (H / P) · (W / P) patches in reading order: the uppermost row from left
        to right, then the next. A patch's numbers stand in the order colour, row, column.
        The images stay as they were, and gradients flow back to them.
    """
'''


def _image(*shape: int) -> Tensor:
    """An image whose numbers say where they come from: colours in hundreds, then pixels counted in reading order."""
    batch, colours, height, width = shape
    pixels = torch.arange(1.0, height * width + 1).view(height, width)
    steps = 100.0 * torch.arange(batch * colours).view(batch, colours, 1, 1)
    return pixels + steps


def _patches_of_one_grey_image(candidate: Any) -> Seen:
    images = _image(1, 1, 4, 6)
    given = images.clone()
    tokens, again = a_tensor(a_function(candidate)(given, 2)), a_tensor(candidate(images.clone(), 2))
    return {
        "tokens": tokens,
        "input changed": yes(not torch.equal(given, images)),
        "second call differs": yes(unlike(tokens, again)),
    }


def _patches_of_an_image_without_order(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(1, 1, 4, 6, seed=506), 2))}


def _patches_in_colour(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(_image(1, 3, 4, 6), 2))}


def _patches_of_several_images(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(2, 3, 6, 15, seed=500), 3))}


def _patches_of_high_images(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(3, 2, 8, 4, seed=501), 4))}


def _patches_of_square_images(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(4, 4, 4, 4, seed=502), 2))}


def _patches_of_one_pixel(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(2, 3, 2, 5, seed=503), 1))}


def _patches_as_large_as_the_image(candidate: Any) -> Seen:
    return {"tokens": a_tensor(candidate(numbers(2, 3, 5, 5, seed=504), 5))}


def _patches_gradients(candidate: Any) -> Seen:
    (leaf,), (images,) = watched(numbers(2, 3, 4, 6, seed=505))
    return gradients(a_tensor(candidate(images, 2)), {"images": leaf})


def _cut(images: Tensor, size: int) -> Tensor:
    """Return (B, H/P, W/P, C, P, P)."""
    batch, colours, height, width = images.shape
    grid = images.reshape(batch, colours, height // size, size, width // size, size)
    return grid.permute(0, 2, 4, 1, 3, 5)


def _ordered(*order: int) -> Any:
    """Patches whose axes (B, H/P, W/P, C, P, P) are put in another order before they are flattened."""

    def patches(images: Tensor, size: int) -> Tensor:
        grid = _cut(images, size)
        n = grid.size(1) * grid.size(2)
        return grid.permute(*order).reshape(images.size(0), n, -1)

    return patches


def _reference(images: Tensor, size: int) -> Tensor:
    return _cut(images, size).flatten(3).flatten(1, 2)


def _n_patches(images: Tensor, size: int) -> int:
    return (images.size(2) // size) * (images.size(3) // size)


def _strips(images: Tensor, size: int) -> Tensor:
    """All columns of P rows cut off in one piece: a patch as wide as the image."""
    batch, colours, height, width = images.shape
    return images.reshape(batch, colours, height // size, size * width).transpose(1, 2).flatten(2)


def _as_many_as_size(images: Tensor, size: int) -> Tensor:
    """P rows and P columns of patches, whatever their size."""
    batch, colours, height, width = images.shape
    grid = images.reshape(batch, colours, size, height // size, size, width // size)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _by_unfold(images: Tensor, step: int, size: int) -> Tensor:
    cut = images.unfold(2, size, step).unfold(3, size, step)  # (B, C, rows, columns, P, P)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


_LINE = "images.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)"
_INSIDE = "The order inside a token is colour, row, column: (C, P, P), flattened."

_MISTAKES = (
    Mistake(
        "height and width exchanged",
        lambda images, size: _reference(
            images.reshape(*images.shape[:2], images.size(3), images.size(2)), size
        ),
        "Height and width are exchanged: you cut an image as wide as yours is high.",
        "The shape is (B, C, H, W): the height stands before the width.",
        "B, C, H, W = images.shape",
    ),
    Mistake(
        "a plain reshape",
        lambda images, size: images.reshape(images.size(0), _n_patches(images, size), -1),
        "A plain reshape cuts the row of numbers, not the image: no patch is a square.",
        "The pixels of a patch do not stand one after the other in memory. Split H and W first, then move axes.",
        _LINE,
    ),
    Mistake(
        "a plain reshape, colours last",
        lambda images, size: images.permute(0, 2, 3, 1).reshape(images.size(0), _n_patches(images, size), -1),
        "A reshape cuts rows of pixels, colours last: no patch is a square.",
        "The pixels of a patch do not stand one after the other in memory. Split H and W first, then move axes.",
        _LINE,
    ),
    Mistake(
        "each colour cut by a reshape",
        lambda images, size: (
            images.reshape(*images.shape[:2], _n_patches(images, size), -1).transpose(1, 2).flatten(2)
        ),
        "Each colour is cut by a reshape: its pieces are rows of pixels, not squares.",
        "The pixels of a patch do not stand one after the other in memory. Split H and W first, then move axes.",
        _LINE,
    ),
    Mistake(
        "column by column",
        _ordered(0, 2, 1, 3, 4, 5),
        "Your patches go down the columns; reading order goes along the rows.",
        "Of H/P and W/P, which must vary faster, and so stand further right?",
        _LINE,
    ),
    Mistake(
        "pixels column by column",
        _ordered(0, 1, 2, 3, 5, 4),
        "Inside a token your pixels go down the columns; they should go along the rows.",
        _INSIDE,
        _LINE,
    ),
    Mistake(
        "everything column by column",
        _ordered(0, 2, 1, 3, 5, 4),
        "Both the patches and the pixels inside go down the columns: the image is turned.",
        "H stands before W. Were the two exchanged at the beginning?",
        _LINE,
    ),
    Mistake(
        "colours last",
        _ordered(0, 1, 2, 4, 5, 3),
        "Inside a token the colours vary fastest; they should come first.",
        _INSIDE,
        _LINE,
    ),
    Mistake(
        "colours last, column by column",
        _ordered(0, 1, 2, 5, 4, 3),
        "Inside a token the order is column, row, colour; it should be the other way round.",
        _INSIDE,
        _LINE,
    ),
    Mistake(
        "colours in the middle",
        _ordered(0, 1, 2, 4, 3, 5),
        "Inside a token the order is row, colour, column; the colours should come first.",
        _INSIDE,
        _LINE,
    ),
    Mistake(
        "colours before the patches",
        _ordered(0, 3, 1, 2, 4, 5),
        "Your tokens hold pieces of one colour each; a token has all colours of its patch.",
        "Before the last reshape the axes must be (B, H/P, W/P, C, P, P). Where does C stand in yours?",
        _LINE,
    ),
    Mistake(
        "rows of patches and pixels exchanged",
        lambda images, size: (
            images.reshape(
                images.size(0), images.size(1), size, images.size(2) // size, size, images.size(3) // size
            )
            .permute(0, 3, 5, 1, 2, 4)
            .flatten(3)
            .flatten(1, 2)
        ),
        "A token takes pixels that lie apart; in a patch they lie together.",
        "H is split into (H/P, P), in this order: first which patch, then which pixel of it.",
        _LINE,
    ),
    Mistake(
        "as many as a patch has pixels",
        _as_many_as_size,
        "You cut the image into P rows and P columns; a patch should be P pixels wide.",
        "size is the side of a patch, not the number of patches.",
        _LINE,
    ),
    Mistake(
        "strips",
        _strips,
        "Your patches are as wide as the image: only its rows are cut.",
        "Cut the columns too: W is split into (W/P, P).",
        _LINE,
    ),
    Mistake(
        "overlapping",
        lambda images, size: _by_unfold(images, 1, size),
        "Your patches overlap: each begins one pixel after the last.",
        "The step of a window that does not overlap is its own side: unfold(2, size, size).",
        _LINE,
    ),
    Mistake(
        "half overlapping",
        lambda images, size: _by_unfold(images, max(1, size // 2), size),
        "Your patches overlap by half.",
        "The step of a window that does not overlap is its own side: unfold(2, size, size).",
        _LINE,
    ),
    Mistake(
        "unfolded, not turned",
        lambda images, size: F.unfold(images, size, stride=size),
        "Your result is (B, C·P·P, N): the tokens stand in columns.",
        "F.unfold puts the patches along the last axis. Exchange the last two axes.",
        "F.unfold(images, size, stride=size).transpose(1, 2)",
    ),
    Mistake(
        "unfolded, then reshaped",
        lambda images, size: F.unfold(images, size, stride=size).reshape(
            images.size(0), _n_patches(images, size), -1
        ),
        "The numbers of several patches are mixed: a reshape stands where axes must change.",
        "F.unfold gives (B, C·P·P, N). `transpose(1, 2)` exchanges axes, a reshape does not.",
        "F.unfold(images, size, stride=size).transpose(1, 2)",
    ),
    Mistake(
        "the grid is kept",
        lambda images, size: _cut(images, size).flatten(3),
        "Your result is (B, H/P, W/P, C·P·P): the patches still lie in a grid.",
        "A Transformer takes a row of tokens: join the two axes of the grid.",
        "….flatten(1, 2)",
    ),
    Mistake(
        "the patches are kept",
        lambda images, size: _cut(images, size).flatten(1, 2),
        "Your result is (B, N, C, P, P): the patches are not flattened.",
        "A token is one row of numbers: join the last three axes.",
        "….flatten(2)",
    ),
    Mistake(
        "all images in one row",
        lambda images, size: _reference(images, size).flatten(0, 1),
        "Your result is (B·N, C·P·P): the images lie one after the other.",
        "Keep the batch axis in front.",
        _LINE,
    ),
    Mistake(
        "tokens of one colour",
        lambda images, size: _cut(images, size).permute(0, 3, 1, 2, 4, 5).flatten(4).flatten(1, 3),
        "Your result has C·N tokens, one for each colour of a patch; one token has all.",
        "The colours belong inside the token.",
        _LINE,
    ),
    Mistake(
        "only the first colour",
        lambda images, size: _reference(images[:, :1], size),
        "You take the first colour only.",
        "Is there an index 0 in place of a whole axis?",
        _LINE,
    ),
    Mistake(
        "the mean of the colours",
        lambda images, size: _reference(images.mean(1, keepdim=True), size),
        "The colours are averaged; a token holds all of them.",
        "C·P·P numbers a token: nothing is averaged away.",
        _LINE,
    ),
    Mistake(
        "the mean of each patch",
        lambda images, size: _cut(images, size).mean((-2, -1)).flatten(1, 2),
        "You average over each patch; a token holds all its pixels.",
        "C·P·P numbers a token: nothing is averaged away.",
        _LINE,
    ),
    Mistake(
        "only the first image",
        lambda images, size: _reference(images[:1].expand(images.shape), size),
        "Every image gets the patches of the first one.",
        "Is there an index 0 where the number of the image belongs?",
        _LINE,
    ),
    Mistake(
        "from right to left",
        lambda images, size: _cut(images, size).flip(2).flatten(3).flatten(1, 2),
        "Your patches go from right to left.",
        "Reading order: from left to right, from top to bottom.",
        _LINE,
    ),
    Mistake(
        "from bottom to top",
        lambda images, size: _cut(images, size).flip(1).flatten(3).flatten(1, 2),
        "Your patches go from bottom to top.",
        "Reading order: from left to right, from top to bottom.",
        _LINE,
    ),
    Mistake(
        "the last patches are missing",
        lambda images, size: (
            _cut(images, size)[:, :-1].flatten(3).flatten(1, 2)
            if images.size(2) > size
            else _reference(images, size)
        ),
        "The lowest row of patches is missing.",
        "range(0, H - P, P) does not hold H - P. Where does your loop end?",
        "range(0, H, P)",
    ),
    Mistake(
        "the last column is missing",
        lambda images, size: (
            _cut(images, size)[:, :, :-1].flatten(3).flatten(1, 2)
            if images.size(3) > size
            else _reference(images, size)
        ),
        "The rightmost column of patches is missing.",
        "range(0, W - P, P) does not hold W - P. Where does your loop end?",
        "range(0, W, P)",
    ),
    Mistake(
        "the last column and row are missing",
        lambda images, size: (
            _cut(images, size)[:, :-1, :-1].flatten(3).flatten(1, 2)
            if min(images.shape[2:]) > size
            else _reference(images, size)
        ),
        "The lowest row and the rightmost column of patches are missing.",
        "range(0, H - P, P) does not hold H - P. Where do your loops end?",
        "range(0, H, P), range(0, W, P)",
    ),
    Mistake(
        "no gradient",
        lambda images, size: _reference(images.detach(), size),
        "The tokens are right, but no gradient flows back to the images.",
        "`.detach()`, `.data`, `.tolist()`, NumPy and torch.tensor(…) cut the gradient.",
        _LINE,
    ),
    Mistake(
        "scaled",
        lambda images, size: _reference(images, size) / 255,
        "Your numbers are divided by 255; they should stay as they are.",
        "Only the places change here, no number does.",
        _LINE,
    ),
)


def _sets_are_patches(tokens: Tensor) -> bool:
    """Say whether each token of the grey image holds the numbers of one patch, in any order."""
    wanted = {tuple(sorted(row)) for row in _reference(_image(1, 1, 4, 6), 2)[0].tolist()}
    return {tuple(sorted(row)) for row in tokens[0].tolist()} == wanted


_PROPERTIES = (
    left_to_chance("patches of one grey image"),
    changes_its_input("patches of one grey image"),
    Property(
        "other numbers",
        lambda seen: torch.equal(
            seen["patches of one grey image"]["tokens"].flatten().sort().values,
            torch.arange(1.0, 25).double(),
        ),
        "Your tokens do not hold each pixel of the image once.",
        "Only places change: no pixel is lost, doubled or computed with.",
    ),
    Property(
        "no patches",
        lambda seen: _sets_are_patches(seen["patches of one grey image"]["tokens"]),
        "A token of yours holds pixels that do not lie in one square of the image.",
        "Number the pixels with torch.arange and look at the first token. Split H and W first, then move axes.",
    ),
    Property(
        "patches in another order",
        lambda seen: torch.equal(
            seen["patches of one grey image"]["tokens"].sort(-1).values,
            _reference(_image(1, 1, 4, 6), 2).sort(-1).values.double(),
        ),
        "Your tokens are the right patches, but not in reading order.",
        "The uppermost row from left to right, then the next.",
    ),
    Property(
        "pixels in another order",
        lambda seen: agrees(seen, _patches_of_one_grey_image, PATCHES.reference),
        "Your patches are right, but the pixels inside stand in another order.",
        "Along the rows of the patch: the upper left pixel, then its right neighbour.",
    ),
    Property(
        "another image",
        lambda seen: agrees(seen, _patches_of_an_image_without_order, PATCHES.reference),
        "Right for an image of rising whole numbers, wrong for one of other numbers.",
        "Are the numbers sorted, made whole, or otherwise computed with? Only their places change.",
    ),
    Property(
        "colours in another order",
        lambda seen: agrees(seen, _patches_in_colour, PATCHES.reference),
        "Right for a grey image, wrong for one with colours.",
        f"{_INSIDE} All pixels of the first colour, then all of the second.",
    ),
    Property(
        "several images",
        lambda seen: agrees(seen, _patches_of_several_images, PATCHES.reference),
        "Right for one image, wrong for several or for another size.",
        "Does the batch axis stay in front, through each step?",
    ),
    no_gradient("patches gradients", "the images"),
)


PATCHES: Exercise = Exercise(
    id="02.patches",
    title="An image becomes tokens",
    stub=STUB,
    reference=_reference,
    experiments=(
        _patches_of_one_grey_image,
        _patches_of_an_image_without_order,
        _patches_in_colour,
        _patches_of_several_images,
        _patches_of_high_images,
        _patches_of_square_images,
        _patches_of_one_pixel,
        _patches_as_large_as_the_image,
        _patches_gradients,
    ),
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=3,
    importance=3,
    minutes=15,
)
