"""The evaluation of the paper on a COCO folder: data set, sets, captions under interventions, tables and pages."""
