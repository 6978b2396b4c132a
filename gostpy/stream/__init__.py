"""Wire formats joined to conns: used by data channels and by protocols."""
