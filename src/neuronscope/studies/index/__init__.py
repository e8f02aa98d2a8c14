"""One pass over a folder of pictures after which every neuron has a page."""
