//! The only loop: appends what happens, applies it at once, acts when it is durable.
