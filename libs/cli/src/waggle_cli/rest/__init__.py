"""The command line as a client of the REST API: addresses, calls, errors, submissions, polling. It prints nothing and knows no exit codes."""
