//! A screen over the control socket: pictures and answers one way, questions the other, one JSON object a line.
//!
//! Pictures replace one another in a slot until the socket takes the newest, so a slow reader gets fewer of them; one that takes nothing is
//! cut off. An incident travels once and is afterwards named by its place in the picture before.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Answer, MAX_REQUEST};
use super::server::send;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::case::Case;
use crate::tui::link::{Publisher, Reply, Request, wire};

/// Version of what is said after `attach`: both sides share its types, so it has to be the same.
pub const SCREEN: u32 = 1;

/// What a screen elsewhere wants of the run.
pub enum Viewing {
    /// To be shown what happens, if the answer allows it.
    Enter {
        publisher: Publisher,
        reply: oneshot::Sender<Answer>,
    },
    Ask {
        publisher: Publisher,
        request: Request,
    },
}

/// A line for a screen.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Picture(Box<Picture>),
    Reply(Box<Reply>),
    /// The service ends.
    End,
}

/// A snapshot; its incidents stand beside it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    snapshot: Snapshot,
    cases: Vec<Seen>,
}

/// An incident in a picture.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Seen {
    /// The one at this place of the picture before.
    Same(usize),
    New(Box<Case>),
}

/// The incidents of the last picture; each side has its own.
#[derive(Default)]
pub struct Last(Vec<Arc<Case>>);

impl Last {
    /// A snapshot as it is sent.
    pub fn picture(&mut self, snapshot: &Snapshot) -> Picture {
        // What did not change is shared between snapshots.
        let before: BTreeMap<*const Case, usize> =
            self.0.iter().map(Arc::as_ptr).zip(0..).collect();
        let seen = |case: &Arc<Case>| match before.get(&Arc::as_ptr(case)) {
            Some(at) => Seen::Same(*at),
            None => Seen::New(Box::new(Case::clone(case))),
        };
        let cases = snapshot.cases.iter().map(seen).collect();
        self.0.clone_from(&snapshot.cases);
        let snapshot = Snapshot {
            cases: Vec::new(),
            ..snapshot.clone()
        };
        Picture { snapshot, cases }
    }

    /// The snapshot that was sent. `None`: it names an incident that was not in the picture before.
    pub fn snapshot(&mut self, picture: Picture) -> Option<Snapshot> {
        let Picture {
            mut snapshot,
            cases,
        } = picture;
        let all: Option<Vec<Arc<Case>>> = cases
            .into_iter()
            .map(|seen| match seen {
                Seen::Same(at) => self.0.get(at).cloned(),
                Seen::New(case) => Some(Arc::new(*case)),
            })
            .collect();
        self.0 = all?;
        snapshot.cases.clone_from(&self.0);
        Some(snapshot)
    }
}

/// Serves a screen to its end.
pub(super) async fn serve(
    lines: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    views: &mpsc::Sender<Viewing>,
    version: u32,
) -> io::Result<()> {
    if version != SCREEN {
        let wrong = format!(
            "its screens are of version {SCREEN} (flapscope {}), yours of version {version}",
            env!("CARGO_PKG_VERSION")
        );
        return send(write, &Answer::wrong(wrong).line()).await;
    }
    let (publisher, wire) = wire();
    let (reply, answer) = oneshot::channel();
    let enter = Viewing::Enter {
        publisher: publisher.clone(),
        reply,
    };
    let answer = match views.send(enter).await {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    let answer = answer.unwrap_or_else(|| Answer::wrong("the service is ending"));
    send(write, &answer.line()).await?;
    if !answer.ok {
        return Ok(());
    }
    let (mut last, mut line) = (Last::default(), Vec::new());
    loop {
        let most = (MAX_REQUEST + 1).saturating_sub(line.len()) as u64;
        let mut limited = (&mut *lines).take(most);
        tokio::select! {
            () = wire.rung() => {
                let taken = wire.take();
                for reply in taken.replies {
                    say(write, &Line::Reply(Box::new(reply))).await?;
                }
                if let Some(snapshot) = taken.snapshot {
                    say(write, &Line::Picture(Box::new(last.picture(&snapshot)))).await?;
                }
                if taken.ended {
                    return say(write, &Line::End).await;
                }
            }
            // What was read of a line stays in it when the other branch is first.
            got = limited.read_until(b'\n', &mut line) => {
                if got? == 0 || line.len() > MAX_REQUEST {
                    return Ok(());
                }
                // Not of our language: nobody to talk to.
                let request = serde_json::from_slice(&line)?;
                line.clear();
                let publisher = publisher.clone();
                if views.send(Viewing::Ask { publisher, request }).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn say(write: &mut OwnedWriteHalf, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    send(write, &text).await
}
