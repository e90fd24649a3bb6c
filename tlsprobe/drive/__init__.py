"""Drives one connection through a close sequence and writes down what happens."""
