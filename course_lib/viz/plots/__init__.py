"""Static pictures: tensors and tokens in, artists or a `Picture` out; one file a kind of picture.

Every picture x comes in up to four functions of one scheme:

    show_x(data, …) -> Picture          one call in a notebook cell
    plot_x(data, …, ax=None) -> artists  on axes of your own (None = on a new figure, `artists.ax.figure`)
    update_x(artists, data)              new data into the same artists; the pictures that move have it
    describe_x(data, …) -> str           the same in words: the text alternative

The scale, the labels and the number of cells are settled by `plot_x`; `update_x` changes values only, because
drawing afresh takes twice as long.
"""
