//! Applies accepted revocations at every site of the line and confirms them by OCSP and CRL.
