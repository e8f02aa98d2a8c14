"""The explorer: a local page on which a person marks an object, sees its neurons, and watches the caption change.

Everything but layout.py works without Gradio.
"""

from .choices import Change as Change
from .choices import Question as Question
from .desk import Cancelled as Cancelled
from .desk import Desk as Desk
from .desk import Job as Job
from .marks import Marks as Marks
from .marks import Stroke as Stroke
from .session import Session as Session
from .session import Workshop as Workshop
from .shelf import Entry as Entry
from .shelf import Shelf as Shelf
from .state import State as State
