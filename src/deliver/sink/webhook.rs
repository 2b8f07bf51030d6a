//! A webhook: one POST for each notice, in the shape that the receiver knows.
//!
//! The plain shape is the alert unchanged, with the headers of Standard Webhooks (standardwebhooks.com): an id that is the same for every
//! try, so that a receiver may forget what it has; a time; and a signature over both and the body.

use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use super::{Failure, Outcome, Reason, Sink};
use crate::deliver::Notice;
use crate::deliver::http::{Client, Route, Url};
use crate::deliver::secret::{Secret, Source};
use crate::deliver::shape::Shape;
use crate::deliver::template::Template;

/// Where, how, and as what.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub url: Address,
    pub shape: Shape,
    pub route: Route,
    /// Signs (plain shape): `whsec_` and base64, several with spaces between while a key is exchanged.
    pub secret: Option<Source>,
    /// PagerDuty's integration key.
    pub routing_key: Option<Source>,
    /// Makes the body instead of the shape.
    pub template: Option<PathBuf>,
}

/// A URL that may be read by all, or one that is a secret as a whole (Slack's and Teams' are).
#[derive(Clone, PartialEq, Debug)]
pub enum Address {
    Plain(Url),
    Secret(Source),
}

impl Address {
    /// The URL.
    pub fn read(&self) -> io::Result<Url> {
        match self {
            Address::Plain(url) => Ok(url.clone()),
            Address::Secret(source) => {
                let wrong =
                    |why| io::Error::new(io::ErrorKind::InvalidData, format!("{source}: {why}"));
                Url::of_secret(&source.read()?).map_err(wrong)
            }
        }
    }
}

/// A way to a receiver.
pub struct Webhook {
    client: Client,
    url: Url,
    shape: Shape,
    keys: Vec<hmac::Key>,
    routing_key: Option<Secret>,
    template: Option<Template>,
}

impl Webhook {
    /// Reads secrets, certificates and the template.
    pub fn open(settings: &Settings) -> io::Result<Webhook> {
        let keys = match &settings.secret {
            Some(source) => keys(&source.read()?).map_err(|why| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{source}: {why}"))
            })?,
            None => Vec::new(),
        };
        Ok(Webhook {
            client: Client::open(&settings.route)?,
            url: settings.url.read()?,
            shape: settings.shape,
            keys,
            routing_key: settings
                .routing_key
                .as_ref()
                .map(Source::read)
                .transpose()?,
            template: settings
                .template
                .as_deref()
                .map(Template::read)
                .transpose()?,
        })
    }

    fn body(&self, notice: &Notice) -> Result<String, String> {
        match &self.template {
            Some(template) => template.render(notice),
            None => Ok(self.shape.body(notice, self.routing_key.as_ref())),
        }
    }
}

impl Sink for Webhook {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let body = match self.body(notice) {
            Ok(body) => body,
            Err(why) => {
                return Outcome::Never(Failure::new(Reason::Client, format!("template: {why}")));
            }
        };
        if self.shape != Shape::Plain {
            return self
                .client
                .post(&self.url, &[], &body, self.shape.tries_again());
        }
        let id = notice.key();
        let at = unix_now().to_string();
        let signature = sign(&self.keys, &id, &at, &body);
        let mut headers = vec![("webhook-id", id.as_str()), ("webhook-timestamp", &at)];
        if !self.keys.is_empty() {
            headers.push(("webhook-signature", &signature));
        }
        self.client.post(&self.url, &headers, &body, &[])
    }
}

/// `v1,` and base64 of HMAC-SHA-256 over `id.timestamp.body`, for each key.
fn sign(keys: &[hmac::Key], id: &str, at: &str, body: &str) -> String {
    let text = format!("{id}.{at}.{body}");
    let signed: Vec<String> = keys
        .iter()
        .map(|key| format!("v1,{}", BASE64.encode(hmac::sign(key, text.as_bytes()))))
        .collect();
    signed.join(" ")
}

fn keys(secret: &Secret) -> Result<Vec<hmac::Key>, String> {
    secret
        .reveal()
        .split_whitespace()
        .map(|word| {
            let encoded = word
                .strip_prefix("whsec_")
                .ok_or("a secret begins with whsec_")?;
            let octets = BASE64
                .decode(encoded)
                .map_err(|_| "what follows whsec_ is base64")?;
            // Standard Webhooks: between 24 and 64 octets.
            if octets.len() < 24 {
                return Err("a secret has at least 24 octets".to_owned());
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &octets))
        })
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "receivers refuse what was signed long ago"
)]
fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_example() {
        // The example of the Standard Webhooks libraries' own tests.
        let path = std::env::temp_dir().join(format!("flapscope-whsec-{}", std::process::id()));
        std::fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let keys = keys(&Source::File(path.clone()).read().unwrap()).unwrap();
        let signed = sign(
            &keys,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        std::fs::remove_file(path).unwrap();
    }
}
