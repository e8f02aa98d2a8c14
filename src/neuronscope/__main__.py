"""`python -m neuronscope`."""

from .cli import main

main()
