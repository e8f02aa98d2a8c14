"""What every neuron does over a folder of pictures, and what a page of one neuron shows."""

from .described import DescribedNeuron as DescribedNeuron
from .described import NamedSet as NamedSet
from .described import describe as describe
from .file import NeuronIndex as NeuronIndex
from .profile import Profile as Profile
from .profile import profiles as profiles
