"""The companion package of The Transformer Family.

`FLOORS` is the map of the house: the modules in the order of the lessons, lowest first. A module may
import from the floors below its own and never from those above; `tests/test_house.py` enforces it.
"""

FLOORS = (
    "torchvision_ops",  # lets d2l and transformers import beside a CPU torch
    "environment",  # 00 start here: is this the right kernel
    "claims",  # every lesson: a measured statement
    "tokenization",  # 02
    "masks",  # 05
    "embeddings",  # 02
    "patches",  # 02 and 14: pictures, sound and film as tokens
    "positions",  # 03
    "attention",  # 04
    "rnn",  # 01, with the bridge to attention of 04
    "objectives",  # 01: what the next token is
    "data",  # the toy worlds and the real texts
    "training",  # 01 on: one loop
    "zoo",  # small trained models, made on first use
    "viz",  # pictures and explorers
    "checks",  # the exercises, and what knows your mistake
)
