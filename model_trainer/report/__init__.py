"""The report of a version: one HTML page that needs nothing else, for people who want to know what was trained.

`facts` gathers what it says, `charts` and `pictures` what it shows, `page` prints it.
"""
