"""`waggle doctor`: checks everything that Waggle depends on, changes nothing, and advises on every problem.

`checks` is the table of checks; a check takes the deployment and returns findings.
"""
