"""The loss of a model on data as a pure function of the flat weights."""
