"""One experiment from its plan to its scores; every experiment is a copy of this stage."""
