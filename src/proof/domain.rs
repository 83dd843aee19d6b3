//! Rules of the domain (4.2).
