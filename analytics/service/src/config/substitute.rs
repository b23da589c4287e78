//! `${env:NAME}`, `${env:NAME:-default}` and `$$` in configuration text.

/// Replaces references in `text`; `lookup` is the environment. The error says what to do.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or("`${` without `}`: close it, or write `$$` for a dollar sign")?;
            out.push_str(&value_of(&after[..end], lookup)?);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(reference: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let inner = reference
        .strip_prefix("env:")
        .ok_or_else(|| format!("`${{{reference}}}` is not understood: write `${{env:NAME}}` or `${{env:NAME:-default}}`"))?;
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err(format!("`{name}` is not the name of an environment variable: use letters, digits and `_`"));
    }
    lookup(name)
        .filter(|value| default.is_none() || !value.is_empty())
        .or_else(|| default.map(str::to_owned))
        .ok_or_else(|| format!("environment variable `{name}` is not set: set it, or write `${{env:{name}:-default}}`"))
}
