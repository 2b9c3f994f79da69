"""A conformance suite that checks any sharpness-aware optimizer class for common errors."""
