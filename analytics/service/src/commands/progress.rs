//! Progress of long work, on stderr, for people only.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// A bar (`total` known) or a counter; hidden where stderr is no terminal.
pub(crate) fn bar(total: Option<u64>, unit: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:40} {percent}%  {eta} left  ({msg})"),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} {msg}  {per_sec}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.set_message(unit.to_owned());
    bar
}
