"""Looking at a run, finished or still going, in a browser. Dash on FastAPI; nothing is fetched from outside."""
