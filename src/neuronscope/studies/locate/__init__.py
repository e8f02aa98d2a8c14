"""One concept in one image: its neurons, and the folder that shows them and that `neuronscope report` takes."""
