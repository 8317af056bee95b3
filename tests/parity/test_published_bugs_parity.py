"""The published faults of "find the bug", as we rewrote them, against the originals in d2l 1.0.3."""

import pytest
import torch

from course_lib.checks import judge
from course_lib.checks.masks.find_the_bug import published_masked_softmax
from course_lib.checks.positions.find_the_bug import Decoder, PublishedDecoder
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402

LENGTHS = [[3, 0, 5], [5, 5, 5], [1, 2, 4], [0, 0, 0]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_published_masked_softmax_gives_the_weights_of_d2l(lengths):
    scores, valid_lens = torch.randn(3, 2, 5), torch.tensor(lengths)
    ours = published_masked_softmax(scores.clone(), valid_lens)
    assert torch.equal(ours, d2l.masked_softmax(scores.clone(), valid_lens))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("contiguous", [True, False])
def test_it_leaves_the_scores_as_d2l_leaves_them(lengths, contiguous):
    scores = torch.randn(3, 2, 5) if contiguous else torch.randn(3, 5, 2).transpose(1, 2)
    ours, theirs = scores.clone(), scores.clone()  # clone keeps the order in memory
    assert ours.is_contiguous() == contiguous
    published_masked_softmax(ours, torch.tensor(lengths))
    d2l.masked_softmax(theirs, torch.tensor(lengths))
    assert torch.equal(ours, theirs)
    # A reshape is a view, and writes through, only where the numbers lie in one piece.
    assert torch.equal(ours, scores) == (not contiguous or lengths == [5, 5, 5])


def test_the_learners_test_finds_both_faults_in_the_original_too():
    def test_masked_softmax(masked_softmax):
        scores = torch.randn(2, 3, 4)
        before = scores.clone()
        weights = masked_softmax(scores, torch.tensor([2, 0]))
        assert torch.equal(scores, before)
        assert (weights[1] == 0).all()

    assert judge("05.find_the_bug", test_masked_softmax).passed
    with pytest.raises(AssertionError):
        test_masked_softmax(d2l.masked_softmax)


class DecoderOfD2L(torch.nn.Module):
    """d2l's positions and attention, put together as in its book's TransformerDecoderBlock.

    The book keeps the inputs of a block as its state, and hands valid lengths to the attention in training
    only. Cross-attention, feed-forward network and normalisation follow there; they know nothing of positions.
    """

    def __init__(self, ours: Decoder, d_model: int):
        super().__init__()
        self.positions = d2l.PositionalEncoding(d_model, dropout=0.0)
        self.attention = d2l.MultiHeadAttention(d_model, num_heads=1, dropout=0.0)
        x = torch.zeros(1, 1, d_model)
        self.attention(x, x, x, None)  # its layers are made when they first see an input
        with torch.no_grad():
            for name in ("w_q", "w_k", "w_v", "w_o"):
                theirs = getattr(self.attention, name.replace("w", "W"))
                theirs.weight.copy_(getattr(ours, name).weight)

    def forward(self, x, state=None):
        x = self.positions(x)
        memory = x if state is None else torch.cat([state, x], dim=1)
        lengths = torch.arange(1, x.size(1) + 1).repeat(x.size(0), 1) if self.training else None
        return x + self.attention(x, memory, memory, lengths), memory


@pytest.fixture
def pair():
    torch.manual_seed(3)
    ours = PublishedDecoder(12)
    return ours, DecoderOfD2L(ours, 12), torch.randn(2, 5, 12)


def step_by_step(decoder, x):
    state, steps = None, []
    for t in range(x.size(1)):
        y, state = decoder(x[:, t : t + 1], state)
        steps.append(y)
    return torch.cat(steps, dim=1)


def test_the_published_decoder_equals_d2ls_pieces_when_all_tokens_come_at_once(pair):
    ours, theirs, x = pair
    assert torch.allclose(ours(x)[0], theirs.train()(x)[0], atol=1e-6)


def test_the_published_decoder_equals_d2ls_pieces_step_by_step(pair):
    ours, theirs, x = pair
    assert torch.allclose(step_by_step(ours, x), step_by_step(theirs.eval(), x), atol=1e-6)


def test_step_by_step_differs_from_all_at_once_in_the_published_decoder_and_not_in_a_sound_one(pair):
    published, theirs, x = pair
    sound = Decoder(12)
    sound.load_state_dict(published.state_dict())
    assert torch.allclose(step_by_step(sound, x), sound(x)[0], atol=1e-6)
    assert torch.allclose(sound(x)[0], published(x)[0], atol=1e-6)
    for decoder in (published, theirs.eval()):
        assert (step_by_step(decoder, x)[:, 1:] - sound(x)[0][:, 1:]).abs().max() > 0.1
        assert torch.allclose(step_by_step(decoder, x)[:, 0], sound(x)[0][:, 0], atol=1e-6)
