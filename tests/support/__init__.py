"""What the tests stand on: real servers, real processes, facts with a deadline."""
