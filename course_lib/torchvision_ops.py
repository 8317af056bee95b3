"""Let torchvision, d2l and transformers import beside a torch that torchvision was not built for.

torchvision ships two kinds of code: Python, and a few compiled operators such as `nms` (non-maximum
suppression, which drops overlapping boxes in object detection). The compiled part loads only beside the
torch build it was made for. Where the registry gives a CUDA torchvision and a CPU torch, it stays out
without a word, and then the Python part stops at its first line about `nms` with

    RuntimeError: operator torchvision::nms does not exist

`d2l.torch` and most models of `transformers` import torchvision and so cannot be imported at all, although
nothing in this course ever detects an object. The cure is to tell torch that two operators of these names
exist and what they take. They have no body: whoever calls them gets an error, but nobody here does.
"""

import importlib
import importlib.util

import torch

MISSING_OPS = ("nms", "qnms")

# torch forgets a definition when its Library object is collected, so it lives as long as the process.
_library: torch.library.Library | None = None


def define_missing_torchvision_ops() -> None:
    """Define `torchvision::nms` and `torchvision::qnms` where torchvision's own are absent.

    Call it before the first `import d2l.torch` or `import transformers`. It does nothing where torchvision
    works, where it is not installed, or when it has been called before.

    Raises: RuntimeError where torchvision fails for any other reason.
    """
    global _library
    if _library is not None or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or "does not exist" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        for op in MISSING_OPS:
            _library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
