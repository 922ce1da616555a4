"""The program on a card: it runs applications, sizes and watches them, and hands them to other cards."""
