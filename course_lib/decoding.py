"""Decoding: from scores for the next token to whole texts, by greedy choice, by chance or by beam search.

B sequences · T tokens · V size of the vocabulary · K beams · N hypotheses that are returned

Nothing here knows a model. Each function asks a *step* for the next token, again and again:

    logits, cache = step(tokens, cache)

`tokens` (B, T) are those the cache has not seen yet: the prompt first, then one column at a time. `logits`
(B, V) score the token that follows. `cache` is all the model keeps of the past: keys and values and, where
there is an encoder, its output, so that the encoder runs once, before the search begins. The cache has one
method, `reorder(rows)`: afterwards its row i is what row rows[i] was. A row may be named twice (a hypothesis
that goes on in two ways) or not at all (a sequence that has ended leaves the batch).

Prompts of unequal lengths are padded on the left, and the model hides the padding. A model with dropout must
be in evaluation mode.

Papers: Fan et al. 2018, section 5.1 (top-k); Holtzman et al. 2020, section 3.1 (top-p); Sutskever et al. 2014,
section 3.2 (beam search); Wu et al. 2016, section 7 (length penalty).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, SupportsFloat, SupportsIndex, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # a label that is not counted
NOT_WRITTEN = -1  # no token has this id
GREEDY_BELOW = 1e-20  # a temperature by which one cannot divide without overflow


class Cache(Protocol):
    """What a model keeps of the tokens it has read."""

    def reorder(self, rows: Tensor) -> object:
        """Make row i what row rows[i] was; `rows` is (B',), int64."""


C = TypeVar("C", bound=Cache)
Step = Callable[[Tensor, C], tuple[Tensor, C]]


# --- one token after the other ------------------------------------------------------------------------------


def greedy(
    step: Step[C],
    prompt: Tensor,
    cache: C,
    *,
    max_len: int,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> Tensor:
    """Write the likeliest token at each step: y_t = argmax P(y | y_1 … y_{t−1}).

    Args:
        step: (tokens not yet in the cache, cache) → (logits of the next token (B, V), cache).
        prompt: integer ids, (B, T₀), T₀ at least 1.
        cache: what `step` expects at the beginning; used up afterwards.
        max_len: T at most, prompt included; above T₀.
        eos_id: the token that ends a sequence; None = none does. In the prompt it ends nothing.
        pad_id: what stands after the end; `eos_id` when left out.

    Returns:
        Prompt and continuation, (B, T), with T ≤ max_len the length of the longest. Of equally likely tokens
        the one with the lowest id is written.

    Raises:
        ValueError: an argument out of range, or a step whose logits are not (B, V) floats, hold NaN or +∞, or
            forbid every token by −∞.
    """
    return _write(
        "greedy",
        lambda logits: logits.argmax(dim=-1),
        step,
        prompt,
        cache,
        max_len=max_len,
        eos_id=eos_id,
        pad_id=pad_id,
    )


def sample(
    step: Step[C],
    prompt: Tensor,
    cache: C,
    *,
    max_len: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw each token by its probability: y_t ~ softmax(filter_logits(logits)).

    Args:
        step, prompt, cache, max_len, eos_id, pad_id: as in `greedy`.
        temperature, top_k, top_p: as in `filter_logits`. Temperature 0 is `greedy`.
        generator: source of random numbers; None = the global one. Its state decides what is drawn.

    Returns:
        Prompt and continuation, (B, T), as in `greedy`.

    Raises:
        ValueError: as in `greedy` and `filter_logits`.
    """
    _check_filter("sample", temperature=temperature, top_k=top_k, top_p=top_p)

    def draw(logits: Tensor) -> Tensor:
        filtered = _filter(logits, temperature=temperature, top_k=top_k, top_p=top_p)
        return torch.multinomial(filtered.softmax(dim=-1), 1, generator=generator).squeeze(1)  # (B,)

    return _write("sample", draw, step, prompt, cache, max_len=max_len, eos_id=eos_id, pad_id=pad_id)


def _write(
    who: str,
    choose: Callable[[Tensor], Tensor],
    step: Step[C],
    prompt: Tensor,
    cache: C,
    *,
    max_len: int,
    eos_id: int | None,
    pad_id: int | None,
) -> Tensor:
    """Continue every prompt by what `choose` takes from the logits, (b, V) → (b,)."""
    _check_call(who, prompt, cache, max_len=max_len, eos_id=eos_id, pad_id=pad_id)
    n_sequences, n_prompt = prompt.shape
    tokens = F.pad(prompt.long(), (0, max_len - n_prompt), value=_padding(eos_id, pad_id))  # (B, max_len)
    length = n_prompt
    with torch.inference_mode():
        running = torch.arange(n_sequences, device=prompt.device)  # (b,): row i of the cache is running[i]
        newest = tokens[:, :n_prompt]
        while length < max_len:
            logits, cache = step(newest, cache)  # (b, V)
            _check_step(who, logits, len(running), eos_id=eos_id, pad_id=pad_id)
            chosen = choose(logits)  # (b,)
            tokens[running, length] = chosen
            length += 1
            if eos_id is not None and (chosen == eos_id).any():
                going_on = (chosen != eos_id).nonzero().squeeze(1)  # (b',)
                if len(going_on) == 0:
                    break
                running, chosen = running[going_on], chosen[going_on]
                cache.reorder(going_on)
            newest = chosen[:, None]  # (b', 1)
    return tokens[:, :length]


# --- which tokens may be drawn ------------------------------------------------------------------------------


def filter_logits(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Sharpen or flatten the distribution, then forbid its tail: temperature, then top-k, then top-p.

    softmax(logits / temperature): below 1 the likely tokens gain, above 1 the unlikely ones do. Temperature 0
    is the limit: the likeliest token alone is left, of equals the one with the lowest id. A temperature under
    1e-20 counts as 0.

    Args:
        logits: (…, V), floating point.
        temperature: at least 0.
        top_k: as in `top_k_filter`; None = leave out.
        top_p: as in `top_p_filter`, of what the other two have left; None = leave out.

    Returns:
        Logits, (…, V), −∞ where a token may not be drawn. Half precision becomes float32.

    Raises:
        ValueError: an argument out of range, or logits with NaN, +∞ or a row of −∞ alone.
    """
    _check_logits("filter_logits", logits)
    _check_filter("filter_logits", temperature=temperature, top_k=top_k, top_p=top_p)
    return _filter(logits, temperature=temperature, top_k=top_k, top_p=top_p)


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Forbid every token that is less likely than the k-th likeliest (Fan et al. 2018, section 5.1).

    Args:
        logits: (…, V), floating point.
        k: at least 1; from V on nothing is forbidden.

    Returns:
        Logits, (…, V), −∞ where forbidden. Tokens as likely as the k-th all stay, also when that makes more
        than k.

    Raises:
        ValueError: k below 1, or logits with NaN, +∞ or a row of −∞ alone.
    """
    _check_logits("top_k_filter", logits)
    _check_filter("top_k_filter", top_k=k)
    return _filter(logits, top_k=k)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Forbid what lies outside the nucleus: the fewest tokens that together reach probability p.

    Σ_{y in nucleus} P(y) ≥ p (Holtzman et al. 2020, equation 2). The token by which the sum reaches p is in.

    Args:
        logits: (…, V), floating point.
        p: above 0, at most 1; with 1 nothing is forbidden.

    Returns:
        Logits, (…, V), −∞ where forbidden. Of equally likely tokens those with low ids come into the nucleus
        first.

    Raises:
        ValueError: p outside (0, 1], or logits with NaN, +∞ or a row of −∞ alone.
    """
    _check_logits("top_p_filter", logits)
    _check_filter("top_p_filter", top_p=p)
    return _filter(logits, top_p=p)


def _filter(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision overflows too soon
    if temperature < GREEDY_BELOW:
        likeliest = logits.argmax(dim=-1, keepdim=True)  # (…, 1)
        return torch.full_like(logits, -math.inf).scatter(-1, likeliest, logits.gather(-1, likeliest))
    if temperature != 1:
        logits = logits / temperature
    if top_k is not None and top_k < logits.size(-1):
        kth = logits.topk(top_k, dim=-1).values[..., -1:]  # (…, 1)
        logits = logits.masked_fill(logits < kth, -math.inf)
    if top_p is not None and top_p < 1:  # with 1, rounding could cost the unlikeliest token its place
        ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
        weights = ordered.softmax(dim=-1, dtype=torch.float64)
        before = weights.cumsum(dim=-1) - weights  # probability of all likelier tokens; 0 for the first
        outside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, before >= top_p)
        logits = logits.masked_fill(outside, -math.inf)
    return logits


# --- beam search --------------------------------------------------------------------------------------------


def beam_search(
    step: Step[C],
    prompt: Tensor,
    cache: C,
    *,
    max_len: int,
    beams: int,
    n_best: int = 1,
    length_penalty: float = 0.0,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Follow the K most probable beginnings at once, and return the N best texts found.

    score(y) = log P(y | prompt) / nᵅ, where n counts the tokens written, the end included, and α is the length
    penalty. A text ends with `eos_id` or at `max_len`. The search stops for a sequence when no beginning that
    is still followed can come to a better score than the N texts it has: stopping loses nothing.

    Args:
        step, prompt, cache, max_len, eos_id, pad_id: as in `greedy`. `step` is called with B rows for the
            prompt, then with up to B · K: those of one sequence stand side by side.
        beams: K. One beam is `greedy`: it ends where its only text ends.
        n_best: N, at most K.
        length_penalty: α, from −10 to 10. 0 ranks texts by their probability, which favours short ones; 1 by
            the mean per token; more favours long ones.

    Returns:
        Tokens, (B, N, T), prompt included, best first, and scores, (B, N), float64, in nats: with α = 0 they are
        log-probabilities. Where fewer than N texts are possible, the others are padding with score −∞.

    Raises:
        ValueError: as in `greedy`, fewer than one beam, or N outside 1 … K.

    Differs from the paper: Wu et al. 2016, equation 14, divide by ((5 + n) / 6)ᵅ. For long texts the two rank
    alike ((5 + n) / 6 grows as n does; a constant factor changes no rank); for short ones theirs is milder.
    There is no coverage penalty and no pruning.
    """
    _check_call("beam_search", prompt, cache, max_len=max_len, eos_id=eos_id, pad_id=pad_id)
    _check_beams(beams, n_best, length_penalty)
    n_sequences, n_prompt = prompt.shape
    n_new = max_len - n_prompt
    finished = _Finished(n_sequences, n_best, max_len, prompt.device)
    with torch.inference_mode():
        searched = torch.arange(n_sequences, device=prompt.device)  # (b,): the sequences not yet done
        tokens = prompt.long()[:, None]  # (b, k, T): k beginnings of each; only the prompt at first, so k = 1
        log_p = torch.zeros(n_sequences, 1, dtype=torch.float64, device=prompt.device)  # (b, k)
        for length in range(1, n_new + 1):  # tokens written, after this step
            newest = tokens[:, :, -1:] if length > 1 else tokens
            logits, cache = step(newest.flatten(0, 1), cache)  # (b·k, V)
            _check_step("beam_search", logits, log_p.numel(), eos_id=eos_id, pad_id=pad_id)
            n_rows, n_beams = log_p.shape
            vocab_size = logits.size(-1)

            # Every beginning with every next token. At −500, which a long text reaches, neighbouring float32
            # numbers are 3e-5 apart, and unequal candidates would look equal: hence float64.
            next_log_p = logits.double().log_softmax(dim=-1).view(n_rows, n_beams, vocab_size)
            extended = (log_p[:, :, None] + next_log_p).flatten(1)  # (b, k·V)
            # A beginning has one continuation that ends. So of the 2K best candidates at most K end, and at
            # least K are left to go on with.
            candidates, places = _largest(extended, min(2 * beams, extended.size(1)))  # (b, c), best first
            parents, chosen = places // vocab_size, places % vocab_size  # (b, c)
            ends = torch.zeros_like(chosen, dtype=torch.bool) if eos_id is None else chosen == eos_id
            if length == n_new:
                ends = torch.ones_like(ends)

            # What has ended is a result, if it is among the K best: a candidate that would not have been
            # followed must not win by ending.
            ended = ends[:, :beams]
            if ended.any():
                written = _extend(tokens, parents[:, :beams], chosen[:, :beams])  # (b, K, T + 1)
                scores = (candidates[:, :beams] / length**length_penalty).masked_fill(~ended, -math.inf)
                finished.add(searched, written, scores)

            # The best K that have not ended are followed: sorted by whether they end, they stand in front, and
            # among themselves still best first.
            n_followed = min(beams, n_beams * (vocab_size if eos_id is None else vocab_size - 1))
            followed = ends.int().sort(dim=1, stable=True).indices[:, :n_followed]  # (b, k')
            parents, chosen = parents.gather(1, followed), chosen.gather(1, followed)  # (b, k')
            log_p = candidates.gather(1, followed)  # (b, k')

            if length == n_new or n_followed == 0:
                break
            # Tokens only make a text less probable. The best it can still do is to lose nothing more, at the
            # length with the largest divisor: the last if α > 0, the next if α < 0.
            divisor = max((length + 1) ** length_penalty, n_new**length_penalty)
            done = finished.scores[searched, -1] >= log_p[:, 0] / divisor  # (b,)
            if beams == 1:
                done = done | ended[:, 0]

            # Tokens and cache follow their parents; sequences that are done leave the batch.
            rows = torch.arange(n_rows, device=prompt.device)[:, None] * n_beams + parents  # (b, k')
            tokens = _extend(tokens, parents, chosen)  # (b, k', T + 1)
            if done.any():
                if done.all():
                    break
                searched, tokens, log_p, rows = (state[~done] for state in (searched, tokens, log_p, rows))
            cache.reorder(rows.flatten())
    return finished.results(_padding(eos_id, pad_id))


class _Finished:
    """The N best texts of every sequence that have ended so far, best first."""

    def __init__(self, n_sequences: int, n_best: int, max_len: int, device: torch.device):
        shape = (n_sequences, n_best)
        self.tokens = torch.full((*shape, max_len), NOT_WRITTEN, device=device)  # (B, N, max_len)
        self.scores = torch.full(shape, -math.inf, dtype=torch.float64, device=device)  # (B, N)

    def add(self, sequences: Tensor, tokens: Tensor, scores: Tensor) -> None:
        """Let the candidates (b, c, T) of some sequences (b,) compete with the texts that are here."""
        to_come = self.tokens.size(-1) - tokens.size(-1)
        tokens = torch.cat([self.tokens[sequences], F.pad(tokens, (0, to_come), value=NOT_WRITTEN)], dim=1)
        scores = torch.cat([self.scores[sequences], scores], dim=1)  # (b, N + c)
        best, places = _largest(scores, self.scores.size(1))  # (b, N)
        self.scores[sequences] = best
        self.tokens[sequences] = _take(tokens, places)

    def results(self, pad_id: int) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, T), with T the longest text's length, and scores (B, N)."""
        tokens = self.tokens.masked_fill(self.scores[:, :, None] == -math.inf, NOT_WRITTEN)
        written = tokens != NOT_WRITTEN
        longest = int(written.sum(dim=-1).max())
        return tokens.masked_fill(~written, pad_id)[:, :, :longest], self.scores


def _take(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the texts at `places` (b, c) among those of each sequence, (b, k, T): (b, c, T)."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.size(-1)))


def _extend(tokens: Tensor, parents: Tensor, chosen: Tensor) -> Tensor:
    """Continue the beginnings `parents` (b, c) by one token each, `chosen` (b, c): (b, c, T + 1)."""
    return torch.cat([_take(tokens, parents), chosen[:, :, None]], dim=-1)


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row, largest first, and their places; of equals the first comes first."""
    values, places = scores.topk(min(k + 1, scores.size(1)))
    # `topk` leaves open which of equal numbers it takes; a stable sort does not, but is slow.
    if not (values[:, 1:] < values[:, :-1]).all():
        values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places[:, :k]


# --- the probability of a text ------------------------------------------------------------------------------


def sequence_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Add up the log-probability of each token given those before it: log P(y) = Σ_t log P(y_t | y_1 … y_{t−1}).

    Args:
        logits: (B, T, V), floating point: row t scores the token of label t.
        labels: ids, (B, T), −100 where a place is not counted (prompt, padding).

    Returns:
        (B,), in nats. A row without any counted label has log-probability 0.

    Raises:
        ValueError: shapes or dtypes that do not fit, a label outside the vocabulary, or logits with NaN, +∞ or
            a row of −∞ alone.
    """
    who = "sequence_log_probability"
    _check_logits(who, logits, dims=3)
    _check_ids(f"{who}: labels", labels)
    if labels.shape != logits.shape[:2]:
        raise ValueError(
            f"{who}: labels must be (B, T) as logits (B, T, V) are, got shapes {tuple(labels.shape)} and "
            f"{tuple(logits.shape)}"
        )
    counted = labels != IGNORED  # (B, T)
    outside = labels[counted & ((labels < 0) | (labels >= logits.size(-1)))]
    if len(outside):
        raise ValueError(
            f"{who}: labels must be ids from 0 to {logits.size(-1) - 1}, or {IGNORED}, got {outside[0].item()}"
        )
    ids = labels.long().masked_fill(~counted, 0)[:, :, None]  # (B, T, 1)
    log_p = logits.log_softmax(dim=-1).gather(-1, ids).squeeze(-1)  # (B, T)
    return log_p.masked_fill(~counted, 0.0).sum(dim=-1)  # (B,)


# --- what is refused ----------------------------------------------------------------------------------------


def _padding(eos_id: int | None, pad_id: int | None) -> int:
    if pad_id is not None:
        return int(pad_id)
    return 0 if eos_id is None else int(eos_id)  # without an end nothing is padded


def _check_call(
    who: str, prompt: Tensor, cache: object, *, max_len: int, eos_id: int | None, pad_id: int | None
) -> None:
    _check_ids(f"{who}: prompt", prompt)
    if prompt.dim() != 2 or prompt.numel() == 0:
        raise ValueError(
            f"{who}: prompt must be (B, T) with at least one token, got shape {tuple(prompt.shape)}"
        )
    if int(prompt.min()) < 0:
        raise ValueError(f"{who}: prompt must be ids, at least 0, got {int(prompt.min())}")
    if not isinstance(max_len, SupportsIndex) or max_len <= prompt.size(1):
        raise ValueError(
            f"{who}: max_len must be a whole number above the prompt's length {prompt.size(1)}, got {max_len!r}"
        )
    for name, given in (("eos_id", eos_id), ("pad_id", pad_id)):
        if given is not None and (not isinstance(given, SupportsIndex) or given < 0):
            raise ValueError(f"{who}: {name} must be an id, at least 0, or None, got {given!r}")
    if not callable(getattr(cache, "reorder", None)):
        raise ValueError(f"{who}: cache must have a method reorder(rows), got a {type(cache).__name__}")


def _check_step(who: str, logits: Tensor, n_rows: int, *, eos_id: int | None, pad_id: int | None) -> None:
    _check_logits(f"{who}: what step returned:", logits, dims=2)
    if len(logits) != n_rows:
        raise ValueError(
            f"{who}: step must return one row of logits for each of {n_rows} rows of tokens, got shape "
            f"{tuple(logits.shape)}"
        )
    for name, given in (("eos_id", eos_id), ("pad_id", pad_id)):
        if given is not None and given >= logits.size(-1):
            raise ValueError(
                f"{who}: {name} must be an id from 0 to {logits.size(-1) - 1}, as step knows them, got {given}"
            )


def _check_ids(name: str, given: Tensor) -> None:
    if not isinstance(given, Tensor) or given.dtype not in (torch.int32, torch.int64):
        got = f"dtype {given.dtype}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"{name} must be a tensor of ids, int64 or int32, got {got}")


def _check_logits(name: str, logits: Tensor, dims: int | None = None) -> None:
    shape = {None: "(…, V)", 2: "(B, V)", 3: "(B, T, V)"}[dims]
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = f"dtype {logits.dtype}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"{name} logits must be a tensor of floats {shape}, got {got}")
    if logits.dim() == 0 or dims not in (None, logits.dim()) or logits.numel() == 0:
        raise ValueError(f"{name} logits must be {shape} and not empty, got shape {tuple(logits.shape)}")
    largest = logits.amax(dim=-1)  # NaN where a row holds NaN: one pass sees all that is wrong
    if not largest.isfinite().all():
        found = largest[~largest.isfinite()][0].item()
        raise ValueError(
            f"{name} logits must hold a finite number in every row, and neither NaN nor +∞; a row's largest is {found}"
        )


def _check_filter(
    who: str, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> None:
    if not isinstance(temperature, SupportsFloat) or not 0 <= float(temperature) < math.inf:
        raise ValueError(f"{who}: temperature must be a number, at least 0, got {temperature!r}")
    if top_k is not None and (not isinstance(top_k, SupportsIndex) or top_k < 1):
        raise ValueError(f"{who}: top_k must be a whole number, at least 1, or None, got {top_k!r}")
    if top_p is not None and (not isinstance(top_p, SupportsFloat) or not 0 < float(top_p) <= 1):
        raise ValueError(f"{who}: top_p must be above 0 and at most 1, or None, got {top_p!r}")


def _check_beams(beams: int, n_best: int, length_penalty: float) -> None:
    if not isinstance(beams, SupportsIndex) or beams < 1:
        raise ValueError(f"beam_search: beams must be a whole number, at least 1, got {beams!r}")
    if not isinstance(n_best, SupportsIndex) or not 1 <= n_best <= beams:
        raise ValueError(f"beam_search: n_best must be from 1 to beams = {beams}, got {n_best!r}")
    if not isinstance(length_penalty, SupportsFloat) or not -10 <= float(length_penalty) <= 10:
        raise ValueError(f"beam_search: length_penalty must be from −10 to 10, got {length_penalty!r}")
