"""Pictures with boxes or masks, in whatever form people have them: tables, YOLO and Pascal VOC folders, data frames."""

from .opened import annotated as annotated
