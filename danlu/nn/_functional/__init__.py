"""The functions of `danlu.nn.functional`, a file per family."""
