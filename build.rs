// SPDX-License-Identifier: GPL-2.0-or-later

//! Sees to it that no program loads a library that it can do without, and that what is installed uses
//! the system's PCRE2 unless it is to run on systems of all kinds.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For the tests of this program.
    println!(
        "cargo::rustc-env=BUILD_SCRIPT={}",
        env::current_exe()?.display()
    );
    // Static programs load nothing: they are for hosts whose libraries are not known.
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if !is_static {
        link_unwinder(&out)?;
    }
    if let Some(problem) = wrong_pcre2(&out, is_static) {
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

/// Has the linker take the unwinder from GCC's archive instead of libgcc_s.so.1, which the standard
/// library asks for and which has to be loaded at every start. The linker takes a text for a library,
/// and looks here before it looks at the system's.
fn link_unwinder(out: &Path) -> Result<(), Box<dyn Error>> {
    let archive = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    // Without the archive cc says its bare name. Not GNU, no such library.
    let is_there = archive.is_ok_and(|said| said.stdout.starts_with(b"/"));
    if is_there && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        let libraries = out.join("unwinder");
        fs::create_dir_all(&libraries)?;
        fs::write(libraries.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n")?;
        println!("cargo::rustc-link-search=native={}", libraries.display());
    }
    Ok(())
}

/// Why the programs would carry a copy of PCRE2 although they are to use the system's, which gets the
/// system's updates; or the other way round. pcre2-sys builds its copy without a word where it does not
/// find the system's, asking pkg-config as here.
fn wrong_pcre2(out: &Path, is_static: bool) -> Option<String> {
    println!("cargo::rerun-if-env-changed=PCRE2_SYS_STATIC");
    let asked = env::var("PCRE2_SYS_STATIC").unwrap_or_default();
    let target = env::var("TARGET").unwrap_or_default();
    let is_copied = asked == "1" || (asked != "0" && target.contains("musl"));
    if is_static {
        return (!is_copied).then(|| {
            format!("static programs need a PCRE2 of their own: PCRE2_SYS_STATIC is {asked:?}, expected 1")
        });
    }
    if is_copied {
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
