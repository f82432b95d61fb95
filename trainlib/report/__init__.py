"""The report of runs: pictures, and the page that shows them."""
