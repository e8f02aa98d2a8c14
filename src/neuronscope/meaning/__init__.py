"""What neurons mean: their words, their places on a picture, the pictures that move them - beside random neurons."""

from .localisation import Localisation as Localisation
from .localisation import RandomControl as RandomControl
from .localisation import dataset_cut as dataset_cut
from .localisation import localise as localise
from .localisation import random_control as random_control
from .pictures import TopPictures as TopPictures
from .pictures import top_pictures as top_pictures
from .places import MapPlace as MapPlace
from .places import place as place
from .words import Words as Words
from .words import decode as decode
