"""The loss on lines and planes through the weights."""
