//! The servers over loopback, each rule of OTLP by its number.

mod counts;
mod grpc;
mod http;
mod limits;
mod peer;
