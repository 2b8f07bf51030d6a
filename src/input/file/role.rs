//! `--role FILE=NAME[:host|router|bmp]`: whose capture a file is.

use std::path::Path;
use std::str::FromStr;

use crate::event::source::Role;

/// One `--role` argument.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct RoleSpec {
    /// The input it is for: as given on the command line, or its last component.
    pub file: String,
    /// Name of the host it was taken on.
    pub host: String,
    /// What that host is.
    pub role: Option<Role>,
}

/// Why a `--role` argument is none.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum RoleError {
    #[error("`{0}` is not FILE=NAME[:host|router|bmp]")]
    Shape(String),
    #[error("`{0}` is no role: host, router or bmp")]
    Role(String),
}

impl FromStr for RoleSpec {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<RoleSpec, RoleError> {
        let shape = || RoleError::Shape(text.into());
        // File names may contain `=`, names of hosts do not.
        let (file, named) = text.rsplit_once('=').ok_or_else(shape)?;
        let (host, role) = match named.split_once(':') {
            None => (named, None),
            Some((host, "host")) => (host, Some(Role::Host)),
            Some((host, "router")) => (host, Some(Role::Router)),
            Some((host, "bmp")) => (host, Some(Role::Bmp)),
            Some((_, other)) => return Err(RoleError::Role(other.into())),
        };
        if file.is_empty() || host.is_empty() {
            return Err(shape());
        }
        Ok(RoleSpec {
            file: file.into(),
            host: host.into(),
            role,
        })
    }
}

impl RoleSpec {
    /// Whether it means the input given as `path`.
    pub fn is_for(&self, path: &Path) -> bool {
        path == Path::new(&self.file)
            || path
                .file_name()
                .is_some_and(|name| name == self.file.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_name_a_file_a_host_and_what_it_is() {
        let spec: RoleSpec = "out/a=b.pcap=edge1:router".parse().unwrap();
        assert_eq!(
            (spec.file.as_str(), spec.host.as_str(), spec.role),
            ("out/a=b.pcap", "edge1", Some(Role::Router))
        );
        assert!(spec.is_for(Path::new("out/a=b.pcap")));
        assert!(!spec.is_for(Path::new("a=b.pcap")));
        let spec: RoleSpec = "h.pcapng=h".parse().unwrap();
        assert!(spec.role.is_none() && spec.is_for(Path::new("some/where/h.pcapng")));
        assert!(matches!(
            "h.pcapng=h:switch".parse::<RoleSpec>(),
            Err(RoleError::Role(_))
        ));
        for bad in ["h.pcapng", "=h", "h.pcapng=", "h.pcapng=:host"] {
            assert!(
                matches!(bad.parse::<RoleSpec>(), Err(RoleError::Shape(_))),
                "{bad}"
            );
        }
    }
}
