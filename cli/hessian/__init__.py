"""`landscape hessian`."""
