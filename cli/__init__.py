"""The command line: options, one library call, save, print."""
