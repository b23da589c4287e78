//! `geophone token`: makes a token and what the configuration holds of it.

use super::output::{Format, FormatArg, print_value, say};
use crate::error::ServiceError;
use clap::{Args, ValueEnum};
use geophone_ingest::{SECRET_BYTES_MIN, SecretHash, is_tenant_name};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::io::Read;

/// Longer secrets are not read.
const SECRET_BYTES_MAX: u64 = 4096;

/// Make a token for a sender or a reader; only its hash goes into the configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  geophone token --name shop-collector --tenant shop\n  geophone token --name alice --may read --may act\n  printf %s \"$SECRET\" | geophone token --name ci --stdin"
)]
pub struct Token {
    /// Name of the token; the user where basic authentication is used.
    #[arg(long, env = "GEOPHONE_NAME", default_value = "sender")]
    name: String,
    /// Whose telemetry it brings; `*` = the sender says so in `access.tenant_header`.
    #[arg(long, env = "GEOPHONE_TENANT", default_value = "default")]
    tenant: String,
    /// What it allows.
    #[arg(long, value_enum, env = "GEOPHONE_MAY", value_delimiter = ',', default_values_t = [May::Send])]
    may: Vec<May>,
    /// Hash the secret on stdin instead of making one.
    #[arg(long, env = "GEOPHONE_STDIN")]
    stdin: bool,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum May {
    Send,
    Read,
    Act,
}

impl May {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

impl Token {
    /// Prints the token once, and the lines for the configuration.
    pub fn run(self) -> Result<(), ServiceError> {
        if self.tenant != "*" && !is_tenant_name(&self.tenant) {
            return Err(ServiceError::Usage(format!("`{}` is not a tenant's name: 1 to 64 letters, digits, `_`, `-` or `.`", self.tenant)));
        }
        if self.name.is_empty() || self.name.contains(':') {
            return Err(ServiceError::Usage(format!("`{}` is not a token's name: it must not be empty nor hold a `:`", self.name)));
        }
        let secret = if self.stdin { from_stdin()? } else { format!("gph_{}", random_hex::<24>()?) };
        let salt: [u8; 16] = random()?;
        let hash = SecretHash::of(secret.as_bytes(), &salt);
        let may: Vec<&str> = self.may.iter().map(|may| may.as_str()).collect();
        let rule = json!({"name": self.name, "hash": hash.to_string(), "tenant": self.tenant, "may": may});
        match self.format.format() {
            Format::Table => {
                if !self.stdin {
                    say(&format!("token, shown only now:\n  {secret}\nas a header:\n  authorization: Bearer {secret}"))?;
                }
                let item = format!(
                    "{{name: {}, hash: \"{hash}\", tenant: {}, may: [{}]}}",
                    quoted(&self.name),
                    quoted(&self.tenant),
                    may.join(", ")
                );
                say(&format!("for the configuration:\n  access:\n    tokens:\n      - {item}"))
            }
            format @ (Format::Json | Format::Ndjson) => {
                let token = if self.stdin { serde_json::Value::Null } else { secret.into() };
                print_value(format, &json!({"token": token, "rule": rule}))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn from_stdin() -> Result<String, ServiceError> {
    let mut secret = String::new();
    std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut secret).map_err(ServiceError::io("read the secret from stdin"))?;
    let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(ServiceError::Usage(format!("a secret must have at least {SECRET_BYTES_MIN} bytes: a shorter one can be guessed")));
    }
    Ok(secret)
}

fn random<const N: usize>() -> Result<[u8; N], ServiceError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| ServiceError::Negative("the system gives no random bytes".into()))?;
    Ok(bytes)
}

fn random_hex<const N: usize>() -> Result<String, ServiceError> {
    Ok(random::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
