"""What people and programs see: tables, cards, progress, JSON. Nothing here decides what a command does."""
