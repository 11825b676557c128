//! The promises of the server, by promise.

mod simulate;
