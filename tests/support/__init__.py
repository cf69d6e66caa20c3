"""What all tests use: real servers, real processes, facts with a deadline."""
