"""Objects that captions name and pictures do not show, edited away and measured by CHAIR."""
