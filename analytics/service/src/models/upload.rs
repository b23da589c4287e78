//! The files of a model as they come in: a folder, or the body of a request (multipart form, or JSON with
//! base64). Three are always wanted, the signature only where keys are trusted.

use crate::error::ServiceError;
use base64::{Engine, engine::general_purpose::STANDARD};
use geophone_models::SIGNATURE_FILE;
use std::{fs, io::Read, path::Path};

/// Names of the files, all of them wanted.
const NAMES: [&str; 3] = ["card.toml", "model.onnx", "check.parquet"];
/// All three files together.
pub const UPLOAD_BYTES_MAX: u64 = 64 << 20;

/// Contents of `card.toml`, `model.onnx`, `check.parquet`, and of `card.toml.minisig` if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFiles {
    wanted: [Vec<u8>; 3],
    signature: Option<Vec<u8>>,
}

impl ModelFiles {
    /// Reads a folder; what is no regular file, or too large, is refused.
    pub fn read(folder: &Path) -> Result<Self, ServiceError> {
        let mut files = Self::default();
        if folder.join(SIGNATURE_FILE).exists() {
            files.signature = Some(Vec::new());
        }
        let mut left = UPLOAD_BYTES_MAX;
        for (name, content) in files.named_mut() {
            let path = folder.join(name);
            let unreadable = |reason: String| {
                ServiceError::Negative(format!(
                    "cannot read `{}`: {reason}; a model folder holds model.onnx, card.toml and check.parquet",
                    path.display()
                ))
            };
            let about = fs::metadata(&path).map_err(|error| unreadable(error.to_string()))?;
            if !about.is_file() {
                return Err(unreadable("it is not a regular file".into()));
            }
            let file = fs::File::open(&path).map_err(|error| unreadable(error.to_string()))?;
            file.take(left + 1).read_to_end(content).map_err(|error| unreadable(error.to_string()))?;
            let length = content.len() as u64;
            if length > left {
                return Err(unreadable(format!("the files hold more than {} MiB of memory", UPLOAD_BYTES_MAX >> 20)));
            }
            left -= length;
        }
        Ok(files)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &Vec<u8>)> {
        NAMES.into_iter().zip(&self.wanted).chain(self.signature.iter().map(|content| (SIGNATURE_FILE, content)))
    }

    fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Vec<u8>)> {
        NAMES.into_iter().zip(&mut self.wanted).chain(self.signature.iter_mut().map(|content| (SIGNATURE_FILE, content)))
    }

    /// Writes them into a folder, durably.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ServiceError> {
        for (name, content) in self.named() {
            let path = folder.join(name);
            let written = fs::write(&path, content).and_then(|()| fs::File::open(&path)?.sync_all());
            written.map_err(ServiceError::io(format!("write {}", path.display())))?;
        }
        Ok(())
    }

    /// As a multipart form: body and content type.
    pub fn to_multipart(&self) -> (Vec<u8>, String) {
        let taken = |boundary: &str| self.named().any(|(_, content)| find(content, boundary.as_bytes()).is_some());
        let mut boundary = "geophone-model-0".to_owned();
        for number in 1u64.. {
            if !taken(&boundary) {
                break;
            }
            boundary = format!("geophone-model-{number}");
        }
        let mut body = Vec::new();
        for (name, content) in self.named() {
            let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (body, format!("multipart/form-data; boundary={boundary}"))
    }

    /// Reads the body of a request; the error says what is wrong with it.
    pub fn from_body(kind: &str, body: &[u8]) -> Result<Self, String> {
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            "multipart/form-data" => Self::from_multipart(kind, body),
            "application/json" => Self::from_json(body),
            _ => Err(format!("content type `{kind}` is neither multipart/form-data nor application/json")),
        }
    }

    fn from_multipart(kind: &str, body: &[u8]) -> Result<Self, String> {
        let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
        let boundary =
            boundary.map(|text| text.trim_matches('"')).filter(|text| !text.is_empty()).ok_or("the content type names no boundary")?;
        let line = format!("--{boundary}");
        let mut files = Found::default();
        let mut rest = find(body, line.as_bytes()).map(|at| &body[at + line.len()..]).ok_or("the body holds no part")?;
        let next = format!("\r\n{line}");
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = find(part, next.as_bytes()).ok_or("the last part does not end")?;
            let (part, after) = (&part[..end], &part[end + next.len()..]);
            let head_end = find(part, b"\r\n\r\n").ok_or("a part has no head")?;
            let head = String::from_utf8_lossy(&part[..head_end]);
            files.put(&head, &part[head_end + 4..])?;
            rest = after;
        }
        files.done()
    }

    fn from_json(body: &[u8]) -> Result<Self, String> {
        let wanted =
            "{\"card.toml\": text or base64, \"model.onnx\": base64, \"check.parquet\": base64} or {\"folder\": \"/path/on/the/server\"}";
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body).map_err(|error| format!("the body must be {wanted}: {error}"))?;
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        if let Some(folder) = text("folder") {
            return Self::read(Path::new(folder)).map_err(|error| error.to_string());
        }
        let mut files = Self { signature: fields.get(SIGNATURE_FILE).map(|_| Vec::new()), ..Self::default() };
        for (name, content) in files.named_mut() {
            let text = text(name).ok_or_else(|| format!("`{name}` is missing: the body must be {wanted}"))?;
            *content = match STANDARD.decode(text.trim()) {
                Ok(content) => content,
                // A card has quotes and a signature has colons, which base64 has not.
                Err(_) if name.starts_with("card.toml") => text.as_bytes().to_vec(),
                Err(error) => return Err(format!("`{name}` is not base64: {error}")),
            };
        }
        Ok(files)
    }
}

/// Files of a form so far.
#[derive(Default)]
struct Found {
    wanted: [Option<Vec<u8>>; 3],
    signature: Option<Vec<u8>>,
}

impl Found {
    fn put(&mut self, head: &str, content: &[u8]) -> Result<(), String> {
        let names = |key: &str| {
            head.split(['\r', '\n', ';'])
                .filter_map(|part| part.trim().strip_prefix(key))
                .next()
                .map(|text| text.trim_matches('"').to_owned())
        };
        let (field, file) = (names("name="), names("filename="));
        let is = |wanted: &str| field.as_deref() == Some(wanted) || file.as_deref() == Some(wanted);
        if is(SIGNATURE_FILE) {
            self.signature = Some(content.to_vec());
            return Ok(());
        }
        let place = NAMES.iter().position(|wanted| is(wanted));
        let place = place.ok_or_else(|| {
            format!("the form has a part `{}`: card.toml, model.onnx and check.parquet are wanted", field.unwrap_or_default())
        })?;
        self.wanted[place] = Some(content.to_vec());
        Ok(())
    }

    fn done(self) -> Result<ModelFiles, String> {
        let [card, model, check] = self.wanted;
        let missing = |name: &str| format!("the form lacks the part `{name}`: card.toml, model.onnx and check.parquet are wanted");
        let wanted =
            [card.ok_or_else(|| missing(NAMES[0]))?, model.ok_or_else(|| missing(NAMES[1]))?, check.ok_or_else(|| missing(NAMES[2]))?];
        Ok(ModelFiles { wanted, signature: self.signature })
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
