"""The explorer: a local page on which a person marks an object, sees its neurons, and watches the caption change.

Everything but app.py, layout.py and handlers.py works without Gradio.
"""

from .annotations import Marks as Marks
from .annotations import Stroke as Stroke
from .forms import Change as Change
from .forms import Question as Question
from .jobs import Cancelled as Cancelled
from .jobs import Desk as Desk
from .jobs import Job as Job
from .link import Link as Link
from .picture_list import ListedPicture as ListedPicture
from .picture_list import Shelf as Shelf
from .session import Session as Session
from .state import State as State
from .workshop import Workshop as Workshop
