//! `check otlp`: every rule of OTLP that shows on the wire, put to any server, with what was sent and got.
//!
//! `target` says whom to ask, `samples` what, `call` how; `http1` and `http2` carry it, `reply` reads the
//! answer, the `*_rules` judge, `run` is the list of rules. Nothing here trusts the server: every answer is
//! bounded in size and time.

mod answer_rules;
mod call;
mod error_rules;
mod finding;
mod http1;
mod http2;
mod http_rules;
mod json_rules;
mod lab;
mod overload;
mod reply;
mod request_rules;
mod run;
mod samples;
mod target;

pub use finding::{Finding, Outcome};
pub use run::check;
pub use target::{Target, TargetError};
