//! A headless Chromium: an address in, the finished document and the console out.

use geophone_tests::place;
use std::{path::PathBuf, process::Command};

/// Time of the page's own clock that it gets; waiting for the server does not count.
const BUDGET_MS: &str = "10000";

/// The browser of this machine.
pub struct Browser(PathBuf);

/// A page when it had finished.
pub struct Shown {
    /// The document as HTML.
    pub document: String,
    /// Lines that the page or the browser wrote to the console.
    pub console: Vec<String>,
}

impl Browser {
    /// Chromium, where there is one.
    pub fn find() -> Option<Self> {
        place::peer("chromium").map(Self)
    }

    /// Opens an address with a new profile.
    pub fn open(&self, address: &str) -> Shown {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let run = Command::new(&self.0)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--virtual-time-budget={BUDGET_MS}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(address)
            .output()
            .expect("Chromium can be started");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{address}: {said}");
        Shown {
            document: String::from_utf8_lossy(&run.stdout).into_owned(),
            console: said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
        }
    }
}

impl Shown {
    /// Whether a text is on the page, whatever characters HTML wants escaped.
    pub fn has(&self, text: &str) -> bool {
        self.document.contains(&escaped(text))
    }
}

/// A text as a browser writes it into HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
