"""What a change of a served model costs its clients: requests that fail, late answers, answers of another version."""
