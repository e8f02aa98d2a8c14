"""Images with concepts: reading, editing the concept away, and deciding whether a caption names it."""

from .annotations import annotated as annotated
from .boxes import Box as Box
from .coco import CocoFolder as CocoFolder
from .controls import Control as Control
from .controls import control_boxes as control_boxes
from .controls import control_patches as control_patches
from .controls import controls_of as controls_of
from .image import read_image as read_image
from .inpaint import Counterfactual as Counterfactual
from .inpaint import counterfactual as counterfactual
from .inpaint import inpaint as inpaint
from .lexicon import Lexicon as Lexicon
from .lexicon import Match as Match
from .lexicon import published_thresholds as published_thresholds
from .lists import ImageList as ImageList
from .regions import Finder as Finder
from .regions import FoundRegion as FoundRegion
from .regions import Regions as Regions
from .regions import regions_of as regions_of
from .sample import Region as Region
from .sample import Sample as Sample
