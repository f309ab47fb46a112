"""From recorded values to what is drawn. Nothing here knows of Dash."""
