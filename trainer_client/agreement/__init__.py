"""Says how well a judge agrees with labels, and how sure that is. It needs numpy."""
