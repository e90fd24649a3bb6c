"""Files and pasted text become packets; frames become a capture file."""
