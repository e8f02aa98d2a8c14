"""What every neuron does over a folder of pictures, and what a page of one neuron shows."""

from .described import Described as Described
from .described import Named as Named
from .described import describe as describe
from .file import NeuronIndex as NeuronIndex
from .profile import Profile as Profile
from .profile import profiles as profiles
