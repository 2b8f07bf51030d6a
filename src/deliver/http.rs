//! POST over HTTP/1.1, with TLS, a proxy, and an end to all patience. What an answer means for the next try is decided here, for every sink.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio_rustls::rustls::crypto;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
};

use super::secret::{Secret, Source};
use super::sink::{Failure, Outcome, Reason};

/// Where distributions keep what they trust: Debian, Fedora, OpenSUSE.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// Octets of an answer that are looked at: what a person needs to see why it was refused.
const ANSWER: u64 = 512;
/// A whole try takes no longer: longer than any receiver's own limits, short enough that a thread is never gone for minutes.
const TRY: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(8);

/// How to reach a receiver.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Route {
    /// Trusted instead of the system's certificates.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
    /// `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<Source>,
}

/// An address to post to. Parts of it may be secret (a webhook's path often is); it is shown without them.
#[derive(Clone, Eq, PartialEq)]
pub struct Url(String);

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(given: &str) -> Result<Url, String> {
        let uri: Uri = given.parse().map_err(|_| "is no URL".to_owned())?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(Url(given.to_owned())),
            _ => Err("write http://HOST… or https://HOST…".to_owned()),
        }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Url {
    /// Of a secret that is a URL.
    pub fn of_secret(secret: &Secret) -> Result<Url, String> {
        secret.reveal().parse()
    }

    /// The whole of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn uri(&self) -> Uri {
        self.0.parse().unwrap_or_default()
    }

    /// Without path, query and password.
    pub fn shown(&self) -> String {
        let uri = self.uri();
        let port = uri.port_u16().map(|port| format!(":{port}"));
        format!(
            "{}://{}{}",
            uri.scheme_str().unwrap_or("http"),
            uri.host().unwrap_or("-"),
            port.unwrap_or_default()
        )
    }

    /// The port that is called.
    pub fn port(&self) -> u16 {
        let uri = self.uri();
        let usual = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        uri.port_u16().unwrap_or(usual)
    }

    /// Whether its host must be looked up.
    pub fn is_named(&self) -> bool {
        let uri = self.uri();
        let host = uri.host().unwrap_or_default();
        host.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
    }
}

/// A client for one sink; connections are kept.
pub struct Client {
    agent: Agent,
    token: Option<Secret>,
}

impl Client {
    /// Reads certificates and secrets: before rights are given up.
    pub fn open(route: &Route) -> io::Result<Client> {
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots(route.ca.as_deref())?));
        if let Some((certificate, key)) = &route.client {
            let chain = certificates(certificate)?;
            let key_pem = fs::read(key).map_err(|error| named(key, &error))?;
            let key =
                PrivateKey::from_pem(&key_pem).map_err(|error| wrong(key, &error.to_string()))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        let proxy = match &route.proxy {
            Some(proxy) => Some(ureq::Proxy::new(proxy).map_err(io::Error::other)?),
            None => None,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A receiver that moved is configured anew: secrets are not carried elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .tls_config(tls.build())
            .user_agent(concat!("flapscope/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TRY))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .max_idle_connections(2)
            .max_idle_connections_per_host(1)
            .build();
        let token = route.token.as_ref().map(Source::read).transpose()?;
        Ok(Client {
            agent: config.new_agent(),
            token,
        })
    }

    /// Posts JSON. `also` are codes that mean "again", besides 429 and 5xx.
    pub fn post(&self, url: &Url, headers: &[(&str, &str)], body: &str, also: &[u16]) -> Outcome {
        let mut request = self
            .agent
            .post(url.reveal())
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        match request.send(body) {
            Err(error) => Outcome::Again(of_error(&error, url), None),
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let asked = answer
                    .headers()
                    .get("retry-after")
                    .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                    .map(Duration::from_secs);
                let mut said = Vec::new();
                // What cannot be read of an answer changes nothing about its code.
                let _ = answer
                    .body_mut()
                    .as_reader()
                    .take(ANSWER)
                    .read_to_end(&mut said);
                judge(status, asked, &words(&said), also)
            }
        }
    }
}

/// What an answer means: 2xx is done; 429 and 5xx are tried again, not before Retry-After; everything else will not get better.
pub fn judge(status: u16, asked: Option<Duration>, said: &str, also: &[u16]) -> Outcome {
    let reason = match status {
        200..=299 => return Outcome::Done(format!("{status} {said}").trim_end().to_owned()),
        401 | 403 => Reason::Auth,
        429 => Reason::RateLimited,
        408 | 500..=599 => Reason::Server,
        _ => Reason::Client,
    };
    let failure = Failure::new(reason, format!("HTTP {status} {said}").trim_end());
    match reason {
        Reason::RateLimited | Reason::Server => Outcome::Again(failure, asked),
        _ if also.contains(&status) => Outcome::Again(failure, asked),
        _ => Outcome::Never(failure),
    }
}

fn of_error(error: &ureq::Error, url: &Url) -> Failure {
    let at = url.shown();
    let (reason, why) = match error {
        ureq::Error::Timeout(what) => (Reason::Timeout, format!("no answer in time ({what})")),
        ureq::Error::HostNotFound => (Reason::Other, "its name has no address".to_owned()),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            (Reason::Timeout, "no answer in time".to_owned())
        }
        // EACCES of connect(2): the sandbox knows the ports that were configured at the start.
        ureq::Error::Io(error) if error.raw_os_error() == Some(libc::EACCES) => (
            Reason::Other,
            "the sandbox does not let us call this port: restart the service".to_owned(),
        ),
        ureq::Error::Io(error) => (Reason::Other, error.to_string()),
        ureq::Error::Rustls(error) => (Reason::Other, format!("TLS: {error}")),
        other => (Reason::Other, other.to_string()),
    };
    Failure::new(reason, format!("{at}: {why}"))
}

/// The first words of an answer, as one line without what could trick a terminal.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line: String = text
        .chars()
        .map(|c| {
            if c.is_control() || c == '\u{fffd}' {
                ' '
            } else {
                c
            }
        })
        .filter(|c| {
            !('\u{200b}'..='\u{200f}').contains(c) && !('\u{202a}'..='\u{202e}').contains(c)
        })
        .take(200)
        .collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn roots(ca: Option<&Path>) -> io::Result<Vec<Certificate<'static>>> {
    match ca {
        Some(path) => certificates(path),
        // Without a bundle every https:// fails with a sentence; http:// needs none.
        None => match BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
            Some(path) => certificates(path),
            None => Ok(Vec::new()),
        },
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> io::Result<Vec<Certificate<'static>>> {
    let octets = fs::read(path).map_err(|error| named(path, &error))?;
    let found: Vec<Certificate<'static>> = parse_pem(&octets)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate (PEM)"));
    }
    Ok(found)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn wrong(path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {why}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_get_better_is_tried_again() {
        let again = |status| matches!(judge(status, None, "", &[]), Outcome::Again(..));
        assert!([429, 500, 502, 503, 504, 408].into_iter().all(again));
        assert!(
            ![200, 202, 301, 400, 401, 403, 404, 410]
                .into_iter()
                .any(again)
        );
        assert!(matches!(judge(403, None, "", &[403]), Outcome::Again(..)));
        let asked = Some(Duration::from_secs(7));
        let Outcome::Again(failure, waits) = judge(429, asked, "slow down", &[]) else {
            panic!("tried again");
        };
        assert_eq!((failure.reason, waits), (Reason::RateLimited, asked));
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret_in_it() {
        let url: Url = "https://user:pw@hooks.example.net/services/T0/B0?x=1"
            .parse()
            .unwrap();
        assert_eq!(url.shown(), "https://hooks.example.net");
        assert_eq!(format!("{url:?}"), "https://hooks.example.net");
        assert!(url.is_named() && url.port() == 443);
        let url: Url = "http://[2001:db8::1]:9093/".parse().unwrap();
        assert!(!url.is_named() && url.port() == 9093);
        assert!("ftp://x/".parse::<Url>().is_err() && "/path".parse::<Url>().is_err());
    }

    #[test]
    fn an_answer_of_a_stranger_is_one_plain_line() {
        assert_eq!(
            words(b"no\r\n\x1b[31m\xff such \xe2\x80\xae hook"),
            "no [31m such hook"
        );
    }
}
