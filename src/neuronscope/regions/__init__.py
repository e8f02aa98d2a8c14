"""Objects in pictures by a word or a click: detectors and segmenters of transformers."""

from .detector import DETECTORS as DETECTORS
from .detector import Detector as Detector
from .find import DetectorFinder as DetectorFinder
from .find import find_regions as find_regions
from .find import outline_boxes as outline_boxes
from .segmenter import SEGMENTERS as SEGMENTERS
from .segmenter import Segmenter as Segmenter
