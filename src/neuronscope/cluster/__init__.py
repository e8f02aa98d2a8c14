"""Units of work, done by one process or shared among the workers of a Ray cluster."""
