"""The tasks: how to install, run and check them."""
