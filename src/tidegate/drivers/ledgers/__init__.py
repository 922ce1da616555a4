"""What drivers write down before they change something: one writer at a time, and files that are whole."""
