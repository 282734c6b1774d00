"""Generators that a firmware engineer would use instead: what they make of the same trunk, on the same core."""
