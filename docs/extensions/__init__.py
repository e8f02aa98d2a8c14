"""What the documentation's pages are made with, as extensions of Python-Markdown; see docs/site.md."""
