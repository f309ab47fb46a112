"""What a run has to say: tables on the terminal, one HTML file with plots."""
