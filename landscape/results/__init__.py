"""What the computations return: frozen dataclasses of numpy arrays that know their own error.

Nothing here imports torch, so that a stored result can be read and drawn without the model.
"""
