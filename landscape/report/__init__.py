"""Reports: tables of several checkpoints in formats for papers, and one page with everything."""
