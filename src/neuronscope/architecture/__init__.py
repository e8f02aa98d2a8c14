"""Where the parts of a transformers model are: layers, FFNs, towers, devices, quantised weights."""
