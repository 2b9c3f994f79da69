"""One gradient ascent in p-balls, which SAM trains with and sharpness measures."""
