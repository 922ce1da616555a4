"""What goes over the wire: generated messages, and how they become records and back."""
