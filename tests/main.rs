//! The suite, by promise.

mod durability;
