//! Every name looked up in the estate.
