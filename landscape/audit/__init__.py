"""A conformance suite for sharpness-aware optimizers: the traps that implementations fall into, on
anyone's class.
"""
