"""Pure functions from a trace to what is said of it: the closing, the causes, the rules."""
