"""Claims and leases: a guest asks for a resource and holds it for a while; where it lives is not told.

Pure: what is held, what is coming, what there is and what time it is are passed in. Programs serve it.
"""
