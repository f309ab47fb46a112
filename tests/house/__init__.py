"""The rules of the house, held by tests. Every rule is a function of a folder, so that it can be shown to fail."""
