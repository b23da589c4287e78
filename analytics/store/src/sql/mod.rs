//! Read-only SQL over sealed and recent rows: `statement` decides what may run, `source` makes the
//! tables, `run` bounds it, `value` shows the answer.

mod arrows;
mod bounds;
mod function;
mod numbers;
mod run;
mod source;
mod statement;
mod value;
