"""Rewriting what neurons write: reversible edits of value vectors."""

from .closed_form import Embed as Embed
from .closed_form import Swap as Swap
from .edit import Edit as Edit
from .editor import Editor as Editor
from .focused import Focused as Focused
from .graft import Graft as Graft
from .learned import Learned as Learned
from .observe import Observation as Observation
from .observe import observe as observe
from .registry import EDITORS as EDITORS
from .registry import editor as editor
from .registry import register_editor as register_editor
from .simple import Ablate as Ablate
from .simple import Amplify as Amplify
from .simple import RowNoise as RowNoise
from .transfer import Transfer as Transfer
from .transfer import transfer as transfer
from .tuned import Tuned as Tuned
