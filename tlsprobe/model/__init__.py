"""The values that pass between the steps of a probe. Standard library only, all frozen."""
