//! Secrets: named in the configuration by where they are, read once before rights are given up, shown nowhere.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Octets of a secret that are believed.
const MOST: usize = 16 << 10;

/// Where a secret is.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Source {
    File(PathBuf),
    /// systemd's `LoadCredential=NAME:…`: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    Env(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(given: &str) -> Result<Source, String> {
        let (how, what) = given.split_once(':').unwrap_or_default();
        match how {
            _ if what.is_empty() => Err("secrets do not stand in this file".to_owned()),
            "file" => Ok(Source::File(what.into())),
            "credential" if !what.contains('/') => Ok(Source::Credential(what.to_owned())),
            "env" => Ok(Source::Env(what.to_owned())),
            _ => Err("secrets do not stand in this file".to_owned()),
        }
        .map_err(|why| format!("{why}: write file:/PATH, credential:NAME or env:NAME"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "file:{}", path.display()),
            Source::Credential(name) => write!(f, "credential:{name}"),
            Source::Env(name) => write!(f, "env:{name}"),
        }
    }
}

/// A secret. It has no way to be printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// The text itself, for who sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Source {
    /// Reads it. White space at the ends is an editor's.
    pub fn read(&self) -> io::Result<Secret> {
        let text = match self {
            Source::File(path) => file(path),
            Source::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(folder) => file(&PathBuf::from(folder).join(name)),
                None => Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "no $CREDENTIALS_DIRECTORY: the unit needs LoadCredential=",
                )),
            },
            Source::Env(name) => std::env::var(name)
                .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "not in the environment")),
        };
        let text =
            text.map_err(|error| io::Error::new(error.kind(), format!("{self}: {error}")))?;
        let text = text.trim();
        if text.is_empty() || text.len() > MOST || text.contains(['\n', '\r', '\0']) {
            let why = format!("{self}: not one line of text");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Secret(text.to_owned()))
    }
}

fn file(path: &Path) -> io::Result<String> {
    let octets = fs::read(path)?;
    String::from_utf8(octets).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_by_its_place_and_never_printed() {
        assert!("hunter2".parse::<Source>().is_err());
        assert!("https://hooks.example.net/T0/B0".parse::<Source>().is_err());
        assert!("credential:../shadow".parse::<Source>().is_err());
        let path = std::env::temp_dir().join(format!("flapscope-secret-{}", std::process::id()));
        fs::write(&path, "hunter2\n").unwrap();
        let source: Source = format!("file:{}", path.display()).parse().unwrap();
        let secret = source.read().unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert!(!format!("{secret:?} {source:?}").contains("hunter2"));
        fs::write(&path, "two\nlines\n").unwrap();
        assert!(source.read().is_err());
        fs::remove_file(path).unwrap();
        assert!(source.read().unwrap_err().to_string().contains("file:"));
    }
}
