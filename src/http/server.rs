//! The listening side: HTTP/1.1, GET only, few connections, short headers, an end to every patience. It knows nothing but what the run answers.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::metrics::{self, Format};
use crate::control::protocol::{Answer, Request as Question, Said};
use crate::control::server::Asked;
use crate::event::text::sanitized;
use crate::output::html;

/// Connections at once: a pair of scrapers, a few people, and somebody's health check.
const MAX_CONNECTIONS: usize = 32;
/// Octets of request line and headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Headers come within this.
const HEAD: Duration = Duration::from_secs(5);
/// A connection lives no longer.
const WHOLE: Duration = Duration::from_secs(30);
/// The engine answers within this, even in a flood.
const ANSWER: Duration = Duration::from_secs(10);
/// An engine that is further behind is not ready: sources are merged within half a second.
const BEHIND: f64 = 30.0;

/// Where to listen: `ADDR:PORT`, or `unix:PATH`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(given: &str) -> Result<Address, String> {
        if let Some(path) = given.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        given
            .parse()
            .map(Address::Tcp)
            .map_err(|_| "write ADDRESS:PORT, like 127.0.0.1:9799, or unix:/PATH".to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A bound server.
pub struct Server {
    listener: Listener,
    address: Address,
}

impl Server {
    /// Binds: before rights are given up.
    pub fn bind(address: &Address) -> io::Result<Server> {
        let (listener, address) = match address {
            Address::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                (Listener::Tcp(listener), Address::Tcp(address))
            }
            Address::Unix(path) => (
                Listener::Unix(crate::control::server::bind(path)?),
                Address::Unix(path.clone()),
            ),
        };
        Ok(Server { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves from now on, inside a runtime.
    pub fn run(self, asks: mpsc::Sender<Asked>) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        match self.listener {
            Listener::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::spawn(async move {
                    loop {
                        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                            return;
                        };
                        match listener.accept().await {
                            Ok((stream, from)) => {
                                let serving = serve(stream, from.to_string(), asks.clone());
                                tokio::spawn(async move {
                                    serving.await;
                                    drop(place);
                                });
                            }
                            // Out of descriptors, or a client that left at once.
                            Err(_) => tokio::task::yield_now().await,
                        }
                    }
                });
            }
            Listener::Unix(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                tokio::spawn(async move {
                    loop {
                        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                            return;
                        };
                        match listener.accept().await {
                            Ok((stream, _)) => {
                                let serving = serve(stream, "local".to_owned(), asks.clone());
                                tokio::spawn(async move {
                                    serving.await;
                                    drop(place);
                                });
                            }
                            Err(_) => tokio::task::yield_now().await, // as above
                        }
                    }
                });
            }
        }
        Ok(())
    }
}

/// One connection, one request.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    who: String,
    asks: mpsc::Sender<Asked>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (asks, who) = (asks.clone(), who.clone());
        async move { Ok::<_, Infallible>(respond(&request, &who, &asks).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, sends rubbish or never ends needs no obituary.
    let _ = tokio::time::timeout(WHOLE, connection).await;
}

type Page = Response<Full<Bytes>>;

async fn respond(request: &Request<Incoming>, who: &str, asks: &mpsc::Sender<Asked>) -> Page {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    let ask = |question| self::ask(asks, question, who);
    let path = request.uri().path();
    match path {
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT);
            let accept = accept
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let format = Format::of_accept(accept);
            match ask(Question::Metrics).await {
                Some(Answer {
                    said: Said::Metrics { samples },
                    ..
                }) => page(
                    StatusCode::OK,
                    format.media_type(),
                    metrics::text(&samples, format),
                ),
                answer => trouble(answer),
            }
        }
        // Alive is who answers at all.
        "/healthz" => match ask(Question::Hello).await {
            Some(_) => text(StatusCode::OK, "ok\n"),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the engine does not answer\n",
            ),
        },
        "/readyz" => ready(ask(Question::Sources).await),
        "/api/v1/incidents" => {
            let filter = request.uri().query().and_then(query_filter);
            json(ask(Question::Incidents { filter }).await)
        }
        _ => match path.strip_prefix("/api/v1/incidents/") {
            Some(id) if is_id(id) => {
                let question = Question::Show {
                    id: id.to_owned(),
                    width: None,
                };
                json(ask(question).await)
            }
            _ => report(path, ask).await,
        },
    }
}

/// `/report/ID`: the page about one incident.
async fn report<A: Future<Output = Option<Answer>>>(
    path: &str,
    ask: impl Fn(Question) -> A,
) -> Page {
    let Some(id) = path.strip_prefix("/report/").filter(|id| is_id(id)) else {
        let known = "there are /metrics, /healthz, /readyz, /api/v1/incidents, /api/v1/incidents/ID and /report/ID\n";
        return text(StatusCode::NOT_FOUND, known);
    };
    let question = Question::Show {
        id: id.to_owned(),
        width: None,
    };
    match ask(question).await {
        Some(Answer {
            said: Said::Show { incident, .. },
            ..
        }) => {
            let body = html::incident_page(&incident.incident);
            let mut page = page(StatusCode::OK, "text/html; charset=utf-8", body);
            if let Ok(policy) = header::HeaderValue::from_str(&html::policy()) {
                page.headers_mut()
                    .insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            page
        }
        answer => trouble(answer),
    }
}

/// Asks the run; `None` where it does not answer in time.
async fn ask(asks: &mpsc::Sender<Asked>, request: Question, who: &str) -> Option<Answer> {
    let (reply, answer) = oneshot::channel();
    let asked = Asked {
        request,
        who: format!("http {who}"),
        reply,
    };
    let whole = async {
        asks.send(asked).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(ANSWER, whole).await.ok()?
}

/// Ready is an engine that keeps up and has something to look at.
fn ready(answer: Option<Answer>) -> Page {
    let Some(Answer {
        said: Said::Sources(sources),
        ..
    }) = answer
    else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine does not answer\n",
        );
    };
    let now = crate::input::live::now();
    let behind = sources
        .rooms
        .iter()
        .filter_map(|room| {
            let to: jiff::Timestamp = room.to.as_deref()?.parse().ok()?;
            let to = i64::try_from(to.as_nanosecond()).ok()?;
            Some((now.0 - to).max(0) as f64 / 1e9)
        })
        .fold(0.0, f64::max);
    if sources.watching.is_empty() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "nothing is watched\n");
    }
    let said = format!(
        "{} sources, {:.1} s behind\n{}\n",
        sources.watching.len(),
        behind,
        sources.watching.join("\n")
    );
    let code = if behind > BEHIND {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    text(code, &said)
}

fn json(answer: Option<Answer>) -> Page {
    match answer {
        Some(answer) if answer.ok => page(StatusCode::OK, "application/json", answer.line()),
        answer => trouble(answer),
    }
}

fn trouble(answer: Option<Answer>) -> Page {
    match answer.and_then(|answer| answer.error) {
        Some(error) => {
            let code = if error.starts_with("there is no") {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::BAD_REQUEST
            };
            text(code, &format!("{}\n", sanitized(&error)))
        }
        None => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine does not answer\n",
        ),
    }
}

fn text(code: StatusCode, said: &str) -> Page {
    page(code, "text/plain; charset=utf-8", said.to_owned())
}

fn page(code: StatusCode, media: &'static str, body: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(body)));
    *page.status_mut() = code;
    let headers = page.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    page
}

fn is_id(given: &str) -> bool {
    !given.is_empty()
        && given.len() <= 40
        && given
            .bytes()
            .all(|o| o.is_ascii_alphanumeric() || o == b'-')
}

/// `filter=` of a query, percent-decoded; `+` is a space.
fn query_filter(query: &str) -> Option<String> {
    let given = query
        .split('&')
        .find_map(|part| part.strip_prefix("filter="))?;
    let mut octets = Vec::with_capacity(given.len());
    let mut rest = given.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_filters_are_read() {
        assert_eq!(
            "127.0.0.1:9799".parse::<Address>().unwrap().to_string(),
            "http://127.0.0.1:9799"
        );
        assert_eq!(
            "unix:/run/x".parse::<Address>().unwrap(),
            Address::Unix("/run/x".into())
        );
        assert!("9799".parse::<Address>().is_err());
        assert_eq!(
            query_filter("a=1&filter=sev:warn%2B+kind:link").unwrap(),
            "sev:warn+ kind:link"
        );
        assert_eq!(query_filter("filter=%zz"), None);
        assert!(is_id("i-7f3a91") && !is_id("../x") && !is_id(""));
    }
}
