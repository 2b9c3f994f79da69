"""What serves Lanczos alone."""
