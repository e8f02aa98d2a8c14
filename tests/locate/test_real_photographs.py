"""Real photographs run through on a model that has learned nothing, and are refused for the right reason."""

import pytest

import neuronscope as ns
from neuronscope.errors import ConceptNotNamed, ConceptStillNamed


@pytest.mark.parametrize("concept", ["person", "chair", "car"])
def test_an_untrained_model_does_not_name_what_is_there(real_coco, checkpoint, concept):
    vlm = ns.load(checkpoint)
    sample = next(ns.CocoFolder.open(real_coco).samples(concept))
    pair = ns.counterfactual(sample)
    assert pair.original.size == pair.edited.size
    with pytest.raises(ConceptNotNamed, match=f"does not name '{concept}'.*The image shows a"):
        ns.TwoStage().locate(vlm, pair)


def test_a_word_it_happens_to_say_is_refused_because_it_stays(real_coco, checkpoint):
    """The tiny model says the same of every picture, so whatever it names is still named after the edit."""
    vlm = ns.load(checkpoint)
    sample = next(ns.CocoFolder.open(real_coco).samples("person"))
    word = vlm.caption(sample.load()).split()[4]
    with pytest.raises(ConceptStillNamed, match="still names"):
        ns.TwoStage().locate(vlm, ns.counterfactual(ns.Sample(sample.image, word, boxes=sample.boxes)))
