"""What a student costs and what it is worth: size, time, memory and agreement, and the report that shows them."""
