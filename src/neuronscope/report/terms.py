"""What the words of a page mean: one plain sentence each, the same as in docs/glossary.md."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One word and its sentence; pages link to `term-ANCHOR`, the documentation to glossary.md#ANCHOR."""

    anchor: str
    name: str
    meaning: str


#: Those that a page links to are explained at its end.
TERMS = tuple(
    Term(name.lower().replace(" ", "-"), name, meaning)
    for name, meaning in (
        (
            "Promoted words",
            "The tokens to which a neuron's value vector adds most, read by the logit lens, beside those of "
            "random neurons.",
        ),
        (
            "Noise level",
            "By how much the random numbers that are added to activations are multiplied; it means "
            "something in one model only.",
        ),
        ("Layer-matched", "Said of random neurons of which each layer has as many as the located set has there."),
        (
            "Recovered share",
            "What a set of neurons, exchanged, does to the word's log-probability, as a share of what the "
            "whole edit does; 1 is all of it, and more is possible.",
        ),
        ("Log-odds", "log(p / (1 - p)) of a word's probability p, which still moves where p is near 1."),
        (
            "S_se",
            "Suppression effectiveness: the share of captions of pictures with the concept that no longer "
            "name it under the intervention.",
        ),
        (
            "S_re",
            "Retention: the share of captions of other pictures that still name their own object under the "
            "intervention.",
        ),
        ("J", "S_se + S_re - 1: 0 means no effect or total destruction, 1 is perfect."),
        ("Heat map", "The activation of neurons at the image tokens, painted over the picture; not causal."),
        (
            "Target-decoy",
            "A rule for thresholds: the share of false finds is estimated by how many scores of controls without the "
            "concept (decoys) pass as well.",
        ),
        (
            "Standing out",
            "How far the largest activations of a neuron's top pictures lie above the mean over all pictures, in "
            "standard deviations over pictures.",
        ),
        (
            "Spread",
            "The share of pictures in which a neuron is active, over the share that as many active image tokens "
            "would reach if they lay at random; far below 1 they lie in few pictures.",
        ),
        (
            "Precision of planted neurons",
            "On the bundled model: the share of located neurons that training planted for the concept.",
        ),
        (
            "Recall of planted neurons",
            "On the bundled model: the share of the concept's planted neurons that were located.",
        ),
    )
)
