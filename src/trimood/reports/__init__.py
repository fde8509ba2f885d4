"""HTML pages, tables and figures of results; results are computed elsewhere."""
