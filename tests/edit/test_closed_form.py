import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Embed, Swap
from neuronscope.edit.closed_form import swapped
from neuronscope.errors import InvalidOption
from neuronscope.models.lens import token_directions

X, Y, Z = torch.eye(3)


def test_oracle_15():
    """METHODS (m) 15, by hand."""
    w, s, t = X[:, None], X[:, None], Y[:, None]
    once = swapped(w, s, t)
    assert torch.equal(once, Y[:, None])
    assert torch.equal(swapped(once, s, t), w)
    assert torch.equal(swapped(w, s, t, alpha=0.5), torch.tensor([[0.5], [0.5], [0.0]]))


def test_projections_are_exchanged_by_the_smallest_change():
    torch.manual_seed(0)
    w, s, t = torch.randn(12, 5), torch.randn(12, 1), torch.randn(12, 1)
    new = swapped(w, s, t)
    torch.testing.assert_close(s.T @ new, t.T @ w)
    torch.testing.assert_close(t.T @ new, s.T @ w)
    # The least-squares solution of the two conditions, found by numpy, is the smallest of all changes.
    u = torch.cat([s, t], 1)
    wanted = torch.cat([t, s], 1).T @ w - u.T @ w
    least = np.linalg.lstsq(u.T.numpy(), wanted.numpy(), rcond=None)[0]
    np.testing.assert_allclose((new - w).numpy(), least, atol=1e-5)
    torch.testing.assert_close(swapped(new, s, t), w)


def test_pairs_are_exchanged_at_once():
    torch.manual_seed(1)
    w, s, t = torch.randn(12, 3), torch.randn(12, 2), torch.randn(12, 2)
    new = swapped(w, s, t)
    torch.testing.assert_close(s.T @ new, t.T @ w)
    torch.testing.assert_close(t.T @ new, s.T @ w)


def test_swap_acts_on_the_logits_that_decode_reads(own, some):
    before = {d.neuron: d for d in ns.decode(own, some, top=24)}
    edit = Swap(source="bear", target="dog").edit(own, some)
    with edit:
        after = {d.neuron: d for d in ns.decode(own, some, top=24)}
    for neuron in some:
        old, new = (dict(zip(d.tokens, d.logits, strict=True)) for d in (before[neuron], after[neuron]))
        assert new["bear"] == pytest.approx(old["dog"], abs=1e-4)
        assert new["dog"] == pytest.approx(old["bear"], abs=1e-4)


def test_swapping_an_edited_model_again_restores_it(own, some):
    first = Swap(source="bear", target="dog").edit(own, some)
    first.apply()
    second = Swap(source="bear", target="dog").edit(own, some)
    for layer in some.by_layer():
        assert not torch.equal(first.new[layer], first.old[layer])
        torch.testing.assert_close(second.new[layer], first.old[layer], atol=1e-5, rtol=1e-5)


def test_embed_is_the_published_formula(own):
    neurons = ns.Neurons.of([(2, 7), (2, 1)])
    edit = Embed(source="bear", target="dog", fold="none").edit(own, neurons)
    tokens = [own.tokenizer.convert_tokens_to_ids(word) for word in ("bear", "dog")]
    s, t = own.structure.unembedding.weight.detach()[tokens]
    for n, unit in enumerate((7, 1)):
        w = own.structure.ffns[2].output.weight.detach()[:, unit]
        expected = w - w.norm() / s.norm() * s + 8 * w.norm() / t.norm() * t
        torch.testing.assert_close(edit.new[2][:, n], expected)


def test_each_token_is_exchanged(own, some):
    edit = Swap(source="surfboard", target="red horse", tokens="each", fold="none").edit(own, some)
    pairs = edit.words.pairs
    assert len(pairs) == 2
    for layer in some.by_layer():
        for s, t in pairs:
            u = token_directions(own, [s, t], "none").T
            torch.testing.assert_close(u.T @ edit.new[layer], (u.T @ edit.old[layer]).flip(0), atol=1e-4, rtol=1e-4)


def test_parallel_words_are_refused(own, some):
    rows = own.structure.unembedding.weight
    bear, dog = (own.tokenizer.convert_tokens_to_ids(word) for word in ("bear", "dog"))
    with torch.no_grad():
        rows[dog] = 2 * rows[bear]
    with pytest.raises(InvalidOption, match="'bear' and target='dog' are parallel"):
        Swap(source="bear", target="dog").edit(own, some)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"tokens": "frist"}, r"Did you mean 'first'"),
        ({"fold": "full"}, r"fold='full' is not known"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidOption, match=message):
        Swap(source="bear", target="dog", **options)
    with pytest.raises(InvalidOption, match="lambda2=inf"):
        Embed(source="bear", target="dog", lambda2=float("inf"))
