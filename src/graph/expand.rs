//! `for_each`, serial, pairing of needs.
