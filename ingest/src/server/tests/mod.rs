//! The servers over loopback, each rule of OTLP by its number.

mod access;
mod counts;
mod fuzz;
mod grpc;
mod http;
mod limits;
mod peer;
mod stall;
