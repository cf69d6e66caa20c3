"""One step of each repair: the scheduler repeats it in a loop, `waggle audit --repair` runs it until nothing is left. Safe on many processes at once."""
