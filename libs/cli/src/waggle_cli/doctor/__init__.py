"""`waggle doctor`: looks at everything that Waggle stands on, changes nothing, and advises on whatever is not well.

`checks` is the table of what is looked at; a check takes the patient and gives findings.
"""
