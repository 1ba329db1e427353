"""Tools for the people who work on this project; none of them is shipped."""
