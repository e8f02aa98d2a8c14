"""Changes of a model that are put back in every case, and whose turn it is to make them."""

from .turns import in_turn as in_turn
from .turns import turn as turn
from .undo import Changing as Changing
from .undo import Held as Held
from .undo import Undo as Undo
from .undo import hooked as hooked
from .undo import together as together
