"""Studies: many training runs from one file, resumed, measured and summarised."""
