"""The evaluation of a paper on a folder of data: settings, work, results, tables, page."""
