//! `score` for plain series of numbers: the live engine, each row one window.
