//! `flapscope explain`: what a kind means, from the tables that the code runs.

use std::io::{self, Write};

use anyhow::bail;

use crate::correlate::rules::{RULES, Rule, Window};
use crate::detect::Kind;
use crate::event::text;

/// Explains one kind, or lists all.
pub fn run(kind: Option<&str>) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let Some(name) = kind else {
        for kind in Kind::ALL {
            writeln!(out, "{:<28}{}", kind.as_str(), kind.meaning().trim())?;
        }
        return Ok(0);
    };
    let Some(kind) = Kind::parse(name) else {
        bail!(
            "{} is no kind: `flapscope explain` lists them",
            text::sanitized(name)
        );
    };
    out.write_all(page(kind).as_bytes())?;
    Ok(0)
}

/// The page of one kind.
pub fn page(kind: Kind) -> String {
    let mut page = format!("{kind}\n  {}\n", kind.meaning().trim());
    section(
        &mut page,
        "Can be caused by",
        RULES.iter().filter(|rule| rule.effects.contains(&kind)),
        |rule| rule.causes,
    );
    section(
        &mut page,
        "Can cause",
        RULES.iter().filter(|rule| rule.causes.contains(&kind)),
        |rule| rule.effects,
    );
    page
}

fn section(
    page: &mut String,
    title: &str,
    rules: impl Iterator<Item = &'static Rule>,
    others: fn(&Rule) -> &'static [Kind],
) {
    let mut first = true;
    for rule in rules {
        if first {
            page.push_str(&format!("\n{title}\n"));
            first = false;
        }
        let kinds: Vec<&str> = others(rule).iter().map(|kind| kind.as_str()).collect();
        page.push_str(&format!("  {}\n", kinds.join(", ")));
        page.push_str(&format!(
            "    {} ({:?}, within {})\n",
            rule.because,
            rule.grade,
            window(rule)
        ));
    }
}

fn window(rule: &Rule) -> String {
    match rule.window {
        Window::After(after) => format!("{:.1} s", after.as_secs_f64()),
        Window::Reach { least, plus } => {
            format!(
                "the negotiated timer, at least {:.0} s, and {:.0} s more",
                least.as_secs_f64(),
                plus.as_secs_f64()
            )
        }
    }
}
