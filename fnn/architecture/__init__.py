"""The description of a task as JSON: written, read without executing code of the file, and compared.

A description holds the calls that made a task, as `Described.call` has them. Functions are stored by name: those of
the library, a list of JAX's, and user-defined ones under names that the caller gives at both ends.
"""
