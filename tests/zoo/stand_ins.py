"""Stand-ins for parts of a Processor that do not work on PIL, and tokenizers that are more than a list of words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BatchFeature
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import ImagesKwargs

from .animal import WORDS, words_tokenizer


class SmolVLMProcessor(hf.SmolVLMProcessor):
    """The real one, without its demand for num2words, which only spells the number of a video's frames."""

    def __init__(self, image_processor, tokenizer, video_processor, image_seq_len=169, chat_template=None, **kwargs):
        self.fake_image_token = tokenizer.fake_image_token
        self.image_token = tokenizer.image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.end_of_utterance_token = tokenizer.end_of_utterance_token
        self.global_image_token = tokenizer.global_image_token
        self.image_seq_len = image_seq_len
        self.video_token = "<video>"
        hf.ProcessorMixin.__init__(self, image_processor, tokenizer, video_processor, chat_template=chat_template)


class FuyuImageProcessorPil(hf.FuyuImageProcessorPil):
    """The real one, which takes the tensors that its own Processor hands it."""

    def patchify_image(self, image: Any, patch_size: Any = None) -> Any:
        return torch.from_numpy(super().patchify_image(np.asarray(image), patch_size))


def pixels_of(image: Image.Image, height: int, width: int) -> torch.Tensor:
    """A picture of that size as [3, height, width] between -1 and 1."""
    small = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    return torch.from_numpy(small / 127.5 - 1).permute(2, 0, 1)


def rows_and_columns(image: Image.Image, tile: int, most: int) -> tuple[int, int]:
    """How many tiles cover a picture, at most `most`; the longer side is shortened first."""
    rows, columns = math.ceil(image.height / tile), math.ceil(image.width / tile)
    while rows * columns > most:
        rows, columns = (rows, columns - 1) if columns > rows else (rows - 1, columns)
    return rows, columns


def cut(canvas: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Tiles of a canvas, row by row: [rows * columns, 3, height, width]."""
    height, width = canvas.shape[1] // rows, canvas.shape[2] // columns
    cells = canvas.reshape(3, rows, height, columns, width).permute(1, 3, 0, 2, 4)
    return cells.reshape(rows * columns, 3, height, width)


def patches_of(canvas: torch.Tensor, patch: int) -> torch.Tensor:
    """Patches row by row, channels last: [patches, patch, patch, 3]."""
    rows, columns = canvas.shape[1] // patch, canvas.shape[2] // patch
    return cut(canvas, rows, columns).permute(0, 2, 3, 1)


class StandIn(hf.BaseImageProcessor):
    """An image processor on PIL, in place of one that transformers has on torchvision only; settings are attributes."""

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        return BatchFeature(self.tensors(list(make_flat_list_of_images(images))))

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        raise NotImplementedError


class Llama4Pixels(StandIn):
    """Tiles of a canvas on which the picture keeps its shape, black below or beside it; then the whole picture."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, ratios = [], []
        for image in images:
            rows, columns = rows_and_columns(image, self.tile, self.most)
            scale = min(rows * self.tile / image.height, columns * self.tile / image.width)
            height, width = int(image.height * scale), int(image.width * scale)
            canvas = torch.zeros(3, rows * self.tile, columns * self.tile)
            canvas[:, :height, :width] = pixels_of(image, height, width)
            found.append(cut(canvas, rows, columns))
            if rows * columns > 1:
                found.append(pixels_of(image, self.tile, self.tile)[None])
            ratios.append(torch.tensor([rows, columns]))
        return {"pixel_values": torch.cat(found), "aspect_ratios": ratios}


class Cohere2Pixels(StandIn):
    """Tiles of the picture stretched to them, then the whole picture; `patch_size` counts tokens along a tile."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, counts = [], []
        for image in images:
            rows, columns = rows_and_columns(image, self.tile, self.most)
            tiles = cut(pixels_of(image, rows * self.tile, columns * self.tile), rows, columns)
            if rows * columns > 1:
                tiles = torch.cat([tiles, pixels_of(image, self.tile, self.tile)[None]])
            found.append(tiles)
            counts.append(len(tiles))
        return {"pixel_values": torch.cat(found), "num_patches": counts}


class Lfm2Settings(ImagesKwargs, total=False):
    return_row_col_info: bool
    use_image_special_tokens: bool


class Lfm2Pixels(StandIn):
    """Tiles as rows of patches, then the whole picture at its own shape; all are padded to one number of patches."""

    valid_kwargs = Lfm2Settings

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        rows_of, columns_of, sizes, views = [], [], [], []
        unit = self.encoder_patch_size * self.downsample_factor
        for image in images:
            rows, columns = rows_and_columns(image, self.tile_size, self.max_tiles)
            shrink = min(1.0, math.sqrt(self.max_image_tokens * unit**2 / (image.height * image.width)))
            height, width = (max(unit, int(side * shrink) // unit * unit) for side in (image.height, image.width))
            if rows * columns > 1:
                canvas = pixels_of(image, rows * self.tile_size, columns * self.tile_size)
                views.extend(cut(canvas, rows, columns))
            views.append(pixels_of(image, height, width))
            rows_of.append(rows)
            columns_of.append(columns)
            sizes.append([height, width])
        patch = self.encoder_patch_size
        most = max(self.max_image_tokens * self.downsample_factor**2, (self.tile_size // patch) ** 2)
        values = torch.zeros(len(views), most, 3 * patch**2)
        mask = torch.zeros(len(views), most, dtype=torch.long)
        for i, view in enumerate(views):
            flat = patches_of(view, patch).flatten(1)
            values[i, : len(flat)] = flat
            mask[i, : len(flat)] = 1
        return {
            "pixel_values": values,
            "pixel_attention_mask": mask,
            "spatial_shapes": torch.tensor([[view.shape[1] // patch, view.shape[2] // patch] for view in views]),
            "image_rows": rows_of,
            "image_cols": columns_of,
            "image_sizes": sizes,
        }


class Molmo2Pixels(StandIn):
    """The whole picture, then crops that overlap by two patches; a patch in two crops counts where it is further in."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, pooling, grids, counts, start = [], [], [], [], 0
        side, patch = self.crop // self.patch, self.patch
        window = side - 2
        for image in images:
            rows, columns = rows_and_columns(image, window * patch, self.most)
            height, width = rows * window + 2, columns * window + 2
            canvas = pixels_of(image, height * patch, width * patch)
            views = [pixels_of(image, self.crop, self.crop)]
            index = torch.zeros(height, width, dtype=torch.long)
            for row in range(rows):
                for column in range(columns):
                    top, left = row * window, column * window
                    first = (start + len(views)) * side**2
                    own = torch.arange(first, first + side**2).reshape(side, side)
                    # Later crops overwrite all but the rim that lies inside an earlier one.
                    up, before = int(row > 0), int(column > 0)
                    index[top + up : top + side, left + before : left + side] = own[up:, before:]
                    views.append(
                        canvas[:, top * patch : top * patch + self.crop, left * patch : left * patch + self.crop]
                    )
            whole = torch.arange(start * side**2, (start + 1) * side**2).reshape(side, side)
            for grid in (whole, index):
                cells = grid.reshape(grid.shape[0] // 2, 2, grid.shape[1] // 2, 2).permute(0, 2, 1, 3)
                pooling.append(cells.reshape(-1, 4))
            grids.append([side // 2, side // 2, height // 2, width // 2])
            found.extend(patches_of(view, patch).flatten(1) for view in views)
            counts.append(len(views))
            start += len(views)
        return {
            "pixel_values": torch.stack(found),
            "image_token_pooling": torch.cat(pooling),
            "image_grids": torch.tensor(grids),
            "image_num_crops": torch.tensor(counts),
        }


class KimiPixels(StandIn):
    """The picture at its own size, black below and beside it up to a multiple of the merged patch."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        unit, found, grids = self.patch_size * self.merge_size, [], []
        for image in images:
            height, width = (math.ceil(side / unit) * unit for side in (image.height, image.width))
            canvas = torch.zeros(3, height, width)
            canvas[:, : image.height, : image.width] = pixels_of(image, image.height, image.width)
            found.append(patches_of(canvas, self.patch_size).permute(0, 3, 1, 2))
            grids.append([1, height // self.patch_size, width // self.patch_size])
        return {"pixel_values": torch.cat(found), "image_grid_thw": torch.tensor(grids)}


def fuyu_tokenizer() -> Any:
    """Words, and like SentencePiece an underscore before each text: the processor counts on that."""
    marks = ["\u2581", "|SPEAKER|", "|NEWLINE|", "<0x04>"]
    vocab = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *marks, *WORDS])}
    core = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    upper = [normalizers.Replace(mark.lower(), mark) for mark in marks[1:3]]
    core.normalizer = normalizers.Sequence([normalizers.Lowercase(), *upper, normalizers.Prepend(marks[0])])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\u2581|\\|SPEAKER\\||\\|NEWLINE\\||<0x04>|[.,:!?]"), "isolated"),
            pre_tokenizers.WhitespaceSplit(),
        ]
    )
    core.decoder = decoders.WordPiece()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
    )


def ends_too() -> Any:
    """Words, and </s> after every text, as BERT's [SEP]: generate() of BLIP cuts the last token off."""
    tokenizer = words_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer
