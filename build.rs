// SPDX-License-Identifier: GPL-2.0-or-later

//! Sees to it that what is installed uses the system's PCRE2.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For the tests of this program.
    println!(
        "cargo::rustc-env=BUILD_SCRIPT={}",
        env::current_exe()?.display()
    );
    if let Some(problem) = bundled_pcre2(&out) {
        // What is installed comes from a release build; others may do with the copy.
        let weight = match env::var("PROFILE")?.as_str() {
            "release" => "error",
            _ => "warning",
        };
        println!("cargo::{weight}={problem}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

/// Why the programs would carry a copy of PCRE2 instead of using the system's, which gets the
/// system's updates. pcre2-sys builds its copy without a word where it does not find the system's,
/// asking pkg-config as here.
fn bundled_pcre2(out: &Path) -> Option<String> {
    println!("cargo::rerun-if-env-changed=PCRE2_SYS_STATIC");
    let asked = env::var("PCRE2_SYS_STATIC").unwrap_or_default();
    let target = env::var("TARGET").unwrap_or_default();
    if asked == "1" || (asked != "0" && target.contains("musl")) {
        return Some(format!(
            "PCRE2 would be built into the programs: PCRE2_SYS_STATIC is {asked:?}, the target {target}; \
             expected PCRE2_SYS_STATIC=0 or unset, and a target with the system's libraries"
        ));
    }
    // Once built the copy is taken even if the system's is there later: cargo does not see that.
    // It lies beside what this program writes.
    let again = "cargo clean --release --package pcre2-sys";
    let found = pkg_config::Config::new()
        .cargo_metadata(false)
        .env_metadata(true)
        .probe("libpcre2-8");
    if found.is_err() {
        return Some(format!(
            "the system's PCRE2 is not found: install libpcre2-dev and pkg-config (Debian) or pcre2-devel \
             and pkgconf-pkg-config (Enterprise Linux), then '{again}' and build again"
        ));
    }
    let builds = out.parent()?.parent()?;
    let copied = fs::read_dir(builds).ok()?.flatten().any(|build| {
        build
            .file_name()
            .to_string_lossy()
            .starts_with("pcre2-sys-")
            && build.path().join("out/libpcre2.a").exists()
    });
    copied.then(|| {
        format!("{} holds a copy of PCRE2 from before the system's was there: '{again}' and build again", builds.display())
    })
}
