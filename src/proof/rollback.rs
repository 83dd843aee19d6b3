//! Everything before the point of no return can be undone (4.3).
