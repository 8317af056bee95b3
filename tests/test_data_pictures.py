"""Digits, tones and moving dots: varied, the same for the same seed, and the class stands only where it should."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import digits, moving_dots, tones


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


WORLDS = {
    "digits": lambda n, seed: digits.sample_digits(n, generator=draw(seed)),
    "tones": lambda n, seed: tones.sample_tones(n, generator=draw(seed)),
    "moving dots": lambda n, seed: moving_dots.sample_moving_dots(n, generator=draw(seed)),
}
CLASSES = {"digits": 10, "tones": 6, "moving dots": 8}


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_seed_gives_the_same_examples_and_another_gives_others(world):
    for one, again, other in zip(WORLDS[world](30, 1), WORLDS[world](30, 1), WORLDS[world](30, 2)):
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("world", WORLDS)
def test_all_classes_are_as_frequent(world):
    _, classes = WORLDS[world](3000, 0)
    counts = torch.bincount(classes)
    assert len(counts) == CLASSES[world]
    # A count is binomial; six standard deviations are left, so a right draw fails once in 10⁸.
    chance = 1 / CLASSES[world]
    assert (counts - 3000 * chance).abs().max() < 6 * math.sqrt(3000 * chance * (1 - chance))


@pytest.mark.parametrize("world", WORLDS)
def test_no_two_examples_are_alike(world):
    examples, _ = WORLDS[world](400, 0)
    flat = examples.flatten(1)
    distances = torch.cdist(flat, flat).fill_diagonal_(math.inf)
    assert distances.min() > 0.05 * flat.norm(dim=-1).mean()


# --- digits ------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(n=st.integers(1, 5), size=st.integers(8, 40), seed=st.integers(0, 99))
def test_images_have_the_size_asked_for_and_run_from_paper_to_ink(n, size, seed):
    images, labels = digits.sample_digits(n, generator=draw(seed), size=size)
    assert images.shape == (n, 1, size, size) and labels.shape == (n,)
    assert images.min() >= 0 and images.max() <= 1
    assert (images.flatten(1).amax(-1) - images.flatten(1).median(-1).values > 0.2).all()


def test_the_hands_that_test_wrote_nothing_that_trains():
    assert not set(digits.TRAINING_HANDS) & set(digits.HELD_OUT_HANDS)
    assert len(digits.TRAINING_HANDS) + len(digits.HELD_OUT_HANDS) == digits.N_HANDS
    habits, bends, _ = digits._hands()
    of_hands = torch.cat([habits, bends.flatten(1)], dim=-1)  # (hands, 63)
    training, held_out = of_hands[list(digits.TRAINING_HANDS)], of_hands[list(digits.HELD_OUT_HANDS)]
    assert torch.cdist(held_out, training).min() > 0.1


@pytest.mark.parametrize("habit", ["slant", "width", "thickness", "bends", "form"])
def test_a_hand_writes_by_its_own_habits_and_by_no_other_hands(habit, monkeypatch):
    def written() -> torch.Tensor:
        return digits.draw_digits(torch.tensor([7, 7]), torch.tensor([5, 6]), generator=draw())

    before = written()
    habits, bends, forms = (table.clone() for table in digits._hands())
    if habit == "bends":
        bends[5, 7] += 0.3
    elif habit == "form":
        _, first, n_forms = digits._forms()
        forms[5, 7] = first[7] + (forms[5, 7] - first[7] + 1) % n_forms[7]
    else:
        habits[5, ["slant", "width", "thickness"].index(habit)] += 0.2
    monkeypatch.setattr(digits, "_hands", lambda: (habits, bends, forms))
    after = written()
    assert (after[0] - before[0]).abs().max() > 0.2
    assert torch.equal(after[1], before[1])


def test_a_hand_writes_as_it_does_and_unlike_others():
    """Noise and place aside, two sevens of one hand are more alike than those of two hands."""
    n = 400
    sevens, first, second = torch.full((n,), 7), torch.arange(n), torch.arange(n) + n
    images = [
        digits.draw_digits(sevens, hand, generator=draw(seed)).flatten(1)
        for seed, hand in ((1, first), (2, first), (3, second))
    ]
    spectra = [
        torch.fft.fft2(image.view(n, 28, 28)).abs().flatten(1).log1p() for image in images
    ]  # shifts drop out
    same = (spectra[0] - spectra[1]).norm(dim=-1)
    other = (spectra[0] - spectra[2]).norm(dim=-1)
    assert same.mean() < other.mean()


def test_every_form_of_every_digit_is_written_by_some_hand_and_lies_in_its_box():
    pieces, first, n_forms = digits._forms()
    _, _, forms = digits._hands()
    assert set(forms.flatten().tolist()) == set(range(len(pieces)))
    for digit in range(10):
        own = forms[:, digit] - first[digit]
        assert ((own >= 0) & (own < n_forms[digit])).all()
    assert pieces.abs().max() <= 1 + 1e-6


def test_nearly_all_of_the_ink_is_on_the_paper():
    """A frame of one pixel around the image is as bright as the paper inside, for nearly all images."""
    images = digits.draw_digits(torch.arange(10).repeat(40), torch.arange(400), generator=draw())[:, 0]
    edges = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], dim=-1)  # (B, 4 · 28)
    inked = edges > images.flatten(1).quantile(0.5, dim=-1)[:, None] + 0.45
    assert (inked.sum(-1) > 3).float().mean() < 0.06


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: digits.sample_digits(0, generator=draw()), "n must .* got 0"),
        (lambda: digits.sample_digits(1.5, generator=draw()), "got 1.5"),
        (lambda: digits.sample_digits(1, generator=draw(), hands=[]), "none"),
        (lambda: digits.sample_digits(3, generator=draw(), hands=[1000]), "hands must .* 999, got 1000"),
        (lambda: digits.sample_digits(3, generator=draw(), size=7), "size must .* got 7"),
        (lambda: digits.draw_digits(torch.tensor([10]), torch.tensor([0]), generator=draw()), "got 10"),
        (lambda: digits.draw_digits(torch.tensor([-1]), torch.tensor([0]), generator=draw()), "got -1"),
        (lambda: digits.draw_digits(torch.tensor([1.0]), torch.tensor([0]), generator=draw()), "float32"),
        (lambda: digits.draw_digits([1], torch.tensor([0]), generator=draw()), "a list"),
        (lambda: digits.draw_digits(torch.tensor([1, 2]), torch.tensor([0]), generator=draw()), "2 and 1"),
        (lambda: digits.draw_digits(torch.tensor([[1]]), torch.tensor([0]), generator=draw()), r"\(1, 1\)"),
        (lambda: digits.draw_digits(torch.tensor(()).long(), torch.tensor([0]), generator=draw()), r"\(0,\)"),
    ],
)
def test_what_cannot_be_written_is_named(call, named):
    with pytest.raises(ValueError, match=f"digits: .*{named}"):
        call()


# --- tones -------------------------------------------------------------------------------------------------


def test_a_melody_is_three_notes_in_the_order_of_its_class():
    sounds, melodies = tones.sample_tones(200, generator=draw(), noise=0.0)
    assert sounds.shape == (200, tones.SAMPLES) and sounds.abs().max() < 2
    for sound, melody in zip(sounds, melodies.tolist()):
        pitches = [_pitch(note) for note in _notes(sound)]
        assert len(pitches) == 3
        assert tuple(sorted(range(3), key=pitches.__getitem__)) == _inverse(tones.MELODIES[melody])
        lowest = min(pitches)
        for pitch, step in zip(sorted(pitches), tones.STEPS):
            assert pitch / lowest == pytest.approx(step, rel=0.03)


def test_no_frame_hears_two_notes_so_a_bag_of_frames_does_not_know_their_order():
    sounds, _ = tones.sample_tones(500, generator=draw(), noise=0.0)
    for sound in sounds:
        heard = sound.nonzero()[:, 0]
        steps = heard.diff()
        silences = steps[steps > 8]  # a wave itself is 0 for a sample now and then
        assert len(silences) == 2 and silences.min() >= tones.FRAME
        assert heard[0] > 0 or sound[0] != 0
        assert heard[-1] < tones.SAMPLES - 1  # the last note is not cut off


def test_how_the_notes_lie_to_the_frames_does_not_tell_their_order():
    """Where a note begins within a frame is drawn anew for each note, evenly over the whole frame."""
    sounds, _ = tones.sample_tones(2000, generator=draw(), noise=0.0)
    begins = []
    for sound in sounds:
        heard = sound.nonzero()[:, 0]
        later = (heard.diff() > 8).nonzero()[:, 0] + 1
        begins.append(torch.stack([heard[0], *heard[later]]) % tones.FRAME)
    begins = torch.stack(begins)  # (2000, 3)
    for place in range(3):
        counts = torch.bincount(begins[:, place] // 8, minlength=8)
        assert (counts - 250).abs().max() < 6 * math.sqrt(250 * 7 / 8)
    correlations = torch.corrcoef(torch.cat([begins, begins.diff(dim=1) % tones.FRAME], dim=1).T.float())
    assert correlations[:3, :3].fill_diagonal_(0).abs().max() < 6 / math.sqrt(2000)
    assert correlations[3, 4].abs() < 6 / math.sqrt(2000)  # no common step from note to note


def _notes(sound: torch.Tensor) -> list[torch.Tensor]:
    """Cut a sound without noise at its silences."""
    notes: list[list[float]] = [[]]
    silence = 0
    for sample in sound.tolist():
        silence = silence + 1 if sample == 0 else 0
        if silence > tones.FRAME // 2:
            if notes[-1]:
                notes.append([])
        elif sample != 0 or notes[-1]:
            notes[-1].append(sample)
    return [torch.tensor(note) for note in notes if len(note) > 100]


def _pitch(note: torch.Tensor) -> float:
    """Return the frequency of the strongest tone, in hertz."""
    loudness = torch.fft.rfft(note * torch.hann_window(len(note)), n=8192).abs()
    return loudness.argmax().item() * tones.RATE / 8192


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: tones.sample_tones(0, generator=draw()), "n must .* got 0"),
        (lambda: tones.sample_tones("2", generator=draw()), "got '2'"),
        (lambda: tones.sample_tones(1, generator=draw(), noise=-0.1), "noise must .* got -0.1"),
        (lambda: tones.sample_tones(1, generator=draw(), noise=math.nan), "got nan"),
    ],
)
def test_what_cannot_be_heard_is_named(call, named):
    with pytest.raises(ValueError, match=f"sample_tones: .*{named}"):
        call()


# --- moving dots -------------------------------------------------------------------------------------------


def test_the_dots_move_the_way_their_class_says():
    """The frame after is the frame before, pushed along; of all eight ways the right one fits best."""
    films, directions = moving_dots.sample_moving_dots(
        150, generator=draw(), coherence=1.0, noise=0.0, size=24
    )
    angles = torch.arange(8) * math.tau / 8
    found = []
    for film in films[:, 0]:
        fits = []
        for angle in angles:
            # Four frames on, the dots are 3 to 6 pixels further: try the pushes in between.
            pushes = {(round(far * math.sin(angle)), round(far * math.cos(angle))) for far in range(3, 7)}
            fits.append(max((film[0].roll(push, (0, 1)) * film[4]).sum().item() for push in pushes))
        found.append(max(range(8), key=fits.__getitem__))
    assert (torch.tensor(found) == directions).float().mean() > 0.95


def test_a_single_frame_looks_alike_whatever_the_direction():
    films, directions = moving_dots.sample_moving_dots(4000, generator=draw(), noise=0.0)
    last = films[:, 0, -1]  # where a drift that left its trace would show most
    means = torch.stack([last[directions == way].mean(0) for way in range(8)])  # (8, S, S)
    # Each is a mean of about 500 frames: what chance allows, at six standard deviations of 2048 numbers.
    allowed = 6 * last.std(0).mean() / math.sqrt(4000 / 8)
    assert (means - last.mean(0)).abs().max() < allowed


def test_the_dial_says_how_many_dots_go_along():
    """With no dot going along, the direction tells nothing: the mean of what moves is the same for all."""
    along, ways = moving_dots.sample_moving_dots(800, generator=draw(), coherence=1.0, noise=0.0, n_dots=1)
    alone, others = moving_dots.sample_moving_dots(800, generator=draw(), coherence=0.0, noise=0.0, n_dots=1)
    assert _moved_right(along)[ways == 0].mean() > 0.5
    assert _moved_right(along)[ways == 4].mean() < -0.5
    assert abs(_moved_right(alone)[others == 0].mean() - _moved_right(alone)[others == 4].mean()) < 0.5


def _moved_right(films: torch.Tensor) -> torch.Tensor:
    """Return by how many pixels the one dot of each film went to the right from frame 0 to frame 1."""
    columns = films[:, 0].sum(2)  # (B, F, S)
    turns = torch.exp(1j * math.tau * torch.arange(columns.size(-1)) / columns.size(-1))
    angles = (columns * turns).sum(-1).angle()  # (B, F): the middle of the dot, on a circle
    step = torch.remainder(angles[:, 1] - angles[:, 0] + math.pi, math.tau) - math.pi
    return step * columns.size(-1) / math.tau


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n": 0}, "n must .* got 0"),
        ({"n_frames": 1}, "n_frames must .* got 1"),
        ({"size": 3}, "size must .* got 3"),
        ({"n_dots": 0}, "n_dots must .* got 0"),
        ({"n_dots": 2.0}, "got 2.0"),
        ({"coherence": 1.1}, "coherence must .* got 1.1"),
        ({"coherence": math.nan}, "got nan"),
        ({"noise": -1.0}, "noise must .* got -1.0"),
        ({"noise": math.inf}, "got inf"),
    ],
)
def test_what_cannot_be_filmed_is_named(changes, named):
    with pytest.raises(ValueError, match=f"sample_moving_dots: .*{named}"):
        moving_dots.sample_moving_dots(**{"n": 2, "generator": draw()} | changes)
