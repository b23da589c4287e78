//! The frame that says what a thread was doing.

/// `[on_cpu]` for `on_cpu` and so on; `None` for other words.
pub fn frame_of(word: &str) -> Option<&'static str> {
    match word {
        "on_cpu" => Some("[on_cpu]"),
        "blocked" => Some("[blocked]"),
        "waiting" => Some("[waiting]"),
        _ => None,
    }
}
