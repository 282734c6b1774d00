"""`python -m distill`, from wherever it is called."""

import sys
from pathlib import Path

# Python puts the current folder first; one that holds folders named export or teacher would hide ours.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from distill.cli import main

main()
