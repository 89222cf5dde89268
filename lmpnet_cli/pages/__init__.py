"""The page of a report: what it shows as plain data, its template, style and scripts."""
