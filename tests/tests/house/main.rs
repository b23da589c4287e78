//! The rules of the house, each as a test that names the line to mend.

mod documents;
mod floors;
mod sources;
