"""What every neuron does over a folder of pictures, and what a page of one neuron shows."""
