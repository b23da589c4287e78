//! Real peers against the real binary. A peer that is absent is a skip on a user's machine and a
//! failure where `GEOPHONE_REQUIRE_PEERS` is set.

mod alertmanager;
mod collector;
mod python;
mod rust_sdk;
