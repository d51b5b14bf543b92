"""How results look: in a terminal, in a notebook, as a plot and as a report."""
