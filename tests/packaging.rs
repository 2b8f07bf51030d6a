//! What packagers get: the service's unit is valid, and gives the rights that the documentation and `doctor` speak of.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test that cannot go on ends here

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaged(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The values of a key of a unit, all lines together.
fn values(unit: &str, key: &str) -> Vec<String> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .flat_map(|value| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_unit_is_valid_to_systemd() {
    let (_, unit) = packaged("flapscope.service");
    let folder = std::env::temp_dir().join(format!("flapscope-unit-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("flapscope.service");
    // systemd looks whether the program is there.
    fs::write(
        &path,
        unit.replace("/usr/bin/flapscope", env!("CARGO_BIN_EXE_flapscope")),
    )
    .unwrap();
    let done = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output();
    let _ = fs::remove_dir_all(&folder);
    let Ok(done) = done else {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "systemd-analyze is not installed"
        );
        println!("SKIPPED: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&done.stderr);
    // Of other units on this machine it may say more.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("flapscope.service"))
        .collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[test]
fn the_package_holds_what_it_should_and_nothing_is_left_out_silently() {
    let folder = std::env::temp_dir().join(format!("flapscope-deb-{}", std::process::id()));
    let (script, _) = packaged("deb.sh");
    let made = Command::new(script)
        .arg(env!("CARGO_BIN_EXE_flapscope"))
        .arg(&folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let deb = String::from_utf8(made.stdout).unwrap();
    let listed = Command::new("dpkg-deb")
        .args(["-c", deb.trim()])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in [
        "usr/bin/flapscope",
        "lib/systemd/system/flapscope.service",
        "usr/lib/sysusers.d/flapscope.conf",
        "usr/lib/systemd/catalog/flapscope.catalog",
        "usr/share/man/man1/flapscope.1.gz",
        "usr/share/bash-completion/completions/flapscope",
        "usr/share/zsh/vendor-completions/_flapscope",
        "usr/share/fish/vendor_completions.d/flapscope.fish",
        "etc/flapscope/flapscope.toml",
        "etc/logrotate.d/flapscope",
        "usr/share/doc/flapscope/copyright",
        "usr/share/doc/flapscope/delivery.md",
    ] {
        assert!(
            listed
                .lines()
                .any(|line| line.ends_with(&format!("./{file}"))),
            "{file}\n{listed}"
        );
    }
    assert!(
        !listed.contains("//") && listed.lines().all(|line| line.contains(" root/root ")),
        "{listed}"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_journals_catalog_is_one_that_journalctl_takes() {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .arg("catalog")
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("-- "))
        .collect();
    let once: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert!(ids.len() > 80 && once.len() == ids.len());
    let root = std::env::temp_dir().join(format!("flapscope-catalog-{}", std::process::id()));
    let folder = root.join("usr/lib/systemd/catalog");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.join("var/lib/systemd/catalog")).unwrap();
    fs::write(folder.join("flapscope.catalog"), &text).unwrap();
    let updated = Command::new("journalctl")
        .arg("--update-catalog")
        .arg(format!("--root={}", root.display()))
        .output();
    let Ok(updated) = updated else {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "journalctl is not installed"
        );
        println!("SKIPPED: journalctl is not installed");
        return;
    };
    assert!(
        updated.status.success(),
        "{}",
        String::from_utf8_lossy(&updated.stderr)
    );
    let made = fs::metadata(root.join("var/lib/systemd/catalog/database")).unwrap();
    assert!(made.len() > text.len() as u64 / 2);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_rights_of_the_unit_the_pod_and_the_pages_are_the_same() {
    let (_, unit) = packaged("flapscope.service");
    let ambient = values(&unit, "AmbientCapabilities");
    assert_eq!(ambient, values(&unit, "CapabilityBoundingSet"));
    let (_, pod) = packaged("kubernetes/daemonset.yaml");
    let added = pod
        .lines()
        .find_map(|line| line.trim().strip_prefix("add: ["))
        .unwrap();
    let added: Vec<String> = added
        .trim_end_matches(']')
        .split(", ")
        .map(|name| format!("CAP_{name}"))
        .collect();
    assert_eq!(ambient, added);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/running.md")).unwrap();
    let setcap = ambient.join(",").to_lowercase();
    assert!(
        page.contains(&format!("setcap {setcap}=ep")),
        "docs/running.md: {setcap}"
    );
    let doctor = fs::read_to_string(root.join("src/commands/doctor/rights.rs")).unwrap();
    assert!(doctor.contains(&setcap), "doctor: {setcap}");
}

#[test]
fn the_unit_lets_the_program_confine_itself() {
    let (_, unit) = packaged("flapscope.service");
    let calls = values(&unit, "SystemCallFilter");
    for call in [
        "seccomp",
        "capset",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    ] {
        assert!(calls.iter().any(|c| c == call), "{call}");
    }
    for family in ["AF_NETLINK", "AF_PACKET", "AF_UNIX", "AF_INET", "AF_INET6"] {
        assert!(
            values(&unit, "RestrictAddressFamilies")
                .iter()
                .any(|f| f == family),
            "{family}"
        );
    }
}
