"""Documents that are printed from the programme, so that they cannot drift from what runs."""
