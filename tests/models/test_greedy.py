"""Captions are greedy whatever a checkpoint's generation_config says, unless they are asked for as it says."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from transformers import GenerationConfig

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.errors import InvalidOption
from neuronscope.models.greedy import SHAPING, neutral
from neuronscope.testing import tiny_vlm

#: A value of every setting that is not what `generate` does by itself; those that are not here are looked for below.
ODD: dict[str, Any] = {
    "bad_words_ids": [[6], [7]],
    "begin_suppress_tokens": [5, 6, 7, 8],
    "cache_implementation": "static",
    "diversity_penalty": 0.5,
    "do_sample": True,
    "early_stopping": True,
    "encoder_no_repeat_ngram_size": 1,
    "encoder_repetition_penalty": 2.0,
    "epsilon_cutoff": 0.3,
    "eta_cutoff": 0.3,
    "exponential_decay_length_penalty": [2, 3.0],
    "forced_bos_token_id": 9,
    "forced_eos_token_id": 11,
    "guidance_scale": 2.0,
    "length_penalty": 3.0,
    "max_length": 3,
    "max_time": 1e-9,
    "min_length": 60,
    "min_new_tokens": 31,
    "min_p": 0.5,
    "no_repeat_ngram_size": 1,
    "num_beam_groups": 2,
    "num_beams": 3,
    "num_return_sequences": 1,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_logits": True,
    "output_scores": True,
    "penalty_alpha": 0.6,
    "prefill_chunk_size": 4,
    "prompt_lookup_num_tokens": 3,
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "repetition_penalty": 2.5,
    "return_dict_in_generate": True,
    "sequence_bias": [[[6], 20.0]],
    "stop_strings": ["a"],
    "suppress_tokens": [6, 8, 10],
    "temperature": 0.1,
    "token_healing": True,
    "top_h": 0.4,
    "top_k": 2,
    "top_p": 0.2,
    "typical_p": 0.2,
    "use_cache": False,
    "watermarking_config": {"bias": 5.0},
    "assistant_early_exit": 2,
    "is_assistant": True,
    "low_memory": True,
    "dola_layers": "low",
    "use_mtp": True,
}


@pytest.fixture(scope="module")
def own() -> ns.VLM:
    """A model that never says the end by itself, so that lengths can be seen."""
    return tiny_vlm(seed=4)


#: As long as it takes for each of ODD that changes what `generate` writes by itself to change it.
SHORT = ns.Decoding(max_new_tokens=8)
LOUD = ns.Scale(ns.Neurons.of([(1, 3), (2, 5)]), 4.0)


@pytest.fixture(scope="module")
def said() -> list[Any]:
    """What the model says of the picture, and under a change, once it has been asked."""
    return []


@pytest.mark.parametrize("name", ODD)
def test_no_setting_of_a_checkpoint_changes_a_caption(name: str, own: ns.VLM, said, picture, monkeypatch):
    if not said:
        said.extend((own.caption(picture, decoding=SHORT), own.captions([picture], LOUD, decoding=SHORT)))
    plain, under = said
    odd = copy.deepcopy(own.model.generation_config)
    odd.update(**{name: ODD[name]}) if name != "is_assistant" else setattr(odd, name, True)
    monkeypatch.setattr(own.model, "generation_config", odd)
    assert own.caption(picture, decoding=SHORT) == plain
    assert own.captions([picture], LOUD, decoding=SHORT) == under


def test_every_setting_of_the_installed_release_is_told():
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    own = {"bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id"}
    by_decoding = {"max_length", "max_new_tokens", "use_cache", "transformers_version"}
    assert neutral().keys() == known - own - by_decoding
    assert SHAPING.keys() <= neutral().keys()


def test_neutral_is_what_transformers_does_by_itself():
    its: dict[str, Any] = GenerationConfig._get_default_generation_params()
    # Of writing with a second model, which is never done; a least length of 0 is warned of beside `min_new_tokens`.
    helpers = ("assistant_", "num_assistant_", "target_", "min_length")
    for name, value in its.items():
        if name in neutral() and not name.startswith(helpers):
            assert neutral()[name] == value, name


ASKED: dict[str, Any] = {
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "bad_words_ids": [[token] for token in range(5, 15)],
    "suppress_tokens": list(range(5, 15)),
    "begin_suppress_tokens": list(range(5, 20)),
    "forced_bos_token_id": 13,
    "sequence_bias": [[[13], 50.0]],
    "min_new_tokens": 6,
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_is_done_and_recorded(name: str, own: ns.VLM, picture):
    asked = dataclasses.replace(SHORT, generation={name: ASKED[name]})
    (plain,), (shaped,) = (generate_captions(own, [picture], decoding=d) for d in (SHORT, asked))
    direct = own.model.generate(
        **own.prepare([picture]).tensors,
        max_new_tokens=SHORT.max_new_tokens,
        do_sample=False,
        **{"suppress_tokens": [own.image_token], **asked.generation},
    )
    ids = direct[0, own.prepare([picture]).length :].tolist()
    assert list(shaped[0].ids) == [token for token in ids if token != 2]
    if name not in ("min_new_tokens", "forced_bos_token_id"):  # the second is of decoders that begin with nothing
        assert shaped != plain
    assert asked.to_dict()["generation"] == {name: ASKED[name]}
    change = ns.Scale(ns.Neurons.of([(1, 3)]), -2.0)
    captioner = Captioner(own, [picture], decoding=asked)
    assert captioner.captions(change) == generate_captions(own, [picture], change, decoding=asked)


def test_a_checkpoints_own_settings_can_be_asked_for(own: ns.VLM, picture, monkeypatch):
    odd = copy.deepcopy(own.model.generation_config)
    odd.update(repetition_penalty=3.0, min_length=0, temperature=0.2, num_beams=4)
    monkeypatch.setattr(own.model, "generation_config", odd)
    assert own.generation == {"repetition_penalty": 3.0}
    asked = ns.Decoding(generation=own.generation)
    (as_shipped,) = generate_captions(own, [picture], decoding=asked)
    assert as_shipped[0].full != own.caption(picture)
    assert asked.to_dict()["generation"] == {"repetition_penalty": 3.0}


@pytest.mark.parametrize("name", ["do_sample", "num_beams", "temperature", "num_return_sequences", "repetitionpenalty"])
def test_what_captions_cannot_be_asked_for_is_refused(name: str):
    with pytest.raises(InvalidOption, match=f"generation='{name}' cannot be asked for"):
        ns.Decoding(generation={name: 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_a_value_that_no_record_holds_is_refused(value: object):
    with pytest.raises(InvalidOption, match=r"generation=.* is not a mapping of which each key or value is"):
        ns.Decoding(generation={"repetition_penalty": value})  # pyright: ignore[reportArgumentType]


def test_a_decoding_does_not_change_with_what_it_was_made_of():
    given = {"repetition_penalty": 1.5}
    asked = ns.Decoding(generation=given)
    given["repetition_penalty"] = 9.0
    assert asked.to_dict()["generation"] == {"repetition_penalty": 1.5}
    assert hash(asked) == hash(ns.Decoding())
