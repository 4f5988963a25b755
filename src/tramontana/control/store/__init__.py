"""What the server keeps: one relational store behind functions grouped by subject (SQLAlchemy Core, portable SQL)."""
