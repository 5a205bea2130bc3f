"""Breaks `plan` one small change at a time, and counts the changes that a unit test notices."""
