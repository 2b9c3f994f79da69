"""Files: checkpoints, results, and the user's own model, data and loss."""
