//! Files as the Collector's file exporter writes them, one message after the other.

use crate::error::ServiceError;
use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// Longer messages are refused: is it the right file?
const MESSAGE_BYTES_MAX: u64 = 256 << 20;

/// How messages stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON request a line.
    Json,
    /// Four bytes of length, big-endian, before each protobuf request.
    Protobuf,
}

/// The layout by the name's endings, compression aside.
fn layout_of(path: &Path) -> Option<Layout> {
    let name = path.file_name()?.to_str()?;
    let bare = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    match bare.rsplit_once('.')?.1 {
        "json" | "jsonl" => Some(Layout::Json),
        "binpb" => Some(Layout::Protobuf),
        _ => None,
    }
}

/// All files that a list of paths names, folders searched through, in a fixed order.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ServiceError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, &mut found)?;
        } else if !path.exists() {
            return Err(ServiceError::Usage(format!("`{}` does not exist", path.display())));
        } else if layout_of(path).is_some() {
            found.push(path.clone());
        } else {
            return Err(ServiceError::Usage(format!(
                "`{}` ends in none of .json, .jsonl, .binpb, with .gz or .zst or without",
                path.display()
            )));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(ServiceError::Usage("no file ends in .json, .jsonl or .binpb (.gz, .zst)".into()));
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ServiceError> {
    let entries = std::fs::read_dir(folder).map_err(ServiceError::io(format!("read the folder {}", folder.display())))?;
    for entry in entries {
        let path = entry.map_err(ServiceError::io(format!("read the folder {}", folder.display())))?.path();
        if path.is_dir() {
            search(&path, found)?;
        } else if layout_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// One open file.
pub struct Messages {
    path: PathBuf,
    layout: Layout,
    input: Box<dyn BufRead>,
    number: u64,
}

impl Messages {
    /// Opens a file; compression by its ending.
    pub fn open(path: &Path) -> Result<Self, ServiceError> {
        let failed = || format!("read {}", path.display());
        let layout = layout_of(path).ok_or_else(|| ServiceError::Usage(format!("`{}` is no file that replay reads", path.display())))?;
        let file = File::open(path).map_err(ServiceError::io(failed()))?;
        let input: Box<dyn BufRead> = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            Some("zst") => Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::new(file).map_err(ServiceError::io(failed()))?)),
            _ => Box::new(BufReader::with_capacity(1 << 16, file)),
        };
        Ok(Self { path: path.to_owned(), layout, input, number: 0 })
    }

    /// How messages stand here.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// `file, message 12`, for complaints.
    pub fn place(&self) -> String {
        format!("{}, message {}", self.path.display(), self.number)
    }

    /// The next message's bytes, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, ServiceError> {
        self.number += 1;
        let read = match self.layout {
            Layout::Json => self.next_line(),
            Layout::Protobuf => self.next_block(),
        };
        read.map_err(ServiceError::io(format!("read {}", self.place())))
    }

    fn next_line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            let length = (&mut self.input).take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(None);
            }
            if length as u64 == MESSAGE_BYTES_MAX {
                return Err(std::io::Error::other(format!("the line is longer than {MESSAGE_BYTES_MAX} bytes")));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn next_block(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = u64::from(u32::from_be_bytes(length));
        if length > MESSAGE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "the message is said to be {length} bytes long: is the file framed with 4-byte lengths?"
            )));
        }
        let mut block = Vec::new();
        if (&mut self.input).take(length).read_to_end(&mut block)? as u64 != length {
            return Err(std::io::Error::other("the file ends in the middle of a message"));
        }
        Ok(Some(block))
    }
}
