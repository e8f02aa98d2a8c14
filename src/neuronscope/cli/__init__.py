"""The command line: one module per verb, each thin. Heavy imports happen inside the verbs."""

from .main import main as main
