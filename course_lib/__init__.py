"""The companion package of The Transformer Family.

`FLOORS` is the map of the house: the modules in the order of the lessons, lowest first. A module may
import from the floors below its own and never from those above; `tests/test_house.py` enforces it.
"""

FLOORS = (
    "torchvision_ops",  # lets d2l and transformers import beside a CPU torch
    "environment",  # 00 start here: is this the right kernel
    "claims",  # every lesson: a measured statement
    "masks",  # 05
    "attention",  # 04
    "data",  # the toy worlds
    "viz",  # pictures and explorers
    "checks",  # the exercises, and what knows your mistake
)
