"""Rows of a batch: padding, growing and stacking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from neuronscope.errors import InvalidOption
from neuronscope.models import Inputs
from neuronscope.models.inputs import Row, sources_of
from neuronscope.tokens import ImageTokens


def row(length: int, **more: torch.Tensor) -> Row:
    ids = torch.arange(1, length + 1)[None]
    tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": ids % 2, **more}
    return Row(tensors, ImageTokens(np.array([1]), no_grid="a test"), pad=7)


def test_sequences_are_padded_on_the_left_and_positions_move_along():
    inputs = Inputs((row(3), row(5)))
    assert inputs.tensors["input_ids"].tolist() == [[7, 7, 1, 2, 3], [1, 2, 3, 4, 5]]
    assert inputs.tensors["attention_mask"].tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert inputs.tensors["token_type_ids"][0].tolist() == [0, 0, 1, 0, 1]
    assert [tokens.positions.tolist() for tokens in inputs.images] == [[3], [1]]


def test_an_encoder_is_padded_on_the_right_and_only_the_decoder_grows():
    start = {"decoder_input_ids": torch.tensor([[2]])}
    inputs = Inputs((row(3, **start), row(5, **start)))
    assert inputs.tensors["input_ids"][0].tolist() == [1, 2, 3, 7, 7]
    grown = inputs.extend([8, 9])
    assert grown.tensors["decoder_input_ids"].tolist() == [[2, 8, 9]] * 2
    assert grown.length == 5


def test_growing_continues_every_tensor_along_the_sequence():
    cross = torch.tensor([[[[1]], [[0]], [[1]]]])
    grown = row(3, cross_attention_mask=cross, image_patches_indices=torch.tensor([[0, 1, -1]])).extended([4, 5])
    assert grown.tensors["input_ids"].tolist() == [[1, 2, 3, 4, 5]]
    assert grown.tensors["attention_mask"].tolist() == [[1] * 5]
    assert grown.tensors["token_type_ids"].tolist() == [[1, 0, 1, 0, 0]]
    assert grown.tensors["cross_attention_mask"].flatten().tolist() == [1, 0, 1, 1, 1]
    assert grown.tensors["image_patches_indices"].tolist() == [[0, 1, -1, -1, -1]]


def test_pixels_are_stacked_whatever_they_measure():
    tiles = Inputs((row(3, pixel_values=torch.ones(1, 2, 3, 4, 4)), row(3, pixel_values=torch.ones(1, 5, 3, 4, 4))))
    assert tiles.tensors["pixel_values"].shape == (2, 5, 3, 4, 4)
    assert tiles.tensors["pixel_values"][0, 2:].eq(0).all()
    patches = Inputs((row(3, pixel_values=torch.ones(8, 6)), row(3, pixel_values=torch.ones(4, 6))))
    assert patches.tensors["pixel_values"].shape == (12, 6)


def test_indices_into_pixels_move_with_the_pixels():
    def made() -> Row:
        return row(2, pixel_values=torch.ones(2, 3, 6), image_token_pooling=torch.tensor([[0, 5], [-1, 2]]))

    inputs = Inputs((made(), made()))
    assert inputs.tensors["image_token_pooling"].tolist() == [[0, 5], [-1, 2], [6, 11], [-1, 8]]
    assert made().tensors["image_token_pooling"].tolist() == [[0, 5], [-1, 2]]


def test_rows_are_selected_and_repeated():
    inputs = Inputs((row(2), row(3)))
    assert [r.length for r in inputs.select([1, 0, 1]).rows] == [3, 2, 3]
    assert [r.length for r in inputs.repeat(2).rows] == [2, 2, 3, 3]


def test_what_was_written_is_cut_from_the_output():
    inputs = Inputs((row(3),))
    written = torch.tensor([[50, 51]])
    repeated = torch.cat([inputs.tensors["input_ids"], written], 1)
    assert inputs.written(repeated).tolist() == [[50, 51]]
    assert inputs.written(written).tolist() == [[50, 51]]


def test_rows_whose_pixels_cannot_be_padded_share_a_batch_only_where_they_are_alike():
    def made(images: int, **more: Any) -> Row:
        return replace(row(3, pixel_values=torch.ones(1, images, 3, 4, 4)), **more)

    usual = Inputs((made(1), made(2), made(1)))
    assert usual.batches() == [[0, 1, 2]]
    assert usual.tensors["pixel_values"].shape == (3, 2, 3, 4, 4)
    rigid = Inputs(tuple(made(n, unpadded="padding is seen") for n in (1, 2, 1)))
    assert rigid.batches() == [[0, 2], [1]]
    with pytest.raises(InvalidOption, match=r"\(1, 3, 4, 4\) and \(2, 3, 4, 4\) cannot share a batch: padding is seen"):
        _ = rigid.tensors
    assert rigid.select(rigid.batches()[0]).tensors["pixel_values"].shape == (2, 1, 3, 4, 4)
    assert Inputs((made(1, alone="counted"), made(1, alone="counted"))).batches() == [[0], [1]]


def test_no_more_ids_leave_a_row_as_it_is():
    one = row(3)
    assert one.extended(()) is one


def test_an_element_is_an_image_or_a_sequence_of_images():
    picture, array = Image.new("RGB", (8, 8)), np.zeros((8, 8, 3), dtype=np.uint8)
    for one in ("a.png", Path("a.png"), picture, array):
        assert sources_of(one) == (one,)
    for several in (["a.png", picture], ("a.png", picture)):
        assert sources_of(several) == ("a.png", picture)
    with pytest.raises(InvalidOption, match="empty sequence; a prompt needs one image or more"):
        sources_of([])
