"""Explorers: something to move, a picture that answers, and a sentence that says what it shows.

Each is a thin `VBox`: its controls are attributes (`explorer.temperature.value = 8`), `state` holds what is
shown in numbers, and `static()` gives a still picture for the cell above, which also stands without a kernel.
The figure is built once; a change of a control moves its artists and paints a new PNG. One file an explorer.
"""
