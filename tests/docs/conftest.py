"""Makes the helpers of this folder importable: page_blocks, page_commands, page_code, page_folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
