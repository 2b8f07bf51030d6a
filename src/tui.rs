//! The terminal: taken, painted, given back. The only impure file of the screen: everything that decides is in [`update`] and [`view`].
//!
//! One thread paints and one reads keys, neither of them the engine's: a terminal that does not take our output stops the painting and nothing
//! else. However it ends (a key, a signal, a hang-up, a panic, ^Z) the terminal is as it was before.

pub mod clipboard;
pub mod keymap;
pub mod link;
pub mod model;
pub mod select;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, SetTitle};

use self::link::{Link, Request, Wake};
use self::model::{Effect, Message, Model};
use self::theme::Look;

/// A screen that does not come back from a write within this when all has ended is left behind (its terminal is stopped with ^S, or gone).
const PATIENCE: Duration = Duration::from_millis(500);

/// Questions that may wait for room: one of each kind and table.
const UNASKED: usize = 16;

/// A running screen.
pub struct Tui {
    thread: JoinHandle<io::Result<()>>,
}

impl Tui {
    /// Takes the terminal. The link's other end feeds it; when the screen ends the link's requests are closed.
    pub fn start(link: Link, look: Look) -> io::Result<Tui> {
        let terminal = open()?;
        let thread = thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                let result = run(terminal, link, look);
                restore();
                result
            })?;
        Ok(Tui { thread })
    }

    /// Waits for the screen to end, within reason; false when the terminal takes nothing any more: whoever writes to it would wait, too.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that may be stuck in a write cannot be waited for otherwise"
    )]
    pub fn join(self) -> io::Result<bool> {
        const LOOK: Duration = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        while !self.thread.is_finished() && waited < PATIENCE {
            thread::sleep(LOOK);
            waited += LOOK;
        }
        if !self.thread.is_finished() {
            let _ = terminal::disable_raw_mode(); // as in `restore`
            // For a terminal that wakes up in this moment. Left behind, as the screen's thread is.
            thread::spawn(restore);
            return Ok(false);
        }
        match self.thread.join() {
            Ok(result) => result.map(|()| true),
            // The panic hook has told.
            Err(_) => Err(io::Error::other("the screen failed")),
        }
    }
}

/// Some thread has panicked: the terminal was given back, and nothing is painted over what was told.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Raw mode, the alternate screen, a hook that gives back all that was taken before a panic is told, in whatever thread.
fn open() -> io::Result<DefaultTerminal> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            FAILED.store(true, Ordering::SeqCst);
            restore();
            told(panic);
        }));
    });
    TAKEN.store(true, Ordering::SeqCst);
    terminal::enable_raw_mode()?;
    // A terminal without one of these ignores it.
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        SetTitle("flapscope")
    )?;
    ratatui::Terminal::new(ratatui::backend::CrosstermBackend::new(io::stdout()))
}

/// Paints a frame, unless the terminal is not ours any more.
fn draw(terminal: &mut DefaultTerminal, model: &Model) -> io::Result<()> {
    if FAILED.load(Ordering::SeqCst) {
        return Err(io::Error::other("a part of the program has failed"));
    }
    terminal.draw(|frame| view::view(model, frame)).map(|_| ())
}

/// An empty screen that nothing is known to be on, so that the next frame paints all of it. (`Terminal::clear` asks the terminal where its
/// cursor is, and the answer would go to the thread that reads keys.)
fn blank() -> io::Result<DefaultTerminal> {
    execute!(io::stdout(), Clear(ClearType::All))?;
    ratatui::Terminal::new(ratatui::backend::CrosstermBackend::new(io::stdout()))
}

/// The terminal is ours: given back once only, as the second time would put the cursor over what was told after the first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back. Harmless when done twice.
pub fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Nobody is left to tell when the terminal is gone. The mode first: it needs nobody who reads.
    let _ = terminal::disable_raw_mode();
    let _ = execute!(io::stdout(), DisableMouseCapture, DisableBracketedPaste);
    let _ = ratatui::try_restore();
}

fn run(mut terminal: DefaultTerminal, link: Link, look: Look) -> io::Result<()> {
    let size = terminal.size()?;
    let mut model = Model::new((size.width, size.height), look);
    draw(&mut terminal, &model)?;
    keys(link.wake.clone())?;
    signals(link.wake.clone())?;
    // Questions that the engine's side had no room for: put again after each wake, as whoever waits for the answer asks but once.
    let mut unasked: VecDeque<Request> = VecDeque::new();
    loop {
        let Ok(first) = link.woken.recv() else {
            return Ok(());
        };
        while let Some(request) = unasked.pop_front() {
            if let Err(request) = link.ask(request) {
                unasked.push_front(*request);
                break;
            }
        }
        // All that has come meanwhile is one frame.
        let mut wakes = vec![first];
        wakes.extend(link.woken.try_iter());
        let mut effects = Vec::new();
        for wake in wakes {
            match wake {
                Wake::Message(message) => effects.extend(update::update(&mut model, message)),
                Wake::Slot => {}
                Wake::Suspend => effects.push(Effect::Suspend),
                Wake::Resumed => effects.push(Effect::Redraw),
                Wake::End => return Ok(()),
            }
        }
        for message in link.take() {
            effects.extend(update::update(&mut model, message));
        }
        draw(&mut terminal, &model)?;
        // After the frame: what is written to the terminal besides must not land inside it.
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(()),
                Effect::Suspend => {
                    restore();
                    stop();
                    terminal = open()?;
                    if model.mouse {
                        execute!(io::stdout(), EnableMouseCapture)?;
                    }
                    draw(&mut terminal, &model)?;
                }
                Effect::Redraw => {
                    terminal = blank()?;
                    draw(&mut terminal, &model)?;
                }
                Effect::Ask(request) => {
                    if let Err(request) = link.ask(request) {
                        if unasked.len() < UNASKED {
                            unasked.push_back(*request);
                        }
                        model.status = Some("busy; the answer comes late".to_owned());
                    }
                }
                Effect::Copy { label, text } => {
                    model.status = Some(match clipboard::sequence(&text) {
                        Some(sequence) => {
                            let mut out = io::stdout();
                            out.write_all(sequence.as_bytes())?;
                            out.flush()?;
                            format!("copied {label} ({} octets)", text.len())
                        }
                        None => format!(
                            "{label} is too long for a clipboard over this terminal; w writes it into a file"
                        ),
                    });
                    draw(&mut terminal, &model)?;
                }
                Effect::Mouse(true) => execute!(io::stdout(), EnableMouseCapture)?,
                Effect::Mouse(false) => execute!(io::stdout(), DisableMouseCapture)?,
            }
        }
    }
}

/// Stops the process as ^Z does elsewhere; returns when the shell lets it go on. Our handler of SIGTSTP brought us here, so that signal would
/// only come back to us: SIGSTOP is what stops.
fn stop() {
    // It cannot fail for ourselves, and then there would be nothing to do about it.
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
}

/// Reads the terminal.
fn keys(wake: SyncSender<Wake>) -> io::Result<()> {
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            loop {
                let message = match event::read() {
                    // An escape and a key that came in one piece, as they do over a slow line; nothing here has a meaning with Alt.
                    Ok(Event::Key(key)) if key.modifiers.contains(KeyModifiers::ALT) => {
                        let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
                        if wake.send(Wake::Message(Message::Key(escape))).is_err() {
                            return;
                        }
                        Message::Key(KeyEvent {
                            modifiers: key.modifiers - KeyModifiers::ALT,
                            ..key
                        })
                    }
                    Ok(Event::Key(key)) => Message::Key(key),
                    Ok(Event::Paste(text)) => Message::Paste(text),
                    Ok(Event::Resize(columns, rows)) => Message::Resize(columns, rows),
                    Ok(Event::Mouse(mouse)) => match mouse.kind {
                        MouseEventKind::ScrollUp => Message::Scroll(-3),
                        MouseEventKind::ScrollDown => Message::Scroll(3),
                        MouseEventKind::Down(MouseButton::Left) => {
                            Message::Click(mouse.column, mouse.row)
                        }
                        _ => continue,
                    },
                    Ok(_) => continue,
                    // The terminal is gone.
                    Err(_) => {
                        let _ = wake.send(Wake::End);
                        return;
                    }
                };
                if wake.send(Wake::Message(message)).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}

/// Signals that concern a terminal. Those that end the program end the screen first.
fn signals(wake: SyncSender<Wake>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let kinds = (
                    signal(SignalKind::terminate()),
                    signal(SignalKind::hangup()),
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::from_raw(
                        nix::sys::signal::Signal::SIGTSTP as i32,
                    )),
                    signal(SignalKind::from_raw(
                        nix::sys::signal::Signal::SIGCONT as i32,
                    )),
                );
                let (Ok(mut term), Ok(mut hup), Ok(mut int), Ok(mut tstp), Ok(mut cont)) = kinds
                else {
                    return;
                };
                loop {
                    let said = tokio::select! {
                        _ = term.recv() => Wake::End,
                        _ = hup.recv() => Wake::End,
                        _ = int.recv() => Wake::End,
                        _ = tstp.recv() => Wake::Suspend,
                        _ = cont.recv() => Wake::Resumed,
                    };
                    if wake.send(said).is_err() {
                        return;
                    }
                }
            });
        })?;
    Ok(())
}
