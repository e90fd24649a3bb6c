"""What is measured, in which order and how politely, and how it goes on after an interrupt."""
