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
    "layers",  # 06
    "transformer",  # 07
    "gpt",  # 09
    "bert",  # 10 and 11
    "xlnet",  # 12 and 13
    "vit",  # 14
    "rnn",  # 01, with the bridge to attention of 04
    "objectives",  # 01, 10 to 14: what a model is asked to predict
    "decoding",  # 08
    "data",  # the toy worlds and the real texts
    "distributed",  # one update made by several processes
    "training",  # 01 on: one loop
    "zoo",  # small trained models, made on first use
    "hugging_face",  # 14: the weights of others in our models
    "viz",  # pictures and explorers
    "checks",  # the exercises, and what knows your mistake
)
