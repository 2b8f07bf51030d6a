//! Hostile and broken senders at the running program's listeners: half-open connections, one octet a second, garbage. Each is cut off and told;
//! the router beside them is served. No root needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code
)] // a test's helpers fail loudly; a real program is waited for

mod netns {
    pub mod live;
}

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netns::live::Live;

/// A station gives a stranger 10 s to prove that it is a router, a listener 30 s for an OPEN. A loaded machine gets more.
const CUT_WITHIN: Duration = Duration::from_secs(60);

fn free(host: &str) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Initiation with a system name (RFC 7854 §4.3).
fn initiation() -> Vec<u8> {
    let mut message = vec![3, 0, 0, 0, 0, 4];
    for (kind, text) in [(1u16, "a router"), (2, "r1")] {
        message.extend(kind.to_be_bytes());
        message.extend((text.len() as u16).to_be_bytes());
        message.extend(text.as_bytes());
    }
    let length = message.len() as u32;
    message[1..5].copy_from_slice(&length.to_be_bytes());
    message
}

/// The other side has ended the connection.
fn is_cut(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn slow_silent_and_garbled_senders_are_cut_off_and_the_router_beside_them_is_served() {
    // A speaker that calls itself is turned away at once: the listener has an address of its own.
    let (bmp, bgp) = (free("127.0.0.1"), free("127.0.0.2"));
    let mut live = Live::start(&[
        "--no-packets",
        "--bmp",
        &bmp.to_string(),
        "--bgp-listen",
        &bgp.to_string(),
        "--as",
        "64512",
    ]);
    live.note("BGP at");
    let mut silent: Vec<TcpStream> = [bmp, bgp, bmp, bgp]
        .map(|address| TcpStream::connect(address).unwrap())
        .into();
    let mut garbled: Vec<TcpStream> = [bmp, bgp]
        .map(|address| TcpStream::connect(address).unwrap())
        .into();
    for stream in &mut garbled {
        stream.write_all(&[0xa5; 4096]).unwrap();
    }
    let mut slow = TcpStream::connect(bmp).unwrap();
    let mut octets = initiation().into_iter();
    // The router among them.
    let mut router = TcpStream::connect(bmp).unwrap();
    router.write_all(&initiation()).unwrap();
    live.note("is connected");

    let end = Instant::now() + CUT_WITHIN;
    let mut cut = [false; 3];
    while cut != [true; 3] {
        assert!(Instant::now() < end, "silent, garbled, slow: {cut:?}");
        if let Some(octet) = octets.next() {
            let _ = slow.write_all(&[octet]); // it may be cut already
        }
        std::thread::sleep(Duration::from_secs(1));
        let all = |streams: &mut [TcpStream]| streams.iter_mut().all(is_cut);
        cut = [all(&mut silent), all(&mut garbled), is_cut(&mut slow)];
    }
    assert!(!is_cut(&mut router), "{:#?}", live.said);
    drop(router);
    live.note("is lost");
    assert_eq!(live.end().code(), Some(0));
    assert!(
        live.told.is_empty(),
        "an alert about strangers: {}",
        live.told
    );
}
