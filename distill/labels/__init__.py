"""What is done with label tables that are there: looked at, put together, handed on. Everything streams."""
