"""`Edit.save_model` as a program: `python -m benchmarks.kills.saving --out FOLDER`."""

from __future__ import annotations

import sys

from neuronscope import loading
from neuronscope.edit.simple import Ablate
from neuronscope.errors import NeuronscopeError
from neuronscope.types import Neurons


def main(arguments: list[str]) -> None:
    vlm = loading.load("demo")
    try:
        with Ablate().edit(vlm, Neurons.of([(0, 1), (3, 7)])) as edit:
            edit.save_model(arguments[-1])
    except NeuronscopeError as error:
        sys.exit(f"neuronscope: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
