//! Sockets to arrivals: `listen` accepts, `grpc` and `http` speak, `body` reads within the `budget`,
//! `reception` decodes and waits for the `receipt`, `status` and `refusal` say what came of it.

mod body;
mod budget;
mod grpc;
mod http;
mod line;
mod listen;
mod orphans;
mod packing;
mod places;
mod pressure;
mod receipt;
mod reception;
mod refusal;
mod reply;
mod sampling;
mod seldom;
mod status;
mod tally;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
mod throttle;

pub use listen::{Config, Listening, serve};
pub use pressure::{Pressure, Writing};
pub use receipt::{Arrival, Receipt};
pub use sampling::Sampling;
pub use seldom::Seldom;
pub use throttle::Throttle;
