"""Directions in weight space, and the lines and planes that they span."""
