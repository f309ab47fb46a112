"""The dashboard: figures from data, and pages in a real browser."""
