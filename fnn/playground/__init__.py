"""The playground: neural networks in the browser, trained by fnn.

``python -m fnn.playground`` serves it, and `show` shows it inside a notebook.
"""
